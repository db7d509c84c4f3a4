package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Change says that the record of a function is another one now.
type Change struct {
	Name     string
	Function *Function // nil if it was removed, or if the record is damaged
	Revision uint64
	Err      error // wraps [ErrDamaged]
}

// errBrokenOff is the error of what ends although it has not been read to its end:
// the connection was closed.
var errBrokenOff = errors.New("the server has ended the transfer")

// Watch calls changed with the record of each function, then initial, and then
// changed with each change, in their order, all from one goroutine; one that was
// followed by another at once may be left out. It returns nil when ctx ends, or an
// error when it cannot begin, or cannot go on.
//
// A watch whose server starts its storage anew goes on by itself, but finds out
// only after some seconds.
func (r *Registry) Watch(ctx context.Context, changed func(Change), initial func()) error {
	prefix := "function." + r.ns + "."
	w, err := r.kv.Watch(ctx, prefix+"*")
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("registry: watch: %w", err)
	}
	defer stop(w)
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Updates():
			switch {
			case !ok && ctx.Err() != nil:
				return nil
			case !ok:
				return fmt.Errorf("registry: watch: %w", errBrokenOff)
			case e == nil:
				initial()
				continue
			}
			c := Change{Name: strings.TrimPrefix(e.Key(), prefix), Revision: e.Revision()}
			if e.Operation() == jetstream.KeyValuePut {
				c.Function, c.Err = decodeFunction(c.Name, e)
			}
			changed(c)
		}
	}
}

// stop ends a watcher. What it has not yet handed over must be taken from it, or
// its goroutine never ends.
func stop(w jetstream.KeyWatcher) {
	w.Stop() // an error says that it is closed already
	for range w.Updates() {
	}
}
