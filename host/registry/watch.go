package registry

import (
	"context"
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

// Watch calls changed with the record of each function, then initial, and then
// changed with each change, in their order, all from one goroutine. It returns
// when ctx ends, or with an error when it cannot begin.
func (r *Registry) Watch(ctx context.Context, changed func(Change), initial func()) error {
	prefix := "function." + r.ns + "."
	w, err := r.kv.Watch(ctx, prefix+"*")
	if err != nil {
		return fmt.Errorf("registry: watch: %w", err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return nil
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
