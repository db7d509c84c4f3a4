package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// Config says how a Builder builds. The zero value works.
type Config struct {
	// Cache is the directory of the library, of compiled packages and of
	// artifacts. It may be shared by processes. Default: fnhost in [os.UserCacheDir].
	Cache string
	// Timeout bounds one build as a whole, but for waiting until others have
	// ended. Default: 2 minutes.
	Timeout time.Duration
	// MaxOutput bounds each file that a build writes, in bytes. Default: 256 MiB.
	MaxOutput int64
	// Room opens the room in which the programs of a build run. Default: they run as those
	// of this program's user do.
	Room func(Needs) (Room, error)
	// Parallel is how many builds run at once. Default: the number of processors.
	Parallel int
	// Logger gets what is not an error of a source. Default: [slog.Default].
	Logger *slog.Logger
}

// Builder builds sources. Its methods are safe for concurrent use.
type Builder struct {
	cfg       Config
	log       *slog.Logger
	cache     string
	goCmd     string
	sdk       string // directory of the library
	sdkHash   string
	toolchain string // what tells one go command from another
	slots     chan struct{}

	envMu sync.Mutex
	env   goEnv // of the go command, once it was asked

	cold chan struct{} // capacity 1: held by the build that fills an empty cache
	fast recipes
}

// New returns a Builder, or an error if the cache cannot be written. Without a go
// command, see [Builder.CanCompile], the Builder has the artifacts that are in the
// cache already; the error wraps [ErrNoGo] then.
func New(cfg Config) (*Builder, error) {
	goCmd, err := exec.LookPath("go")
	if err != nil {
		goCmd = ""
	}
	b, err := open(cfg, goCmd)
	if err != nil && goCmd == "" {
		err = fmt.Errorf("%w (%v)", ErrNoGo, err)
	}
	return b, err
}

func open(cfg Config, goCmd string) (*Builder, error) {
	if cfg.Cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("builder: cache directory: %w: set one", err)
		}
		cfg.Cache = filepath.Join(dir, "fnhost")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Minute
	}
	if cfg.MaxOutput == 0 {
		cfg.MaxOutput = 256 << 20
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = runtime.NumCPU()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	b := &Builder{cfg: cfg, log: cfg.Logger, goCmd: goCmd, slots: make(chan struct{}, cfg.Parallel), cold: make(chan struct{}, 1)}
	var err error
	if b.cache, err = filepath.Abs(cfg.Cache); err != nil {
		return nil, fmt.Errorf("builder: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(b.cache, "artifacts"), 0o755); err != nil {
		return nil, fmt.Errorf("builder: cache: %w", err)
	}
	if b.sdk, b.sdkHash, err = extractSDK(b.cache); err != nil {
		return nil, fmt.Errorf("builder: write the library: %w", err)
	}
	b.findToolchain()
	return b, nil
}

// CanCompile returns [ErrNoGo] if there is no go command: [Builder.Build] fails
// then for what was not built before with this cache.
func (b *Builder) CanCompile() error {
	if b.goCmd == "" {
		return ErrNoGo
	}
	return nil
}

// Artifact is what a build makes: a program to run as a worker.
type Artifact struct {
	ID      string        // hash of all that it is made of
	Path    string        // the program
	Size    int64         // of the program, in bytes
	Package *Package      // what parsing told of the source
	Watch   []string      // directories that the source was read from
	Took    time.Duration // from the reading of the source on
	How     How
}

// How says how an artifact came about.
type How string

const (
	Cached   How = "cached"   // it was there already
	Compiled How = "compiled" // by the go command
	Relinked How = "fast"     // by compiler and linker alone
)

// Scan reads a source without building it, and returns the directories that a
// build would read from. Its errors are those of Build that need no compiler.
func (b *Builder) Scan(src Source) (id string, watch []string, err error) {
	t, err := readTree(src)
	if err != nil {
		return "", nil, err
	}
	return b.id(t), t.dirs, nil
}

// id names the artifact of t.
func (b *Builder) id(t *tree) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %q", t.digest, b.sdkHash, b.toolchain, flags))
	return hex.EncodeToString(sum[:16])
}

// Build returns the artifact of src, which it builds if need be. Errors of the
// source are an *[Error]; a directory without handlers wraps [ErrNoHandler]; the
// end of ctx stops the build, with all its processes, and is returned as the
// cause of ctx. It returns [ErrNoGo] for what must be compiled if there is no go
// command.
func (b *Builder) Build(ctx context.Context, src Source) (*Artifact, error) {
	start := time.Now()
	t, err := readTree(src)
	if err != nil {
		return nil, err
	}
	a := b.artifactOf(t)
	if info, err := os.Stat(a.Path); err == nil {
		now := time.Now()
		os.Chtimes(a.Path, now, now) // so that it is not thought unused
		a.Size, a.Took = info.Size(), time.Since(start)
		return a, nil
	}
	if err := b.CanCompile(); err != nil {
		return nil, err
	}
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if a, err = b.buildInTime(ctx, t); err != nil {
		return nil, err
	}
	info, err := os.Stat(a.Path)
	if err != nil {
		return nil, fmt.Errorf("builder: %w", err)
	}
	a.Size, a.Took = info.Size(), time.Since(start)
	return a, nil
}

// artifactOf returns the artifact of t as it is if it was built before.
func (b *Builder) artifactOf(t *tree) *Artifact {
	id := b.id(t)
	return &Artifact{ID: id, Path: filepath.Join(b.cache, "artifacts", id), Package: t.pkg, Watch: t.dirs, How: Cached}
}

