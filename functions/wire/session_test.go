package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// socketpair returns the two ends of a unix stream socketpair.
func socketpair(t testing.TB) (a, b *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
}

// pair returns the host's side of a session whose worker serves with serve.
func pair(t testing.TB, serve func(context.Context, *Exchange)) (host, worker *Session) {
	t.Helper()
	a, b := socketpair(t)
	host = NewSession(a, Config{Host: true})
	worker = NewSession(b, Config{Serve: serve})
	worker.turn.cool = 0
	var wg sync.WaitGroup
	for _, s := range []*Session{host, worker} {
		wg.Go(func() {
			if err := s.Run(); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		host.Close()
		worker.Close()
		wg.Wait()
	})
	return host, worker
}

type doneFunc func()

func (f doneFunc) ExchangeDone() { f() }

func echo(_ context.Context, x *Exchange) {
	if x.Body() == nil {
		x.Respond(x.Header(), x.Payload(), false)
		return
	}
	x.Respond(x.Header(), x.Payload(), true)
	io.Copy(struct{ io.Writer }{x}, x.Body())
}

func readAll(t testing.TB, r *Response) []byte {
	t.Helper()
	out := r.Payload
	if r.Body != nil {
		rest, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatalf("reading the response: %v", err)
		}
		out = append(out[:len(out):len(out)], rest...)
	}
	return out
}

func TestBodiesOfEverySizeComeBackWhole(t *testing.T) {
	host, _ := pair(t, echo)
	for _, size := range []int{0, 1, 100, MaxPayload - 1, MaxPayload, MaxPayload + 1, Window, Window + MaxPayload + 1, 5 << 20} {
		for _, streamed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, streamed %v", size, streamed), func(t *testing.T) {
				want := make([]byte, size)
				for i := range want {
					want[i] = byte(rand.Uint32())
				}
				req := &Request{Kind: Invoke, Header: Header(nil).Add("a", "1"), Payload: want}
				if streamed {
					req.Payload, req.Body = nil, bytes.NewReader(want)
				}
				done := make(chan struct{})
				req.Done = doneFunc(func() { close(done) })
				r, err := host.Do(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				if got := readAll(t, r); !bytes.Equal(got, want) {
					t.Errorf("got %d bytes, want %d; or their content differs", len(got), len(want))
				}
				if r.Header.Get("A") != "1" {
					t.Errorf("header = %q", r.Header)
				}
				<-done
			})
		}
	}
}

func TestManyExchangesInterleave(t *testing.T) {
	host, _ := pair(t, echo)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 200 {
				want := strings.Repeat(fmt.Sprintf("%d/%d ", i, j), 1+j*j%5000)
				r, err := host.Do(t.Context(), &Request{Kind: Invoke, Payload: []byte(want)})
				if err != nil {
					t.Error(err)
					return
				}
				if got := string(readAll(t, r)); got != want {
					t.Errorf("exchange %d/%d got another's body", i, j)
				}
			}
		})
	}
	wg.Wait()
	// The last ones end a moment after their bodies are read.
	for deadline := time.Now().Add(10 * time.Second); openExchanges(host) != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d exchanges left open", openExchanges(host))
		}
	}
}

func openExchanges(s *Session) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

func TestBothSidesOpenExchanges(t *testing.T) {
	a, b := socketpair(t)
	host := NewSession(a, Config{Host: true, Serve: func(ctx context.Context, x *Exchange) {
		x.Respond(nil, append([]byte("host: "), x.Payload()...), false)
	}})
	var worker *Session
	worker = NewSession(b, Config{Serve: func(ctx context.Context, x *Exchange) {
		r, err := worker.Do(ctx, &Request{Kind: Call, Payload: x.Payload()})
		if err != nil {
			x.Fail(AsError(err))
			return
		}
		x.Respond(nil, r.Payload, false)
	}})
	worker.turn.cool = 0
	var wg sync.WaitGroup
	wg.Go(func() { host.Run() })
	wg.Go(func() { worker.Run() })
	r, err := host.Do(t.Context(), &Request{Kind: Invoke, Payload: []byte("hello")})
	if err != nil || string(r.Payload) != "host: hello" {
		t.Errorf("got %v, %v", r, err)
	}
	host.Close()
	wg.Wait()
}

