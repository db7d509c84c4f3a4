package functions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// teller is a host that tells what a test says.
type teller struct {
	fakeHost
	asked chan *io.PipeWriter // one for each asking
}

func newTeller() *teller {
	h := &teller{asked: make(chan *io.PipeWriter, 10)}
	h.do = func(ctx context.Context, req *wire.Request) (*wire.Response, error) {
		if op := req.Header.Get(wire.KeyOp); op != "follow" || !req.Lingers {
			return nil, Errorf(BadRequest, "op %q", op)
		}
		r, w := io.Pipe()
		context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
		h.asked <- w
		return &wire.Response{Body: r}, nil
	}
	return h
}

func (h *teller) Feed() *Feed { return &h.feed }

func configMessage(revision int, data string) []byte {
	return wire.AppendMessage(nil, wire.Header(nil).Add(wire.KeyOp, "config").AddInt(wire.KeyRevision, int64(revision)), []byte(data))
}

func readyMessage() []byte {
	return wire.AppendMessage(nil, wire.Header(nil).Add(wire.KeyOp, "ready"), nil)
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within half a minute: %s", what)
		}
	}
}

func TestConfigIsFollowed(t *testing.T) {
	h := newTeller()
	t.Cleanup(func() { h.feed.Close(context.Background()) })
	ctx := NewContext(t.Context(), "f", nil, h)
	go func() {
		w := <-h.asked
		w.Write(configMessage(1, `{"n":1}`))
		w.Write(wire.AppendMessage(nil, wire.Header(nil).Add(wire.KeyOp, "of tomorrow"), []byte("x")))
		w.Write(readyMessage())
		w.Write(configMessage(2, `{"n":2}`))
		h.asked <- w
	}()
	var wg sync.WaitGroup
	for range 10 { // who ask at the same time ask the host once
		wg.Go(func() {
			if c, err := Config(ctx); err != nil || c.Int("n", 0) == 0 || c.Function() != "f" {
				t.Errorf("%v, %v", c, err)
			}
		})
	}
	wg.Wait()
	eventually(t, "the change is seen", func() bool {
		c, err := Config(ctx)
		return err == nil && c.Revision() == 2 && c.Int("n", 0) == 2
	})
	if _, err := Config(t.Context()); !errors.Is(err, ErrNoHost) {
		t.Errorf("outside of an invocation: %v", err)
	}
}

func TestConfigIsAskedForAnewWhenTheStreamBreaks(t *testing.T) {
	h := newTeller()
	t.Cleanup(func() { h.feed.Close(context.Background()) })
	ctx := NewContext(t.Context(), "f", nil, h)
	serve := func(n int) *io.PipeWriter {
		w := <-h.asked
		w.Write(append(configMessage(n, fmt.Sprintf(`{"n":%d}`, n)), readyMessage()...))
		return w
	}
	first := make(chan *io.PipeWriter, 1)
	go func() { first <- serve(1) }()
	if c, err := Config(ctx); err != nil || c.Int("n", 0) != 1 {
		t.Fatalf("%v, %v", c, err)
	}
	(<-first).CloseWithError(wire.ErrClosed)
	eventually(t, "what was told is not current any more", func() bool { return h.feed.current.Load() == nil })
	go serve(2)
	if c, err := Config(ctx); err != nil || c.Int("n", 0) != 2 {
		t.Fatalf("%v, %v", c, err)
	}
}

