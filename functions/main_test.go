package functions

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/functions/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a Responder that keeps what it is given.
type recorder struct {
	header  wire.Header
	body    bytes.Buffer
	parts   []string // the payload of Respond, and of each Write
	more    bool
	answers int
	failAt  int // the part whose Write fails, counted from 1
}

var errGone = errors.New("the caller has gone")

func (r *recorder) Respond(h wire.Header, payload []byte, more bool) error {
	r.answers++
	r.header, r.more = h, more
	r.body.Write(payload)
	r.parts = append(r.parts, string(payload))
	return nil
}

func (r *recorder) Write(p []byte) (int, error) {
	if len(r.parts) == r.failAt {
		return 0, errGone
	}
	r.parts = append(r.parts, string(p))
	return r.body.Write(p)
}

func (r *recorder) status() int { return wire.StatusOf(r.header, 200) }

// run serves one request to fn.
func run(t *testing.T, fn any, h wire.Header, body string) (*recorder, error) {
	t.Helper()
	w := &recorder{}
	return w, serveOne(t, fn, &Request{Header: h, Payload: []byte(body)}, w)
}

func serveOne(t *testing.T, fn any, r *Request, w Responder) error {
	t.Helper()
	e := Handle("", fn)
	if err := e.Err(); err != nil {
		t.Fatal(err)
	}
	return e.Serve(NewContext(t.Context(), "test", r.Header, nil), r, w)
}

// fields returns a header of pairs.
func fields(pairs ...string) wire.Header {
	var h wire.Header
	for i := 0; i < len(pairs); i += 2 {
		h = h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// codeOf returns the code of err, "" for nil.
func codeOf(err error) Code {
	if e := wire.AsError(err); e != nil {
		return e.Code
	}
	return ""
}

// trickle is a reader that gives one part a Read and then fails, by default at
// its end. It counts how often it was closed.
type trickle struct {
	parts  []string
	err    error
	closed int
}

func (r *trickle) Read(p []byte) (int, error) {
	if len(r.parts) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		return 0, io.EOF
	}
	n := copy(p, r.parts[0])
	if r.parts[0] = r.parts[0][n:]; r.parts[0] == "" {
		r.parts = r.parts[1:]
	}
	return n, nil
}

func (r *trickle) Close() error {
	r.closed++
	return nil
}

var _ context.Context = (*scope)(nil)