func TestErrorsKeepTheirCode(t *testing.T) {
	host, _ := pair(t, func(_ context.Context, x *Exchange) {
		switch string(x.Payload()) {
		case "fail":
			x.Fail(&Error{Code: Conflict, Message: "taken", Stack: "main.go:1"})
		case "late":
			x.Respond(nil, []byte("some"), true)
			x.Write([]byte("more"))
			x.Fail(Errorf(Panicked, "oh"))
		}
	})
	_, err := host.Do(t.Context(), &Request{Kind: Invoke, Payload: []byte("fail")})
	var e *Error
	if !errors.As(err, &e) || e.Code != Conflict || e.Message != "taken" || e.Stack != "main.go:1" {
		t.Errorf("fail: got %#v", err)
	}
	r, err := host.Do(t.Context(), &Request{Kind: Invoke, Payload: []byte("late")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r.Body)
	if string(got) != "more" || !errors.Is(err, &Error{Code: Panicked}) {
		t.Errorf("late: got %q, %v", got, err)
	}
	_, err = host.Do(t.Context(), &Request{Kind: Invoke, Payload: []byte("nothing")})
	if !errors.Is(err, &Error{Code: Internal}) {
		t.Errorf("no answer: got %v", err)
	}
}

func TestRetryOfErrorsTravels(t *testing.T) {
	var sent Error
	host, _ := pair(t, func(_ context.Context, x *Exchange) { x.Fail(&sent) })
	for retry, want := range map[time.Duration]time.Duration{
		0: 0, time.Second: time.Second, 1: time.Microsecond, 1500 * time.Nanosecond: time.Microsecond,
		1000 * 24 * time.Hour: maxRetry, -1: -time.Microsecond, -time.Hour: -time.Microsecond,
	} {
		sent = Error{Code: Conflict, Message: "taken", Retry: retry}
		_, err := host.Do(t.Context(), &Request{Kind: Invoke})
		if e := AsError(fmt.Errorf("outer: %w", err)); e.Retry != want || e.Code != Conflict || !e.Remote || e.Message != "outer: taken" {
			t.Errorf("%v arrives as %+v, want %v", retry, e, want)
		}
	}
}

func TestCancelReachesTheHandlerAndDoneWaitsForIt(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	host, _ := pair(t, func(ctx context.Context, x *Exchange) {
		close(entered)
		<-ctx.Done()
		<-left
		x.Respond(nil, []byte("too late"), false)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	errs := make(chan error, 1)
	go func() {
		_, err := host.Do(ctx, &Request{Kind: Invoke, Done: doneFunc(func() { close(done) })})
		errs <- err
	}()
	<-entered
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("Do = %v", err)
	}
	select {
	case <-done:
		t.Error("done before the handler was")
	case <-time.After(20 * time.Millisecond):
	}
	close(left)
	<-done
}

func TestDeadlineTravels(t *testing.T) {
	host, _ := pair(t, func(ctx context.Context, x *Exchange) {
		deadline, ok := ctx.Deadline()
		x.Respond(nil, fmt.Appendf(nil, "%v %v", ok, time.Until(deadline) > 30*time.Second), false)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	us, ok := TimeLeft(ctx)
	if !ok {
		t.Fatal("no time left")
	}
	r, err := host.Do(ctx, &Request{Kind: Invoke, Header: Header(nil).AddInt(KeyTimeout, us)})
	if err != nil || string(r.Payload) != "true true" {
		t.Errorf("got %s, %v", r.Payload, err)
	}
}

func TestTheDeadlineOfARequestEndsIt(t *testing.T) {
	host, _ := pair(t, func(ctx context.Context, x *Exchange) {
		if string(x.Payload()) == "stream" {
			x.Respond(nil, []byte("head"), true)
		}
		<-ctx.Done()
	})
	soon := time.Now().Add(30 * time.Millisecond)
	if _, err := host.Do(t.Context(), &Request{Kind: Invoke, Deadline: soon}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Do = %v", err)
	}
	r, err := host.Do(t.Context(), &Request{Kind: Invoke, Payload: []byte("stream"), Deadline: time.Now().Add(100 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r.Body); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("body: %v", err)
	}
}

func TestContextOfARequest(t *testing.T) {
	c := &requestContext{deadline: time.Now().Add(20 * time.Millisecond)}
	child, cancel := context.WithCancel(c)
	defer cancel()
	<-child.Done()
	if !errors.Is(child.Err(), context.DeadlineExceeded) || !errors.Is(c.Err(), context.DeadlineExceeded) {
		t.Errorf("after the deadline: %v, %v", child.Err(), c.Err())
	}
	c = &requestContext{}
	ran := make(chan struct{})
	stop := c.AfterFunc(func() { t.Error("ran although stopped") })
	if !stop() || stop() {
		t.Error("stop: want true, then false")
	}
	c.AfterFunc(func() { close(ran) })
	if c.Err() != nil {
		t.Errorf("before: %v", c.Err())
	}
	c.cancel(context.Canceled)
	<-ran
	<-c.Done()
	if c.Err() != context.Canceled {
		t.Errorf("after: %v", c.Err())
	}
}

func TestASlowReaderHoldsTheSenderAndNobodyElse(t *testing.T) {
	var sent atomic.Int64
	host, _ := pair(t, func(ctx context.Context, x *Exchange) {
		if string(x.Payload()) == "quick" {
			x.Respond(nil, nil, false)
			return
		}
		x.Respond(nil, nil, true)
		for {
			n, err := x.Write(make([]byte, 10_000))
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	slow, err := host.Do(t.Context(), &Request{Kind: Invoke})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := host.Do(t.Context(), &Request{Kind: Invoke, Payload: []byte("quick")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := sent.Load(); n > Window {
		t.Errorf("%d bytes sent to who reads nothing", n)
	}
	io.CopyN(io.Discard, slow.Body, 3*Window)
	if n := sent.Load(); n > 5*Window {
		t.Errorf("%d bytes sent to who read %d", n, 3*Window)
	}
	slow.Body.Close()
	for openExchanges(host) > 0 {
		time.Sleep(time.Millisecond)
	}
}

func TestAnEarlyAnswerStopsTheUpload(t *testing.T) {
	host, _ := pair(t, func(_ context.Context, x *Exchange) {
		x.Fail(Errorf(TooLarge, "no"))
	})
	r, w := io.Pipe()
	_, err := host.Do(t.Context(), &Request{Kind: Invoke, Body: r})
	if !errors.Is(err, &Error{Code: TooLarge}) {
		t.Errorf("got %v", err)
	}
	w.Write(make([]byte, 100))
	w.Close()
}

func TestTheEndOfASessionFailsWhatIsOpen(t *testing.T) {
	host, worker := pair(t, func(ctx context.Context, x *Exchange) {
		if string(x.Payload()) == "stream" {
			x.Respond(nil, []byte("head"), true)
		}
		<-ctx.Done()
	})
	stream, err := host.Do(t.Context(), &Request{Kind: Invoke, Payload: []byte("stream")})
	if err != nil {
		t.Fatal(err)
	}
	var done atomic.Int64
	errs := make(chan error, 1)
	go func() {
		_, err := host.Do(t.Context(), &Request{Kind: Invoke, Done: doneFunc(func() { done.Add(1) })})
		errs <- err
	}()
	for openExchanges(worker) < 2 {
		time.Sleep(time.Millisecond)
	}
	worker.Close()
	if err := <-errs; !errors.Is(err, ErrClosed) || errors.Is(err, ErrNotSent) {
		t.Errorf("waiting: %v", err)
	}
	if _, err := io.ReadAll(stream.Body); !errors.Is(err, ErrClosed) {
		t.Errorf("reading: %v", err)
	}
	<-host.Done()
	for done.Load() != 1 {
		time.Sleep(time.Millisecond)
	}
	if _, err := host.Do(t.Context(), &Request{Kind: Invoke}); !errors.Is(err, ErrNotSent) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestABreachOfTheProtocolEndsTheSession(t *testing.T) {
	frame := func(f Frame) []byte {
		b, err := AppendFrame(nil, &f)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := []struct {
		name string
		sent []byte
	}{
		{"a length too small", []byte{0, 0, 0, 3, 1, 2, 3}},
		{"a length too large", []byte{255, 255, 255, 255}},
		{"a header longer than its frame", append([]byte{0, 0, 0, 12}, 0, 0, 0, 0, 0, 0, 0, 2, 2, 1, 0, 9)},
		{"a header field cut short", frame(Frame{ID: 2, Kind: Invoke, Flags: End, Header: Header{5, 'a'}})},
		{"a header field without a key", frame(Frame{ID: 2, Kind: Invoke, Flags: End, Header: Header{0, 0, 0}})},
		{"an id of the wrong side", frame(Frame{ID: 3, Kind: Invoke, Flags: End})},
		{"id 0", frame(Frame{ID: 0, Kind: Invoke, Flags: End})},
		{"an id opened twice", append(frame(Frame{ID: 2, Kind: Invoke}), frame(Frame{ID: 2, Kind: Invoke})...)},
		{"credit of a wrong size", append(frame(Frame{ID: 2, Kind: Invoke, Flags: End}), frame(Frame{ID: 2, Kind: Credit, Payload: []byte{1}})...)},
		{"chunks beyond the credit", append(frame(Frame{ID: 2, Kind: Invoke}),
			bytes.Repeat(frame(Frame{ID: 2, Kind: Chunk, Payload: make([]byte, MaxPayload)}), 5)...)},
		{"an answer to what was not asked", append(frame(Frame{ID: 2, Kind: Invoke}), frame(Frame{ID: 2, Kind: Result})...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, b := net.Pipe()
			s := NewSession(b, Config{Serve: func(ctx context.Context, x *Exchange) {
				<-ctx.Done()
			}})
			go func() {
				a.Write(test.sent)
				io.Copy(io.Discard, a)
			}()
			if err := s.Run(); !errors.Is(err, ErrFrame) {
				t.Errorf("Run = %v, want ErrFrame", err)
			}
			a.Close()
		})
	}
}

func TestAnEndInsideAFrameIsNotAnEnd(t *testing.T) {
	var f Frame
	for _, n := range []int{1, 3, 4, 10} {
		err := NewReader(bytes.NewReader([]byte{0, 0, 0, 12, 0, 0, 0, 0, 0, 0}[:n])).Next(&f)
		if err != io.ErrUnexpectedEOF {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if err := NewReader(bytes.NewReader(nil)).Next(&f); err != io.EOF {
		t.Errorf("nothing: %v", err)
	}
}

func TestAStoppedPeerHoldsNoCallerBeyondItsContext(t *testing.T) {
	a, b := socketpair(t)
	defer b.Close() // nobody reads it
	host := NewSession(a, Config{Host: true})
	go host.Run()
	defer host.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := host.Do(ctx, &Request{Kind: Invoke, Payload: make([]byte, MaxPayload)})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
}

func FuzzFrames(f *testing.F) {
	valid, _ := AppendFrame(nil, &Frame{ID: 2, Kind: Invoke, Flags: End, Header: Header(nil).Add(":endpoint", "x"), Payload: []byte("hi")})
	f.Add(valid)
	f.Add(append(valid, valid...))
	f.Add([]byte{0, 0, 0, 12})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data))
		for {
			var f Frame
			if err := r.Next(&f); err != nil {
				return
			}
			for k := range f.Header.All() {
				if k == "" {
					t.Fatal("empty key")
				}
			}
			b, err := AppendFrame(nil, &f)
			if err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
			var again Frame
			if err := NewReader(bytes.NewReader(b)).Next(&again); err != nil || again.ID != f.ID ||
				!bytes.Equal(again.Header, f.Header) || !bytes.Equal(again.Payload, f.Payload) {
				t.Fatalf("round trip: %+v became %+v, %v", f, again, err)
			}
		}
	})
}

// FuzzSession feeds a session whatever comes, and expects it to end without a panic.
func FuzzSession(f *testing.F) {
	invoke, _ := AppendFrame(nil, &Frame{ID: 2, Kind: Invoke, Header: Header(nil).Add(KeyTimeout, "1000")})
	chunk, _ := AppendFrame(nil, &Frame{ID: 2, Kind: Chunk, Flags: End, Payload: []byte("x")})
	cancel, _ := AppendFrame(nil, &Frame{ID: 2, Kind: Cancel})
	f.Add(append(append(invoke, chunk...), cancel...))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := net.Pipe()
		s := NewSession(b, Config{Serve: echo})
		go io.Copy(io.Discard, a)
		go func() {
			a.Write(data)
			a.Close()
		}()
		s.Run()
	})
}

func BenchmarkEcho(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			host, _ := pair(b, echo)
			payload := make([]byte, 100)
			b.ReportAllocs()
			var wg sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := host.Do(context.Background(), &Request{Kind: Invoke, Payload: payload}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// An exchange that lingers must not slow down the others: nobody waits for its frames.
func TestWhatLingersIsNotOfTheCrowd(t *testing.T) {
	serving, end := make(chan bool), make(chan bool)
	host, worker := pair(t, func(_ context.Context, x *Exchange) {
		x.Linger()
		x.Linger()
		x.Respond(nil, []byte("first"), true)
		serving <- true
		<-end
	})
	r, err := host.Do(t.Context(), &Request{Kind: Invoke, Lingers: true})
	if err != nil {
		t.Fatal(err)
	}
	<-serving
	if a, b := host.out.crowd.Load(), worker.out.crowd.Load(); a != 0 || b != 0 {
		t.Errorf("a crowd of %d and %d while it lingers", a, b)
	}
	close(end)
	if got := string(readAll(t, r)); got != "first" {
		t.Errorf("it has answered %q", got)
	}
	if n := host.out.crowd.Load(); n != 0 {
		t.Errorf("a crowd of %d after it", n)
	}
}
