package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/config"
	"github.com/fnhost/fnhost/kv/jetkv"
)

// configs is the configuration of the functions. From its first use on, one watcher
// follows its bucket for all of them.
type configs struct {
	h      *Namespace
	ctx    context.Context // ends after the functions have
	cancel context.CancelFunc

	opening sync.Mutex
	bucket  kv.Bucket
	store   *config.Store // nil before the first use

	mu    sync.Mutex
	state *config.State // as the watcher has it, nil while it has not
	seen  uint64        // revision of the latest change in it
	next  chan struct{} // closed, and made anew, when these change
	epoch int           // how often the watcher was lost
	views map[*version]*configView

	deciding chan struct{}   // capacity 1: has one while a change is checked and stored
	promised map[promise]int // versions that are to serve soon; guarded by mu
}

// promise is a version of a function that changes of the configuration are to fit, as
// if it served.
type promise struct {
	function string
	v        *version
}

// configView is what a version reads, while somebody wants to know.
type configView struct {
	f         *function
	v         *version
	listeners map[listener]bool

	edition int    // of what follows
	message []byte // as followers get it, nil for none
	doc     map[string]any
	text    string // doc as JSON
	err     error  // why the latest does not fit
}

func newConfigs(h *Namespace) *configs {
	c := &configs{h: h, next: make(chan struct{}), views: make(map[*version]*configView), deciding: make(chan struct{}, 1), promised: make(map[promise]int)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// configError says that configuration does not fit what a manifest says of it.
type configError struct {
	function string
	misfit   error
}

func (e *configError) Error() string {
	return fmt.Sprintf("the configuration of function %q does not fit: %v: `fnhost config set PATH VALUE --function %s` sets it", e.function, e.misfit, e.function)
}

func (e *configError) Unwrap() []error {
	return []error{e.misfit, &wire.Error{Code: wire.Unprocessed}}
}

// open opens the bucket, unless that was done.
func (c *configs) open(ctx context.Context) error {
	c.opening.Lock()
	defer c.opening.Unlock()
	if c.store != nil {
		return nil
	}
	if !c.h.begin() {
		return closedError{}
	}
	b, err := c.h.controlBucket(ctx, jetkv.Config{Bucket: config.Bucket, Description: "configuration of functions", History: config.History})
	if err != nil {
		c.h.tasks.Done()
		return wire.Errorf(wire.Unavailable, "configuration cannot be read: %v", err)
	}
	c.bucket, c.store = b, config.NewStore(b)
	go func() {
		defer c.h.tasks.Done()
		c.watch()
	}()
	return nil
}

// current returns all layers, as far as the watcher has come.
func (c *configs) current(ctx context.Context) (*config.State, error) {
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	err := c.await(ctx, func() bool { return c.state != nil })
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, err
}

// await waits until cond holds, which is asked with c.mu held.
func (c *configs) await(ctx context.Context, cond func() bool) error {
	for {
		c.mu.Lock()
		ok, next := cond(), c.next
		c.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.ctx.Done():
			return closedError{}
		}
	}
}

// watch follows the bucket to the end. When storage was gone, which a watcher finds
// out only after a while, it begins anew.
func (c *configs) watch() {
	for c.ctx.Err() == nil {
		ctx, stop := c.h.untilRestored(c.ctx)
		err := c.watchOnce(ctx)
		again := ctx.Err() != nil
		stop()
		if again {
			continue
		}
		c.lost()
		c.h.log.Warn("changes of configuration are not seen, trying again: " + err.Error())
		select {
		case <-time.After(watchAgain):
		case <-c.ctx.Done():
		}
	}
}

func (c *configs) watchOnce(ctx context.Context) error {
	w, err := c.bucket.Watch(ctx, kv.WatchOptions{Initial: true})
	if err != nil {
		return err
	}
	defer w.Close()
	state, seen, initial := &config.State{}, uint64(0), true
	for {
		e, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if e.Op == kv.OpReady {
			initial = false
			c.apply(state, seen, nil)
			continue
		}
		if state, err = state.Apply(e); err != nil {
			c.h.log.Error(err.Error() + ": what was set before goes on")
		}
		seen = max(seen, e.Revision)
		if l, ok := config.ParseKey(e.Key); !initial && ok {
			c.apply(state, seen, &l)
		} else if !initial {
			c.apply(state, seen, &config.Layer{})
		}
	}
}

// apply makes a state the current one, and tells those whom a layer reaches; nil
// reaches all.
func (c *configs) apply(state *config.State, seen uint64, l *config.Layer) {
	c.mu.Lock()
	c.state, c.seen = state, seen
	for _, view := range c.views {
		if l == nil || l.Reaches(c.h.name, view.f.name, view.v.number) {
			c.refresh(view)
		}
	}
	close(c.next)
	c.next = make(chan struct{})
	c.mu.Unlock()
	if l == nil || l.Namespace != "" {
		c.buildAgain()
	}
}

// lost ends all following: it is not known any more what is current.
func (c *configs) lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = nil
	c.epoch++
	for _, view := range c.views {
		for one := range view.listeners {
			one.changed()
		}
	}
}

