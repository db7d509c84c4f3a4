package functions

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"

	"github.com/fnhost/fnhost/functions/wire"
)

// Handle returns the endpoint name ("" for the root) that runs fn, a function
// of one of the shapes in the package documentation (for http.Handler style see
// httpfn.Handle). If fn is of no such shape, [Endpoint.Err] says so, and
// [Serve] refuses to start.
func Handle(name string, fn any) Endpoint {
	e := Endpoint{Name: name, Kind: wire.EndpointJSON}
	if raw, ok := fn.(func(context.Context, []byte) ([]byte, error)); ok {
		e.Kind = wire.EndpointRaw
		e.serve = serveBytes(raw)
		return e
	}
	h, err := newHandler(fn)
	if err != nil {
		e.err = fmt.Errorf("functions: endpoint %q: %w", name, err)
		return e
	}
	switch {
	case h.in == eventType:
		e.Kind = wire.EndpointEvent
	case h.in == eventsType:
		e.Kind = wire.EndpointBatch
	case h.raw():
		e.Kind = wire.EndpointRaw
	}
	e.In, e.Out = h.schemaTypes()
	e.serve = h.serve
	return e
}

// serveBytes is the shortest way through, for the plainest of handlers.
func serveBytes(fn func(context.Context, []byte) ([]byte, error)) func(context.Context, *Request, Responder) error {
	return func(ctx context.Context, r *Request, w Responder) error {
		in, err := r.ReadAll()
		if err == nil && len(in) == 0 {
			err = checkValue(r.Header)
		}
		if err != nil {
			return err
		}
		out, err := fn(ctx, in)
		if err != nil {
			return err
		}
		return w.Respond(nil, out, false)
	}
}

var (
	contextType    = reflect.TypeFor[context.Context]()
	errorType      = reflect.TypeFor[error]()
	readerType     = reflect.TypeFor[io.Reader]()
	readCloserType = reflect.TypeFor[io.ReadCloser]()
	bytesType      = reflect.TypeFor[[]byte]()
)

// handler is a function of one of the accepted shapes, taken apart once.
type handler struct {
	fn      reflect.Value
	ctx     bool
	in, out reflect.Type // nil for none
	err     bool
	bind    *binding // merges parameters into in, nil where that cannot be
	stream  reflect.Type
}

func newHandler(fn any) (*handler, error) {
	v := reflect.ValueOf(fn)
	if !v.IsValid() || v.Kind() != reflect.Func || v.IsNil() {
		return nil, fmt.Errorf("%T is not a function", fn)
	}
	t := v.Type()
	h := &handler{fn: v}
	in, out := t.NumIn(), t.NumOut()
	first := 0
	if in > 0 && t.In(0) == contextType {
		h.ctx, first = true, 1
	}
	if out > 0 && t.Out(out-1) == errorType {
		h.err = true
		out--
	}
	if t.IsVariadic() || in-first > 1 || out > 1 {
		return nil, fmt.Errorf("%v is not a handler: want func([context.Context], [In]) ([Out], [error])", t)
	}
	if in > first {
		h.in = t.In(first)
	}
	if out == 1 {
		h.out = t.Out(0)
		h.stream = streamOf(h.out)
	}
	if err := h.checkJSON(); err != nil {
		return nil, err
	}
	if h.in != nil && h.in != eventType && h.in != eventsType {
		h.bind = newBinding(h.in)
	}
	return h, nil
}

// checkJSON returns an error if JSON cannot become what the handler takes, or
// what it returns can never become JSON.
func (h *handler) checkJSON() error {
	in, out := h.schemaTypes()
	if in != nil {
		if m := misfitOf(in, true); m != nil {
			return fmt.Errorf("%s is not a handler: no JSON becomes its input: %s", h.name(), m.text(in))
		}
	}
	if out == nil {
		return nil
	}
	m := misfitOf(out, false)
	if m == nil {
		return nil
	}
	if m.path == "" && out.Kind() == reflect.Chan {
		m.do = "return an iter.Seq, which goes out as it is yielded"
	}
	return fmt.Errorf("%s is not a handler: its result never becomes JSON: %s", h.name(), m.text(out))
}

// name returns the name of the Go function, without its package.
func (h *handler) name() string {
	f := runtime.FuncForPC(h.fn.Pointer())
	if f == nil {
		return h.fn.Type().String()
	}
	path := f.Name()
	_, name, _ := strings.Cut(path[strings.LastIndexByte(path, '/')+1:], ".")
	return strings.TrimSuffix(name, "-fm") // of a method value
}

func isRaw(t reflect.Type) bool {
	return t == nil || t == bytesType || t.Kind() == reflect.String && t.PkgPath() == "" || t == readerType || t == readCloserType
}

// raw reports whether no JSON is involved, and something is.
func (h *handler) raw() bool {
	return isRaw(h.in) && isRaw(h.out) && (h.in != nil || h.out != nil)
}

