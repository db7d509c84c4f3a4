package functions

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/functions/wire"
)

type in struct{ N int }
type out struct{ N int }

func TestEveryShapeIsServed(t *testing.T) {
	ran := false
	nothing := func() { ran = true }
	double := func(i in) out { ran = true; return out{2 * i.N} }
	tests := []struct {
		name string
		fn   any
		want string // the body; status 204 for ""
	}{
		{"func()", func() { nothing() }, ""},
		{"func() error", func() error { nothing(); return nil }, ""},
		{"func(In)", func(i in) { nothing() }, ""},
		{"func(In) error", func(i in) error { nothing(); return nil }, ""},
		{"func() Out", func() out { nothing(); return out{6} }, `{"N":6}`},
		{"func() (Out, error)", func() (out, error) { nothing(); return out{6}, nil }, `{"N":6}`},
		{"func(In) Out", func(i in) out { return double(i) }, `{"N":6}`},
		{"func(In) (Out, error)", func(i in) (out, error) { return double(i), nil }, `{"N":6}`},
		{"func(ctx)", func(context.Context) { nothing() }, ""},
		{"func(ctx) error", func(context.Context) error { nothing(); return nil }, ""},
		{"func(ctx, In)", func(context.Context, in) { nothing() }, ""},
		{"func(ctx, In) error", func(context.Context, in) error { nothing(); return nil }, ""},
		{"func(ctx) Out", func(context.Context) out { nothing(); return out{6} }, `{"N":6}`},
		{"func(ctx) (Out, error)", func(context.Context) (out, error) { nothing(); return out{6}, nil }, `{"N":6}`},
		{"func(ctx, In) Out", func(_ context.Context, i in) out { return double(i) }, `{"N":6}`},
		{"func(ctx, In) (Out, error)", func(_ context.Context, i in) (out, error) { return double(i), nil }, `{"N":6}`},
		{"pointers", func(_ context.Context, i *in) (*out, error) { o := double(*i); return &o, nil }, `{"N":6}`},
		{"bytes", func(_ context.Context, b []byte) ([]byte, error) { nothing(); return b, nil }, `{"N":3}`},
		{"bytes, no error", func(b []byte) []byte { nothing(); return b }, `{"N":3}`},
		{"string", func(s string) string { nothing(); return s }, `{"N":3}`},
		{"any", func(v any) any { nothing(); return v.(map[string]any)["N"] }, `3`},
		{"map", func(m map[string]int) int { nothing(); return m["N"] }, `3`},
		{"nil pointer", func() *out { nothing(); return nil }, `null`},
		{"nil map", func() map[string]int { nothing(); return nil }, `null`},
		{"nil slice of bytes", func() []byte { nothing(); return nil }, ``},
		{"nil any", func() any { nothing(); return nil }, `null`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ran = false
			w, err := run(t, test.fn, nil, `{"N":3}`)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.body.String(); got != test.want || !ran || w.more || w.answers != 1 {
				t.Errorf("body %q, want %q; ran %v, more %v, answers %d", got, test.want, ran, w.more, w.answers)
			}
			status := 200
			if test.want == "" && !strings.HasPrefix(test.name, "nil slice") {
				status = 204
			}
			if w.status() != status {
				t.Errorf("status %d, want %d", w.status(), status)
			}
		})
	}
}

func TestWhatIsNoHandlerIsRefused(t *testing.T) {
	tests := []struct {
		name string
		fn   any
	}{
		{"nil", nil},
		{"number", 5},
		{"nil function", (func())(nil)},
		{"two inputs", func(a, b int) {}},
		{"two results", func() (int, int) { panic("") }},
		{"three results", func() (int, int, error) { panic("") }},
		{"variadic", func(s ...string) {}},
		{"context second", func(i int, ctx context.Context) {}},
		{"http", func(http.ResponseWriter, *http.Request) {}},
		{"channel in", func(chan int) {}},
		{"channel out", func() <-chan int { panic("") }},
		{"function in", func(func()) {}},
		{"function out", func() func() { panic("") }},
		{"sequence of pairs out", func() func(func(int, string) bool) { panic("") }},
		{"interface in", func(io.Writer) {}},
		{"complex out", func() complex128 { panic("") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := Handle("x", test.fn)
			if err := e.Err(); err == nil || !strings.Contains(err.Error(), `endpoint "x"`) {
				t.Errorf("Err = %v, want one that names the endpoint", err)
			}
		})
	}
	if err := new(Endpoint).Err(); err == nil {
		t.Error("an endpoint without a handler has no error")
	}
}

