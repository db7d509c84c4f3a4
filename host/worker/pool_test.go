package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/functions/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a process that takes as long as an invocation's payload says.
type fake struct {
	id      int
	mu      sync.Mutex
	running int
	most    int
	exited  chan struct{}
	once    sync.Once
	stopped bool
}

func (p *fake) Do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	d, err := time.ParseDuration(string(req.Payload))
	if err != nil {
		panic(err)
	}
	select {
	case <-p.exited:
		return nil, fmt.Errorf("%w: %w", wire.ErrNotSent, wire.ErrClosed)
	default:
	}
	p.mu.Lock()
	p.running++
	p.most = max(p.most, p.running)
	p.mu.Unlock()
	leave := func() {
		p.mu.Lock()
		p.running--
		p.mu.Unlock()
		req.Done.ExchangeDone()
	}
	select {
	case <-time.After(d):
		leave()
		return &wire.Response{Payload: fmt.Append(nil, p.id)}, nil
	case <-p.exited:
		leave()
		return nil, wire.ErrClosed
	case <-ctx.Done():
		go func() { // goes on, whatever its context says
			select {
			case <-time.After(d):
			case <-p.exited:
			}
			leave()
		}()
		return nil, ctx.Err()
	}
}

func (p *fake) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running > 0
}

func (p *fake) Exited() <-chan struct{} { return p.exited }
func (p *fake) ExitReason() string      { return "exit status 1" }
func (p *fake) crash()                  { p.once.Do(func() { close(p.exited) }) }

func (p *fake) Stop() {
	p.stopped = true
	p.crash()
}

// factory starts fakes.
type factory struct {
	mu     sync.Mutex
	takes  time.Duration
	fails  int // so many starts fail first
	procs  []*fake
	starts []time.Time
}

func (f *factory) start(ctx context.Context) (process, error) {
	f.mu.Lock()
	f.starts = append(f.starts, time.Now())
	fail := f.fails > 0
	if fail {
		f.fails--
	}
	f.mu.Unlock()
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if fail {
		return nil, errors.New("no luck")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := &fake{id: len(f.procs), exited: make(chan struct{})}
	f.procs = append(f.procs, p)
	return p, nil
}

func (f *factory) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.procs)
}

var limits = Limits{Max: 2, Concurrency: 2, Queue: 3, Idle: time.Minute, Grace: 5 * time.Second}

// inBubble runs a test with a pool, in fake time.
func inBubble(t *testing.T, l Limits, f *factory, test func(t *testing.T, p *Pool)) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(l, f.start, nil)
		test(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p.Drain(ctx)
		if s := p.Stats(); s.Workers != 0 || s.Running != 0 || s.Waiting != 0 {
			t.Errorf("after the drain: %+v", s)
		}
	})
}

// invoke runs an invocation of d in the background.
func invoke(p *Pool, ctx context.Context, d string) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := p.Do(ctx, &wire.Request{Payload: []byte(d)})
		done <- err
	}()
	return done
}