// refresh makes what a view has that of the current state, and tells who listens.
// What does not fit, as after a write by somebody who has not asked this host, changes
// nothing. c.mu is held.
func (c *configs) refresh(view *configView) {
	doc, partial, revision := c.read(c.state, view.f.name, view.v.number, view.v.manifest)
	text := string(config.Marshal(doc))
	if view.message != nil && view.err == nil && text == view.text {
		return
	}
	if err := view.v.fits(view.f.name, doc); err != nil {
		view.err = err
		c.h.note(slog.LevelError, view.f.name, view.v.name, "%v; what was set before goes on", err)
		return
	}
	h := wire.Header(nil).Add(wire.KeyOp, "config").AddInt(wire.KeyRevision, int64(revision))
	if partial {
		h = h.Add(wire.KeyPartial, "1")
	}
	view.err, view.doc, view.text = nil, doc, text
	view.message = wire.AppendMessage(nil, h, []byte(text))
	view.edition++
	for one := range view.listeners {
		one.changed()
	}
}

// read returns what a version of a function reads in a state, and whether its access
// list leaves something out.
func (c *configs) read(state *config.State, function string, number int, m *manifest.Manifest) (doc map[string]any, partial bool, revision uint64) {
	doc, revision = state.Effective(m.Config.Values(), c.h.name, function, number)
	if m.Access != nil {
		doc, partial = config.Only(doc, m.Access.Config)
	}
	return doc, partial, revision
}

// isPicky reports whether there is configuration that a manifest does not fit.
func isPicky(m *manifest.Manifest) bool {
	return m.Config != nil && m.Config.Schema != "" || hasReferences(m)
}

// fits returns a *configError if a document does not fit the schema of a version, or
// has not what its environment refers to.
func (v *version) fits(function string, doc map[string]any) error {
	if !isPicky(v.manifest) {
		return nil
	}
	if err := v.fitsSchema(doc); err != nil {
		return &configError{function, err}
	}
	if _, err := expandEnv(v.manifest, doc); err != nil {
		return &configError{function, err}
	}
	return nil
}

func (v *version) fitsSchema(doc map[string]any) error {
	if v.manifest.Config == nil || v.manifest.Config.Schema == "" {
		return nil
	}
	v.compile.Do(func() { v.schema, v.schemaErr = config.Compile([]byte(v.manifest.Config.Schema)) })
	if v.schemaErr != nil {
		return v.schemaErr
	}
	return v.schema.Check(doc)
}

// check returns a *configError if a version could not start with the configuration
// as it is now. It costs nothing for one that is not picky.
func (c *configs) check(ctx context.Context, function string, v *version) error {
	if !isPicky(v.manifest) {
		return nil
	}
	state, err := c.current(ctx)
	if err != nil {
		return err
	}
	doc, _, _ := c.read(state, function, v.number, v.manifest)
	return v.fits(function, doc)
}

// checkManifest is check for a version that there is not yet.
func (c *configs) checkManifest(ctx context.Context, function string, number int, m *manifest.Manifest) error {
	return c.check(ctx, function, &version{number: number, manifest: m})
}

// promise is check for a version that is to serve, and has what is set until kept is
// called fit it. What was decided before the promise is stored when it is checked.
func (c *configs) promise(ctx context.Context, function string, v *version) (kept func(), err error) {
	if !isPicky(v.manifest) {
		return func() {}, nil
	}
	p := promise{function, v}
	c.mu.Lock()
	c.promised[p]++
	c.mu.Unlock()
	kept = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.promised[p]--; c.promised[p] == 0 {
			delete(c.promised, p)
		}
	}
	decided, err := c.decide(ctx)
	if err == nil {
		decided()
		err = c.check(ctx, function, v)
	}
	if err != nil {
		kept()
		return nil, err
	}
	return kept, nil
}

// decide waits until nobody else decides about a change of the configuration, until
// decided is called.
func (c *configs) decide(ctx context.Context) (decided func(), err error) {
	select {
	case c.deciding <- struct{}{}:
		return func() { <-c.deciding }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// revision is that of the latest change that the watcher has seen.
func (c *configs) revision() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// buildAgain has functions built whose source could not start with what was set
// before.
func (c *configs) buildAgain() {
	for _, f := range *c.h.index.Load() {
		f.mu.Lock()
		var misfit *configError
		again := f.src.Dir != "" && f.state == Failed && errors.As(f.err, &misfit)
		f.mu.Unlock()
		if again {
			f.requestBuild()
		}
	}
}

// listen returns the view of a version, of whose changes somebody is told from now on.
func (c *configs) listen(ctx context.Context, f *function, v *version, who listener) (*configView, error) {
	if _, err := c.current(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	view := c.views[v]
	if view == nil {
		view = &configView{f: f, v: v, listeners: make(map[listener]bool)}
		c.views[v] = view
		if c.state != nil {
			c.refresh(view)
		}
	}
	view.listeners[who] = true
	return view, nil
}

func (c *configs) unlisten(view *configView, who listener) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if delete(view.listeners, who); len(view.listeners) == 0 {
		delete(c.views, view.v)
	}
}

// follow opens the configuration of a version as a source.
func (c *configs) follow(ctx context.Context, f *function, v *version, who listener) (source, error) {
	view, err := c.listen(ctx, f, v, who)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &configSource{c: c, view: view, who: who, epoch: c.epoch}, nil
}

// configSource is a view as a follower reads it.
type configSource struct {
	c     *configs
	view  *configView
	who   listener
	epoch int
	sent  int // edition
}

func (s *configSource) append(b []byte) ([]byte, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	switch view := s.view; {
	case s.epoch != s.c.epoch || s.c.state == nil:
		return nil, wire.Errorf(wire.Unavailable, "changes of configuration are not seen for now")
	case view.message == nil && view.err != nil:
		return nil, view.err
	case view.edition == s.sent:
		return b, nil
	default:
		s.sent = view.edition
		return append(b, view.message...), nil
	}
}

func (s *configSource) close() { s.c.unlisten(s.view, s.who) }