func TestConfigWaitsAsLongAsItsContext(t *testing.T) {
	h := newTeller()
	t.Cleanup(func() { h.feed.Close(context.Background()) })
	ctx, cancel := context.WithTimeout(NewContext(t.Context(), "f", nil, h), 10*time.Millisecond)
	defer cancel()
	if _, err := Config(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	h.feed.Close(context.Background())
	if _, err := Config(NewContext(t.Context(), "f", nil, h)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after the end: %v", err)
	}
	other := &fakeHost{do: func(context.Context, *wire.Request) (*wire.Response, error) { return nil, Errorf(Unprocessed, "no") }}
	t.Cleanup(func() { other.feed.Close(context.Background()) })
	if _, err := Config(NewContext(t.Context(), "f", nil, other)); !errors.Is(err, &Error{Code: Unprocessed}) {
		t.Errorf("what the host says: %v", err)
	}
}

func withHandlers(t *testing.T, handlers ...func(old, new *Settings)) {
	t.Cleanup(func() { onConfig.handlers = nil })
	for _, fn := range handlers {
		OnConfig(fn)
	}
}

func TestHandlersOfOnConfig(t *testing.T) {
	var mu sync.Mutex
	var told []string
	running := 0
	handler := func(name string) func(old, new *Settings) {
		return func(old, new *Settings) {
			mu.Lock()
			running++
			if running > 1 {
				t.Error("two handlers at once")
			}
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			running--
			told = append(told, fmt.Sprintf("%s %d %d", name, old.Int("n", 0), new.Int("n", 0)))
		}
	}
	withHandlers(t, handler("a"), func(_, _ *Settings) { panic("no") }, handler("b"))
	h := newTeller()
	for i, n := range []int{1, 2, 2, 3} {
		if err := h.feed.Set("f", uint64(i), fmt.Appendf(nil, `{"n":%d}`, n), h); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := strings.Join(told, ", "), "a 0 1, b 0 1, a 1 2, b 1 2, a 2 3, b 2 3"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	if len(h.logs) != 3 || !strings.HasPrefix(h.logs[0], " "+slog.LevelError.String()+" a handler of OnConfig panicked: no {\"stack\":") {
		t.Errorf("logs %.200q", h.logs)
	}
}

// A handler that takes its time delays no invocation, and sees the last of what came meanwhile.
func TestASlowHandlerHoldsNothingUp(t *testing.T) {
	seen, goOn := make(chan int), make(chan bool)
	withHandlers(t, func(_, c *Settings) {
		seen <- c.Int("n", 0)
		<-goOn
	})
	h := newTeller()
	ctx := NewContext(t.Context(), "f", nil, h)
	h.feed.follow("f", h)
	w := <-h.asked
	w.Write(append(configMessage(1, `{"n":1}`), readyMessage()...))
	first := <-seen
	for n := 2; n < 10; n++ {
		w.Write(configMessage(n, fmt.Sprintf(`{"n":%d}`, n)))
	}
	eventually(t, "the last change is current", func() bool {
		c, err := Config(ctx)
		return err == nil && c.Int("n", 0) == 9
	})
	goOn <- true
	if last := <-seen; first != 1 || last != 9 {
		t.Errorf("told of %d and %d, want 1 and 9", first, last)
	}
	goOn <- true
	h.feed.Close(context.Background())
}

// With handlers, nobody has to ask for the following to begin anew.
func TestHandlersAreFollowedFor(t *testing.T) {
	seen := make(chan int, 10)
	withHandlers(t, func(_, c *Settings) { seen <- c.Int("n", 0) })
	h := newTeller()
	t.Cleanup(func() { h.feed.Close(context.Background()) })
	h.feed.follow("f", h)
	for n := range 2 {
		w := <-h.asked
		w.Write(append(configMessage(n+1, fmt.Sprintf(`{"n":%d}`, n+1)), readyMessage()...))
		if got := <-seen; got != n+1 {
			t.Errorf("told of %d, want %d", got, n+1)
		}
		w.Close()
	}
}

func BenchmarkConfig(b *testing.B) {
	h := &fakeHost{}
	if err := h.feed.Set("f", 1, []byte(`{"limits":{"rate":10}}`), h); err != nil {
		b.Fatal(err)
	}
	ctx := NewContext(b.Context(), "f", nil, h)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			c, err := Config(ctx)
			if err != nil || c.Int("limits.rate", 0) != 10 {
				b.Error(c, err)
			}
		}
	})
}