func TestWorkersAreStartedAsTheyAreNeeded(t *testing.T) {
	f := &factory{takes: 10 * time.Millisecond}
	inBubble(t, limits, f, func(t *testing.T, p *Pool) {
		if f.count() != 0 {
			t.Error("a worker runs before the first invocation")
		}
		var all []<-chan error
		for range 7 { // 2 workers of 2, and 3 that wait
			all = append(all, invoke(p, t.Context(), "1s"))
		}
		time.Sleep(100 * time.Millisecond)
		if s := p.Stats(); s.Workers != 2 || s.Running != 4 || s.Waiting != 3 {
			t.Errorf("full: %+v", s)
		}
		if err := <-invoke(p, t.Context(), "1s"); !errors.Is(err, &wire.Error{Code: wire.Overloaded}) {
			t.Errorf("one too many: %v", err)
		}
		for _, done := range all {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		for _, proc := range f.procs {
			if proc.most > 2 {
				t.Errorf("worker %d had %d at once", proc.id, proc.most)
			}
		}
	})
}

func TestTheLeastBusyWorkerIsChosen(t *testing.T) {
	f := &factory{}
	l := limits
	l.Concurrency = 1
	inBubble(t, l, f, func(t *testing.T, p *Pool) {
		a, b := invoke(p, t.Context(), "1s"), invoke(p, t.Context(), "3s")
		synctest.Wait()
		p.mu.Lock()
		p.limits.Concurrency = 10
		p.mu.Unlock()
		<-a
		r, err := p.Do(t.Context(), &wire.Request{Payload: []byte("1ms")})
		if err != nil {
			t.Fatal(err)
		}
		idle := f.procs[0]
		if idle.busy() {
			idle = f.procs[1]
		}
		if string(r.Payload) != fmt.Sprint(idle.id) {
			t.Errorf("worker %s was chosen, want %d, which is idle", r.Payload, idle.id)
		}
		<-b
	})
}

func TestIdleWorkersAreStoppedDownToTheMinimum(t *testing.T) {
	for _, least := range []int{0, 1} {
		t.Run(fmt.Sprint("min ", least), func(t *testing.T) {
			f := &factory{}
			l := limits
			l.Min = least
			inBubble(t, l, f, func(t *testing.T, p *Pool) {
				var all []<-chan error
				for range 4 {
					all = append(all, invoke(p, t.Context(), "1s"))
				}
				for _, done := range all {
					<-done
				}
				time.Sleep(59 * time.Second)
				if s := p.Stats(); s.Workers != 2 {
					t.Errorf("after 59s: %d workers, want 2", s.Workers)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if s := p.Stats(); s.Workers != least || s.Crashed != 0 {
					t.Errorf("after 61s: %+v, want %d workers and no crash", s, least)
				}
				if err := <-invoke(p, t.Context(), "1s"); err != nil {
					t.Errorf("from zero again: %v", err)
				}
			})
		})
	}
}

func TestCrashesAreAnsweredWithGrowingPauses(t *testing.T) {
	f := &factory{}
	inBubble(t, limits, f, func(t *testing.T, p *Pool) {
		var pauses []time.Duration
		for i := range 6 {
			done := invoke(p, t.Context(), "1h")
			for f.count() <= i || p.Stats().Running == 0 {
				time.Sleep(time.Millisecond)
			}
			crashed := time.Now()
			f.procs[i].crash()
			if err := <-done; !errors.Is(err, &wire.Error{Code: wire.Crashed}) {
				t.Errorf("crash %d: %v", i, err)
			}
			next := invoke(p, t.Context(), "1ms")
			if err := <-next; err != nil {
				t.Errorf("after crash %d: %v", i, err)
			}
			pauses = append(pauses, f.starts[i+1].Sub(crashed))
		}
		if pauses[0] > 10*time.Millisecond {
			t.Errorf("the first restart waits %v", pauses[0])
		}
		for i := 2; i < len(pauses); i++ {
			if pauses[i] < pauses[i-1] {
				t.Errorf("pauses do not grow: %v", pauses)
			}
		}
		if s := p.Stats(); s.Crashed != 6 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestAWorkerThatDoesNotStartFailsThoseWhoWait(t *testing.T) {
	f := &factory{fails: 1, takes: time.Millisecond}
	inBubble(t, limits, f, func(t *testing.T, p *Pool) {
		err := <-invoke(p, t.Context(), "1ms")
		if !errors.Is(err, &wire.Error{Code: wire.Unavailable}) {
			t.Errorf("first: %v", err)
		}
		if err := <-invoke(p, t.Context(), "1ms"); err != nil {
			t.Errorf("next: %v", err)
		}
	})
}

func TestWarmReportsWhyAVersionDoesNotStart(t *testing.T) {
	f := &factory{fails: 1}
	inBubble(t, limits, f, func(t *testing.T, p *Pool) {
		if err := p.Warm(t.Context()); err == nil {
			t.Error("Warm succeeded")
		}
	})
}

func TestAWorkerThatIgnoresDeadlinesIsReplaced(t *testing.T) {
	f := &factory{}
	inBubble(t, limits, f, func(t *testing.T, p *Pool) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		neighbour := invoke(p, t.Context(), "8s")
		if err := <-invoke(p, ctx, "1h"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stuck: %v", err)
		}
		time.Sleep(4 * time.Second)
		if s := p.Stats(); s.Recycled != 0 {
			t.Errorf("within the grace period: %+v", s)
		}
		time.Sleep(1500 * time.Millisecond)
		if s := p.Stats(); s.Recycled != 1 || f.procs[0].stopped {
			t.Errorf("after it: %+v, stopped %v: its neighbour still runs", s, f.procs[0].stopped)
		}
		if err := <-invoke(p, t.Context(), "1ms"); err != nil || f.count() != 2 {
			t.Errorf("another worker serves: %v, %d workers", err, f.count())
		}
		if err := <-neighbour; err != nil {
			t.Errorf("neighbour: %v", err)
		}
		synctest.Wait()
		if !f.procs[0].stopped {
			t.Error("the stuck worker was not stopped when its neighbour had ended")
		}
		if s := p.Stats(); s.Crashed != 0 {
			t.Errorf("a recycled worker counts as crashed: %+v", s)
		}
	})
}

func TestDrainEndsWhatRunsAndSendsTheRestAway(t *testing.T) {
	f := &factory{}
	inBubble(t, limits, f, func(t *testing.T, p *Pool) {
		var running, waiting []<-chan error
		for range 4 {
			running = append(running, invoke(p, t.Context(), "2s"))
		}
		time.Sleep(time.Millisecond)
		for range 2 {
			waiting = append(waiting, invoke(p, t.Context(), "1s"))
		}
		synctest.Wait()
		start := time.Now()
		p.Drain(t.Context())
		if took := time.Since(start); took < 1900*time.Millisecond || took > 2100*time.Millisecond {
			t.Errorf("drained in %v, want about 2s", took)
		}
		for _, done := range running {
			if err := <-done; err != nil {
				t.Errorf("running: %v", err)
			}
		}
		for _, done := range waiting {
			if err := <-done; !errors.Is(err, ErrDraining) {
				t.Errorf("waiting: %v", err)
			}
		}
		if err := <-invoke(p, t.Context(), "1s"); !errors.Is(err, ErrDraining) {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestDrainWaitsNoLongerThanItsContext(t *testing.T) {
	f := &factory{}
	inBubble(t, limits, f, func(t *testing.T, p *Pool) {
		done := invoke(p, t.Context(), "1h")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		p.Drain(ctx)
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("drained in %v", took)
		}
		if err := <-done; err == nil {
			t.Error("the invocation succeeded")
		}
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	f := &factory{takes: time.Hour}
	inBubble(t, limits, f, func(t *testing.T, p *Pool) {
		start := time.Now()
		_, err := p.Do(t.Context(), &wire.Request{Payload: []byte("1s"), Deadline: time.Now().Add(time.Second)})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if s := p.Stats(); s.Waiting != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A hammer: whatever happens, every invocation gets an answer and every place is
// given back.
func TestHammer(t *testing.T) {
	f := &factory{}
	l := limits
	l.Queue = 1000
	p := newPool(l, f.start, nil)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+(i+j)%7)*time.Millisecond)
				p.Do(ctx, &wire.Request{Payload: fmt.Appendf(nil, "%dus", (i*j)%3000)})
				cancel()
				if i == 0 && j%10 == 0 {
					f.mu.Lock()
					if n := len(f.procs); n > 0 {
						f.procs[n-1].crash()
					}
					f.mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for p.Stats().Running > 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if s := p.Stats(); s.Running != 0 || s.Waiting != 0 {
		t.Errorf("left over: %+v", s)
	}
	p.Drain(t.Context())
}

func TestCrashesAmongManyAnswersAreNoSeries(t *testing.T) {
	f := &factory{}
	inBubble(t, limits, f, func(t *testing.T, p *Pool) {
		for i := range 8 {
			for range steadyAnswer {
				if err := <-invoke(p, t.Context(), "1ms"); err != nil {
					t.Fatal(err)
				}
			}
			done := invoke(p, t.Context(), "1h")
			for p.Stats().Running == 0 {
				time.Sleep(time.Millisecond)
			}
			crashed := time.Now()
			f.procs[i].crash()
			<-done
			if err := <-invoke(p, t.Context(), "1ms"); err != nil {
				t.Errorf("after crash %d: %v", i, err)
			}
			if pause := f.starts[i+1].Sub(crashed); pause > 10*time.Millisecond {
				t.Errorf("restart %d waits %v", i, pause)
			}
		}
	})
}
