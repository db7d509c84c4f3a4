package worker

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestRenewReplacesWorkersAndLosesNothing(t *testing.T) {
	f := &factory{takes: 10 * time.Millisecond}
	inBubble(t, limits, f, func(t *testing.T, p *Pool) {
		p.Renew() // nobody is there
		var long []<-chan error
		for range 4 {
			long = append(long, invoke(p, t.Context(), "1s"))
		}
		time.Sleep(100 * time.Millisecond)
		var short sync.WaitGroup
		for range 3 {
			short.Go(func() {
				for range 20 {
					if err := <-invoke(p, t.Context(), "10ms"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		p.Renew()
		p.Renew()
		short.Wait()
		for _, done := range long {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if !f.procs[0].stopped || !f.procs[1].stopped {
			t.Error("the old ones go on")
		}
		if err := <-invoke(p, t.Context(), "10ms"); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.Workers == 0 || s.Workers > limits.Max || s.Crashed > 0 {
			t.Errorf("then: %+v", s)
		}
	})
}

func TestOldWorkersGoOnIfNoNewOneStarts(t *testing.T) {
	f := &factory{}
	inBubble(t, limits, f, func(t *testing.T, p *Pool) {
		if err := <-invoke(p, t.Context(), "1ms"); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		f.fails = 2
		f.mu.Unlock()
		p.Renew()
		synctest.Wait()
		if f.procs[0].stopped {
			t.Error("the old one has ended")
		}
		if err := <-invoke(p, t.Context(), "1ms"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(f.procs) != 2 || !f.procs[0].stopped {
			t.Errorf("%d workers were started in the end, and the old one has stopped: %v", len(f.procs), f.procs[0].stopped)
		}
	})
}

// A worker that was being started has what was there before.
func TestRenewWhileAWorkerStarts(t *testing.T) {
	f := &factory{takes: time.Second}
	inBubble(t, limits, f, func(t *testing.T, p *Pool) {
		first := invoke(p, t.Context(), "1ms")
		time.Sleep(500 * time.Millisecond)
		p.Renew()
		if err := <-first; err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if f.count() != 2 || !f.procs[0].stopped || f.procs[1].stopped {
			t.Errorf("%d workers, of which the first has stopped: %v", f.count(), f.procs[0].stopped)
		}
	})
}
