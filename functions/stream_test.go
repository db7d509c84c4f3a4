package functions

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/fnhost/fnhost/functions/wire"
)

func TestReadersGoOut(t *testing.T) {
	long := strings.Repeat("0123456789", 20_000)
	tests := []struct {
		name  string
		r     io.Reader
		want  string
		whole bool // in one part, so that its length is known
	}{
		{"nil", nil, "", true},
		{"empty", strings.NewReader(""), "", true},
		{"short", strings.NewReader("short"), "short", true},
		{"short buffer", bytes.NewBufferString("short"), "short", true},
		{"long", strings.NewReader(long), long, false},
		{"data and end together", iotest.DataErrReader(strings.NewReader("short")), "short", true},
		{"byte by byte", iotest.OneByteReader(strings.NewReader("short")), "short", false},
		{"other reader, long", io.MultiReader(strings.NewReader(long), strings.NewReader(long)), long + long, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, err := run(t, func() io.Reader { return test.r }, nil, "")
			if err != nil {
				t.Fatal(err)
			}
			if w.body.String() != test.want {
				t.Errorf("%d bytes, want %d; or their content differs", w.body.Len(), len(test.want))
			}
			if w.more == test.whole || w.answers != 1 {
				t.Errorf("more = %v in %d answers, want %v in 1", w.more, w.answers, !test.whole)
			}
		})
	}
}

func TestReaderStreamsAsItReads(t *testing.T) {
	pr, pw := io.Pipe()
	w := &recorder{}
	served := make(chan error, 1)
	seen := make(chan string)
	go func() {
		served <- serveOne(t, func() io.Reader { return pr }, &Request{}, responderFunc{w, func(p string) { seen <- p }})
	}()
	for _, part := range []string{"one", "two"} {
		pw.Write([]byte(part))
		if got := <-seen; got != part {
			t.Errorf("part %q, want %q before the next one is written", got, part)
		}
	}
	pw.Close()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

// responderFunc tells of each part that is not empty.
type responderFunc struct {
	Responder
	part func(string)
}

func (f responderFunc) Respond(h wire.Header, payload []byte, more bool) error {
	err := f.Responder.Respond(h, payload, more)
	if len(payload) > 0 {
		f.part(string(payload))
	}
	return err
}

func (f responderFunc) Write(p []byte) (int, error) {
	n, err := f.Responder.Write(p)
	f.part(string(p))
	return n, err
}

func TestReadersThatFail(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	own := errors.New("disk on fire")
	tests := []struct {
		name     string
		r        *trickle
		err      error
		answered bool
	}{
		{"at once", &trickle{err: own}, own, false},
		{"in the middle", &trickle{parts: []string{long}, err: own}, own, true},
		// What a truncated HTTP response gives: not the end of a short body.
		{"cut short at once", &trickle{err: io.ErrUnexpectedEOF}, io.ErrUnexpectedEOF, false},
		{"cut short", &trickle{parts: []string{"abc"}, err: io.ErrUnexpectedEOF}, io.ErrUnexpectedEOF, true},
		{"not at all", &trickle{parts: []string{"abc", "def"}}, nil, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, err := run(t, func() io.ReadCloser { return test.r }, nil, "")
			if !errors.Is(err, test.err) || (test.err == nil) != (err == nil) {
				t.Errorf("error %v, want %v", err, test.err)
			}
			if (w.answers == 1) != test.answered {
				t.Errorf("%d answers, want one: %v", w.answers, test.answered)
			}
			if test.r.closed != 1 {
				t.Errorf("closed %d times, want once", test.r.closed)
			}
		})
	}
	t.Run("the caller goes away", func(t *testing.T) {
		r := &trickle{parts: []string{"a", "b", "c"}}
		w := &recorder{failAt: 1}
		err := serveOne(t, func() io.Reader { return r }, &Request{}, w)
		if !errors.Is(err, errGone) || r.closed != 1 {
			t.Errorf("error %v, closed %d times", err, r.closed)
		}
	})
}

func TestFileGoesOutAndIsClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	want := strings.Repeat("file ", 50_000)
	if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	var f *os.File
	w, err := run(t, func() (io.ReadCloser, error) {
		var err error
		f, err = os.Open(path)
		return f, err
	}, nil, "")
	if err != nil || w.body.String() != want {
		t.Errorf("%d bytes, %v; want %d", w.body.Len(), err, len(want))
	}
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the file was left open: %v", err)
	}
}

func TestBodiesComeIn(t *testing.T) {
	own := errors.New("the caller broke off")
	handlers := map[string]any{
		"bytes":    func(b []byte) []byte { return b },
		"fast":     func(_ context.Context, b []byte) ([]byte, error) { return b, nil },
		"string":   func(s string) string { return s },
		"reader":   func(r io.Reader) ([]byte, error) { return io.ReadAll(r) },
		"closer":   func(r io.ReadCloser) ([]byte, error) { defer r.Close(); return io.ReadAll(r) },
		"straight": func(r io.Reader) io.Reader { return r },
	}
	for name, fn := range handlers {
		for _, size := range []int{0, 1, 70_000, 500_000} {
			want := strings.Repeat("x", size)
			w := &recorder{}
			r := &Request{Payload: []byte(want[:size/3]), Body: iotest.HalfReader(strings.NewReader(want[size/3:]))}
			if err := serveOne(t, fn, r, w); err != nil || w.body.String() != want {
				t.Errorf("%s: %d bytes of %d, %v", name, w.body.Len(), size, err)
			}
		}
		r := &Request{Payload: []byte("begin"), Body: &trickle{parts: []string{"middle"}, err: own}}
		if err := serveOne(t, fn, r, &recorder{}); !errors.Is(err, own) {
			t.Errorf("%s: a body that breaks off gave %v", name, err)
		}
	}
	own2 := &trickle{err: own}
	if err := serveOne(t, func(in) { t.Error("ran") }, &Request{Body: own2}, &recorder{}); !errors.Is(err, own) {
		t.Errorf("typed: %v", err)
	}
}