// buildInTime builds t within the limit of time. Waiting for others is not part
// of it.
func (b *Builder) buildInTime(ctx context.Context, t *tree) (*Artifact, error) {
	if err := b.goEnviron(ctx); err != nil {
		return nil, err
	}
	unlock, err := b.lockWhileCold(ctx)
	if err != nil {
		return nil, err
	}
	late := fmt.Errorf("the build took longer than %v and was stopped", b.cfg.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, b.cfg.Timeout, late)
	defer cancel()
	a, err := b.buildWhole(ctx, t)
	unlock(err == nil)
	if errors.Is(err, late) {
		return nil, failure(t.dir, 0, 0, "%v", late)
	}
	return a, err
}

// buildWhole builds t, and if it is changed meanwhile starts over with what it is
// then.
func (b *Builder) buildWhole(ctx context.Context, t *tree) (*Artifact, error) {
	for range 1 + maxChanges {
		a := b.artifactOf(t)
		var err error
		if a.How, err = b.compile(ctx, t, a.Path); err == nil {
			return a, nil
		}
		if !errors.Is(err, errChanged) {
			return nil, err
		}
		if t, err = readTree(t.src); err != nil {
			return nil, err
		}
	}
	return nil, failure(t.src.Dir, 0, 0, "the source was changed %d times while it was built: save it again when it is whole", 1+maxChanges)
}

// errChanged is the error of a build whose source was changed meanwhile: what the
// compiler has read is not what was hashed.
var errChanged = errors.New("builder: source changed during the build")

// maxChanges bounds how often a build starts over for that.
const maxChanges = 4

// goEnviron asks the go command for its settings, until it has answered once.
func (b *Builder) goEnviron(ctx context.Context) error {
	b.envMu.Lock()
	defer b.envMu.Unlock()
	if b.env.GOROOT != "" {
		return nil
	}
	env, err := readGoEnv(ctx, b.goCmd)
	if err == nil {
		b.env = env
	}
	return err
}

// compile makes the program of t at path, by the fast path if there is one.
func (b *Builder) compile(ctx context.Context, t *tree, path string) (How, error) {
	work, err := newWorkDir()
	if err != nil {
		return "", err
	}
	defer work.remove()
	out := filepath.Join(work.path, "out")
	how := Relinked
	if !b.relink(ctx, t, work.path, out) {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		how = Compiled
		if err := b.goBuild(ctx, t, work.path, out); err != nil {
			return "", err
		}
	}
	info, err := os.Lstat(out)
	if err != nil || !info.Mode().IsRegular() { // a link would lead whoever stores it elsewhere
		return "", failure(t.dir, 0, 0, "the build has made no program")
	}
	if info.Size() > b.cfg.MaxOutput {
		return "", failure(t.dir, 0, 0, "the program has %d MiB, more than the limit of %d", info.Size()>>20, b.cfg.MaxOutput>>20)
	}
	if again, err := readTree(t.src); err != nil || again.digest != t.digest {
		return "", errChanged
	}
	return how, publish(out, path)
}

// publish puts a finished program in its place, whole or not at all.
func publish(from, to string) error {
	if err := os.Rename(from, to); err == nil {
		return nil
	}
	data, err := os.ReadFile(from) // on another file system
	if err != nil {
		return fmt.Errorf("builder: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(to), ".new-*")
	if err != nil {
		return fmt.Errorf("builder: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(0o755), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), to)
	}
	if err != nil {
		return fmt.Errorf("builder: store the artifact: %w", err)
	}
	return nil
}

// goBuild builds with the go command, and keeps what the fast path needs.
func (b *Builder) goBuild(ctx context.Context, t *tree, work, out string) error {
	p, err := b.prepare(t)
	if err != nil {
		return err
	}
	output, err := b.goCommand(ctx, t, p, work, "-o", out)
	if err != nil && b.lacksModules(output) { // they are fetched by a go command that compiles nothing
		if output, err = b.goCommand(ctx, t, p, work, "-n"); err == nil {
			output, err = b.goCommand(ctx, t, p, work, "-o", out)
		}
	}
	if err == nil {
		b.learn(t, p, parseEvents(output))
		return nil
	}
	var exit *exec.ExitError
	var limit errLimit
	switch {
	case errors.As(err, &limit):
		return failure(t.dir, 0, 0, "the build was stopped: %v", limit)
	case !errors.As(err, &exit) && ctx.Err() == nil:
		return failure(t.dir, 0, 0, "the go command: %v", err)
	case !errors.As(err, &exit):
		return err
	}
	list := diagnostics(parseEvents(output), p.dir, p.shim)
	list = b.explain(t, list, output)
	AddExcerpts(list)
	return &Error{Diagnostics: list}
}

// lockWhileCold lets builds into an empty cache one at a time, so that the
// standard library is compiled once and not by each. unlock is told whether the
// build was a success.
func (b *Builder) lockWhileCold(ctx context.Context) (unlock func(ok bool), err error) {
	marker := filepath.Join(b.cache, "warm-"+b.env.GOVERSION)
	warm := func() bool {
		_, err := os.Stat(marker)
		return err == nil
	}
	if warm() {
		return func(bool) {}, nil
	}
	select {
	case b.cold <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if warm() { // meanwhile
		<-b.cold
		return func(bool) {}, nil
	}
	b.log.Info("compiling the standard library, once for this machine")
	return func(ok bool) {
		if ok {
			os.WriteFile(marker, nil, 0o644) // without it the next build only waits its turn
		}
		<-b.cold
	}, nil
}