func TestKindOfEndpoint(t *testing.T) {
	tests := []struct {
		name, want string
		fn         any
	}{
		{"typed", wire.EndpointJSON, func(in) out { panic("") }},
		{"nothing", wire.EndpointJSON, func() {}},
		{"bytes", wire.EndpointRaw, func([]byte) []byte { panic("") }},
		{"string in", wire.EndpointRaw, func(string) {}},
		{"reader out", wire.EndpointRaw, func() io.ReadCloser { panic("") }},
		{"bytes in, typed out", wire.EndpointJSON, func([]byte) out { panic("") }},
		{"named string", wire.EndpointJSON, func(http.ConnState) {}},
	}
	for _, test := range tests {
		if got := Handle("", test.fn).Kind; got != test.want {
			t.Errorf("%s: kind %q, want %q", test.name, got, test.want)
		}
	}
}

func TestErrorsOfHandlers(t *testing.T) {
	own := errors.New("own")
	tests := []struct {
		name    string
		fn      any
		code    Code
		message string
	}{
		{"plain", func() error { return own }, Internal, "own"},
		{"with a result", func() (out, error) { return out{1}, own }, Internal, "own"},
		{"chosen", func() error { return Errorf(Conflict, "taken by %d", 7) }, Conflict, "taken by 7"},
		{"of the context", func() error { return context.DeadlineExceeded }, wire.Timeout, "context deadline exceeded"},
		{"bytes", func(context.Context, []byte) ([]byte, error) { return nil, own }, Internal, "own"},
		{"reader", func() (io.Reader, error) { return nil, own }, Internal, "own"},
		{"result that JSON has not", func() any { return func() {} }, Internal, "encode the result: json: unsupported type: func()"},
		{"typed nil is none", func() error { return nil }, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, err := run(t, test.fn, nil, "")
			if codeOf(err) != test.code || err != nil && err.Error() != test.message {
				t.Errorf("error %q %v, want %q %s", codeOf(err), err, test.code, test.message)
			}
			if err != nil && w.answers != 0 {
				t.Error("answered in spite of the error")
			}
		})
	}
}

func TestPanicsComeBackWithTheirStack(t *testing.T) {
	for _, fn := range []any{func() { explode() }, func(context.Context, []byte) ([]byte, error) { explode(); return nil, nil }} {
		_, err := run(t, fn, nil, "")
		var e *Error
		if !errors.As(err, &e) || e.Code != wire.Panicked || e.Message != "boom 7" || !strings.Contains(e.Stack, "explode") {
			t.Errorf("error %#v, want a panic with its stack", err)
		}
	}
	_, err := run(t, func() { panic(nil) }, nil, "")
	if codeOf(err) != wire.Panicked {
		t.Errorf("panic(nil) = %v", err)
	}
}

func explode() { panic("boom " + "7") }

type created struct{ ID int }

func (created) StatusCode() int { return 201 }

type asked int

func (a asked) StatusCode() int { return int(a) }

func TestStatusCode(t *testing.T) {
	tests := []struct {
		name string
		fn   any
		want int
	}{
		{"value", func() created { return created{1} }, 201},
		{"pointer", func() *created { return &created{1} }, 201},
		{"nil pointer", func() *created { return nil }, 200},
		{"any", func() any { return created{1} }, 201},
		{"any of a nil pointer", func() any { return (*created)(nil) }, 200},
		{"zero is the default", func() asked { return 0 }, 200},
		{"out of range", func() asked { return 1000 }, 200},
		{"without body", func() asked { return 304 }, 304},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, err := run(t, test.fn, nil, "")
			if err != nil {
				t.Fatal(err)
			}
			if w.status() != test.want || w.header.Get("Content-Type") != "application/json" {
				t.Errorf("status %d, want %d; header %q", w.status(), test.want, w.header)
			}
		})
	}
	// The header that all share must not have grown a status.
	if w, _ := run(t, func() out { return out{} }, nil, ""); w.status() != 200 {
		t.Errorf("status %d after others have chosen theirs", w.status())
	}
}

func TestBadJSONSaysWhere(t *testing.T) {
	type nested struct {
		Name string
		Sub  struct{ Count int }
	}
	tests := []struct{ name, body, want string }{
		{"syntax, first line", `{"Name" 5}`, "line 1, column 9: invalid character '5' after object key"},
		{"syntax, third line", "{\n  \"Name\": \"a\",\n  \"Sub\": x\n}", "line 3, column 10: invalid character 'x'"},
		{"cut short", `{"Name": "a"`, "line 1, column 12: unexpected end of JSON input"},
		{"more than one value", `{} {}`, "line 1, column 4: invalid character '{' after top-level value"},
		{"type", "{\n\"Name\": 5}", `line 2, column 9: field "Name": number does not fit string`},
		{"type, nested", `{"Sub":{"Count":"many"}}`, `field "Sub.Count": string does not fit int`},
		{"type at the top", `[1]`, "line 1, column 1: array does not fit functions.nested"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := run(t, func(nested) { t.Error("the handler ran") }, nil, test.body)
			if codeOf(err) != BadRequest || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}
