package host

import (
	"errors"
	"io"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/trigger"
)

// gives notes that the function is given a secret: from now on its value is taken out of
// what it writes, logs, and returns as errors.
func (f *function) gives(name string, value []byte) {
	if f.hidden.Load().Has(name, value) {
		return
	}
	f.h.keeper.giving.Lock()
	defer f.h.keeper.giving.Unlock()
	f.hidden.Store(f.hidden.Load().With(name, value))
}

// hide takes secrets out of a record of the function.
func (f *function) hide(r *logs.Record) {
	if hidden := f.hidden.Load(); hidden != nil {
		r.Message, r.Attrs = hidden.Text(r.Message), hidden.JSON(r.Attrs)
	}
}

// hideError takes secrets out of an error that the function has returned.
func (f *function) hideError(err error) error {
	hidden := f.hidden.Load()
	var e *wire.Error
	if hidden == nil || !errors.As(err, &e) || !e.Remote {
		return err
	}
	out := *wire.AsError(err)
	out.Message, out.Stack = hidden.Text(out.Message), hidden.Text(out.Stack)
	return &out
}

// hideResult takes secrets out of the errors that an answer holds.
func (f *function) hideResult(r *trigger.Result) (*trigger.Result, error) {
	if r.Body != nil {
		r.Body = hiddenBody{r.Body, f}
	}
	hidden := f.hidden.Load()
	if hidden == nil {
		return r, nil
	}
	if _, failed := r.Header.Int(wire.KeyFailed); !failed {
		return r, nil
	}
	body, err := r.ReadAll(maxResult)
	if err != nil {
		return nil, err
	}
	items, err := wire.ItemErrors(body)
	if err != nil {
		return nil, wire.Errorf(wire.Internal, "%v", err)
	}
	out := &trigger.Result{Version: r.Version, Header: r.Header}
	for i, e := range items {
		e.Message, e.Stack = hidden.Text(e.Message), hidden.Text(e.Stack)
		out.Payload = wire.AppendItemError(out.Payload, i, e)
	}
	return out, nil
}

// hiddenBody is a body whose error, at its end, may hold a secret.
type hiddenBody struct {
	io.ReadCloser
	f *function
}

func (b hiddenBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = b.f.hideError(err)
	}
	return n, err
}
