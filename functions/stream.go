package functions

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/fnhost/fnhost/functions/wire"
)

// streamOf returns T for a type iter.Seq[T] or iter.Seq2[T, error], otherwise nil.
func streamOf(t reflect.Type) reflect.Type {
	if t.Kind() != reflect.Func || t.NumIn() != 1 || t.NumOut() != 0 || !(t.CanSeq() || t.CanSeq2()) {
		return nil
	}
	yield := t.In(0)
	if yield.NumIn() == 2 && yield.In(1) != errorType {
		return nil
	}
	return yield.In(0)
}

// serveStream sends each value of the sequence v as it is yielded.
func serveStream(r *Request, w Responder, v reflect.Value) error {
	events := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	contentType := "application/x-ndjson"
	if events {
		contentType = "text/event-stream"
	}
	header := wire.Header(nil).Add("Content-Type", contentType).Add("Cache-Control", "no-store")
	if err := w.Respond(header, nil, true); err != nil || v.IsNil() {
		return err
	}
	send := func(item reflect.Value) error {
		b, err := json.Marshal(item.Interface())
		if err != nil {
			return fmt.Errorf("encode the result: %w", err)
		}
		if events {
			b = fmt.Appendf(nil, "data: %s\n\n", b)
		} else {
			b = append(b, '\n')
		}
		_, err = w.Write(b)
		return err
	}
	if v.Type().CanSeq2() && !v.Type().CanSeq() {
		for item, failure := range v.Seq2() {
			if err, _ := failure.Interface().(error); err != nil {
				return err
			}
			if err := send(item); err != nil {
				return err
			}
		}
		return nil
	}
	for item := range v.Seq() {
		if err := send(item); err != nil {
			return err
		}
	}
	return nil
}

// serveReader sends what a reader gives, as it gives it, and closes it if it can
// be closed. What fits a part and is known to end there goes out whole.
func serveReader(w Responder, v any) error {
	r, _ := v.(io.Reader)
	if c, ok := v.(io.Closer); ok {
		defer c.Close()
	}
	if r == nil {
		return w.Respond(nil, nil, false)
	}
	first := make([]byte, 32<<10)
	n, err := r.Read(first)
	for n == 0 && err == nil {
		n, err = r.Read(first)
	}
	if m, ok := r.(interface{ Len() int }); ok && m.Len() == 0 && err == nil {
		err = io.EOF // in memory, and read to its end
	}
	switch {
	case err == io.EOF:
		return w.Respond(nil, first[:n], false)
	case err != nil && n == 0:
		return err
	}
	if respondErr := w.Respond(nil, first[:n], true); respondErr != nil || err != nil {
		return cmp.Or(respondErr, err)
	}
	_, err = io.Copy(struct{ io.Writer }{w}, r)
	return err
}