func TestReadAllDoesNotWriteToThePayload(t *testing.T) {
	frame := []byte("payloadNEXT")
	r := &Request{Payload: frame[:7], Body: strings.NewReader("more")}
	b, err := r.ReadAll()
	if string(b) != "payloadmore" || err != nil || string(frame) != "payloadNEXT" {
		t.Errorf("%q, %v; frame %q", b, err, frame)
	}
}

type item struct{ N int }

func TestSequences(t *testing.T) {
	own := errors.New("no more")
	seq := func() iter.Seq[item] { return slices.Values([]item{{1}, {2}}) }
	pairs := func(err error) iter.Seq2[item, error] {
		return func(yield func(item, error) bool) {
			_ = yield(item{1}, nil) && yield(item{2}, nil) && yield(item{}, err) && yield(item{4}, nil)
		}
	}
	lines := "{\"N\":1}\n{\"N\":2}\n"
	events := "data: {\"N\":1}\n\ndata: {\"N\":2}\n\n"
	sse := fields("accept", "text/event-stream")
	tests := []struct {
		name   string
		fn     any
		header wire.Header
		want   string
		err    error
	}{
		{"Seq, lines", seq, nil, lines, nil},
		{"Seq, events", func() (iter.Seq[item], error) { return seq(), nil }, sse, events, nil},
		{"Seq2, error in the middle", func() iter.Seq2[item, error] { return pairs(own) }, nil, lines, own},
		{"Seq2, events", func() iter.Seq2[item, error] { return pairs(own) }, sse, events, own},
		{"Seq2, no error", func() iter.Seq2[item, error] { return pairs(nil) }, nil, lines + "{\"N\":0}\n{\"N\":4}\n", nil},
		{"nil", func() iter.Seq[item] { return nil }, nil, "", nil},
		{"nil Seq2", func() iter.Seq2[item, error] { return nil }, sse, "", nil},
		{"plain function type", func() func(func(string) bool) { return slices.Values([]string{"a"}) }, nil, "\"a\"\n", nil},
		{"error instead", func() (iter.Seq[item], error) { return nil, own }, nil, "", own},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, err := run(t, test.fn, test.header, "")
			if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
				t.Errorf("error %v, want %v", err, test.err)
			}
			if w.body.String() != test.want {
				t.Errorf("body %q, want %q", w.body.String(), test.want)
			}
			want := "application/x-ndjson"
			if test.header != nil {
				want = "text/event-stream"
			}
			if got := w.header.Get("Content-Type"); w.answers > 0 && got != want {
				t.Errorf("content type %q, want %q", got, want)
			}
		})
	}
}

func TestSequenceGoesOutPieceByPieceAndStopsWithItsCaller(t *testing.T) {
	stopped := false
	endless := func() iter.Seq[int] {
		return func(yield func(int) bool) {
			defer func() { stopped = true }()
			for i := 0; yield(i); i++ {
			}
		}
	}
	w := &recorder{failAt: 4}
	err := serveOne(t, endless, &Request{}, w)
	if !errors.Is(err, errGone) || !stopped {
		t.Errorf("error %v, stopped %v", err, stopped)
	}
	if want := []string{"", "0\n", "1\n", "2\n"}; !slices.Equal(w.parts, want) {
		t.Errorf("parts %q, want %q", w.parts, want)
	}
}

func TestPanicAndGoexitInTheMiddle(t *testing.T) {
	_, err := run(t, func() iter.Seq[int] {
		return func(yield func(int) bool) { yield(1); panic("boom") }
	}, nil, "")
	if codeOf(err) != wire.Panicked {
		t.Errorf("panic in a sequence: %v", err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		run(t, func() { runtime.Goexit() }, nil, "")
		t.Error("Goexit came back")
	}()
	<-done
}

func TestStreamOf(t *testing.T) {
	tests := []struct {
		of   reflect.Type
		want reflect.Type
	}{
		{reflect.TypeFor[iter.Seq[int]](), reflect.TypeFor[int]()},
		{reflect.TypeFor[iter.Seq2[string, error]](), reflect.TypeFor[string]()},
		{reflect.TypeFor[iter.Seq2[string, string]](), nil},
		{reflect.TypeFor[func(func() bool)](), nil},
		{reflect.TypeFor[func(int)](), nil},
		{reflect.TypeFor[int](), nil},
		{reflect.TypeFor[chan int](), nil},
	}
	for _, test := range tests {
		if got := streamOf(test.of); got != test.want {
			t.Errorf("streamOf(%v) = %v, want %v", test.of, got, test.want)
		}
	}
}