func (h *handler) schemaTypes() (in, out reflect.Type) {
	if !isRaw(h.in) && h.in != eventType && h.in != eventsType {
		in = h.in
	}
	switch {
	case h.stream != nil:
		out = h.stream
	case !isRaw(h.out):
		out = h.out
	}
	return in, out
}

func (h *handler) serve(ctx context.Context, r *Request, w Responder) error {
	var args [2]reflect.Value
	n := 0
	if h.ctx {
		args[n] = reflect.ValueOf(ctx)
		n++
	}
	if h.in != nil {
		in, err := h.input(r)
		if err != nil {
			return err
		}
		args[n] = in
		n++
	}
	out := h.fn.Call(args[:n])
	if h.err {
		if err, _ := out[len(out)-1].Interface().(error); err != nil {
			return failed(r, w, err)
		}
	}
	if h.out == nil {
		return w.Respond(wire.Header(nil).AddInt(wire.KeyStatus, 204), nil, false)
	}
	return h.output(r, w, out[0])
}

// input decodes the body, and merges parameters into it.
func (h *handler) input(r *Request) (reflect.Value, error) {
	n, isBatch := r.Header.Int(wire.KeyBatch)
	if !isBatch && h.in != eventType && h.in != eventsType {
		if err := checkValue(r.Header); err != nil {
			return reflect.Value{}, err
		}
	}
	if !isBatch && (h.in == readerType || h.in == readCloserType) {
		return reflect.ValueOf(io.NopCloser(r.Reader())), nil
	}
	body, err := r.ReadAll()
	if err != nil {
		return reflect.Value{}, err
	}
	if isBatch {
		return h.batch(int(n), body)
	}
	v := reflect.New(h.in)
	switch {
	case h.in == eventType:
		return reflect.ValueOf(newEvent(r.Header, body)), nil
	case h.in == eventsType:
		return reflect.ValueOf([]Event{newEvent(r.Header, body)}), nil
	case h.in == bytesType:
		v.Elem().SetBytes(body)
		return v.Elem(), nil
	case isRaw(h.in):
		v.Elem().SetString(string(body))
		return v.Elem(), nil
	}
	body = bareData(r.Header, body)
	form := isForm(r.Header.Get("Content-Type"), body)
	if len(body) > 0 && !form {
		if err := json.Unmarshal(body, v.Interface()); err != nil {
			return v, badJSON(body, err)
		}
	}
	if h.bind != nil {
		if !form {
			body = nil
		}
		if err := h.bind.merge(v.Elem(), r.Header, body); err != nil {
			return v, err
		}
	}
	for in := v.Elem(); in.Kind() == reflect.Pointer; in = in.Elem() {
		if in.IsNil() { // no handler has to expect that
			in.Set(reflect.New(in.Type().Elem()))
		}
	}
	return v.Elem(), nil
}

// isForm reports whether a body is a form. `curl -d` calls all that it sends one,
// so what begins like a JSON object or list is taken for JSON whatever it is called.
func isForm(contentType string, body []byte) bool {
	if !strings.HasPrefix(contentType, "application/x-www-form-urlencoded") {
		return false
	}
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) == 0 || body[0] != '{' && body[0] != '['
}

// output encodes what a handler returned.
func (h *handler) output(r *Request, w Responder, v reflect.Value) error {
	switch {
	case h.stream != nil:
		return serveStream(r, w, v)
	case h.out == bytesType:
		return w.Respond(nil, v.Bytes(), false)
	case h.out == readerType || h.out == readCloserType:
		return serveReader(w, v.Interface())
	case isRaw(h.out):
		return w.Respond(wire.Header(nil).Add("Content-Type", "text/plain; charset=utf-8"), []byte(v.String()), false)
	}
	b, err := json.Marshal(v.Interface())
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	header := jsonHeader
	if s, ok := v.Interface().(interface{ StatusCode() int }); ok && !isNil(v) {
		header = header[:len(header):len(header)].AddInt(wire.KeyStatus, int64(s.StatusCode()))
	}
	return w.Respond(header, b, false)
}

var jsonHeader = wire.Header(nil).Add("Content-Type", "application/json")

func isNil(v reflect.Value) bool {
	if v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// badJSON says where in body the error lies.
func badJSON(body []byte, err error) *Error {
	offset, what := int64(-1), strings.TrimPrefix(err.Error(), "json: ")
	switch e := err.(type) {
	case *json.SyntaxError:
		offset = e.Offset
	case *json.UnmarshalTypeError:
		offset = e.Offset
		what = fmt.Sprintf("%s does not fit %s", e.Value, e.Type)
		if e.Field != "" {
			what = fmt.Sprintf("field %q: %s", e.Field, what)
		}
	}
	if offset < 0 || offset > int64(len(body)) {
		return Errorf(BadRequest, "the body is not the JSON expected: %s", what)
	}
	line, column := 1, 1
	for _, c := range body[:max(offset-1, 0)] {
		if column++; c == '\n' {
			line, column = line+1, 1
		}
	}
	return Errorf(BadRequest, "the body is not the JSON expected: line %d, column %d: %s", line, column, what)
}
