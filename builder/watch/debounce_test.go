package watch

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestDebouncerTiming(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name  string
		adds  []time.Duration // since the start
		calls []time.Duration
	}{
		{"one change waits for quiet", []time.Duration{0}, []time.Duration{20 * ms}},
		{"each change starts the wait anew", []time.Duration{0, 15 * ms, 30 * ms}, []time.Duration{50 * ms}},
		{"a change after quiet is a new call", []time.Duration{0, 100 * ms}, []time.Duration{20 * ms, 120 * ms}},
		{"constant change is reported in time", every(10*ms, 500*ms), []time.Duration{250 * ms, 500 * ms, 520 * ms}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var calls []time.Duration
				d := newDebouncer(20*ms, 250*ms, func(Change) { calls = append(calls, time.Since(start)) })
				for _, at := range test.adds {
					time.Sleep(at - time.Since(start))
					synctest.Wait() // a call that is due now comes before the change
					d.add("x", false)
				}
				time.Sleep(time.Second)
				d.close()
				if !slices.Equal(calls, test.calls) {
					t.Errorf("calls at %v, want %v", calls, test.calls)
				}
			})
		})
	}
}

// every returns the multiples of step up to and with end.
func every(step, end time.Duration) (times []time.Duration) {
	for at := time.Duration(0); at <= end; at += step {
		times = append(times, at)
	}
	return times
}

func TestDebouncerCoalescesWhatComesDuringACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		var calls [][]string
		d := newDebouncer(20*time.Millisecond, 250*time.Millisecond, func(c Change) {
			most.Store(max(most.Load(), running.Add(1)))
			calls = append(calls, c.Paths)
			time.Sleep(time.Second)
			running.Add(-1)
		})
		for i := range 10 {
			d.add(fmt.Sprint(i), false)
			time.Sleep(50 * time.Millisecond)
		}
		d.fire() // as a timer that was set anew when it had just expired
		time.Sleep(5 * time.Second)
		d.close()
		want := [][]string{{"0"}, {"1", "2", "3", "4", "5", "6", "7", "8", "9"}}
		if fmt.Sprint(calls) != fmt.Sprint(want) {
			t.Errorf("calls %v, want %v", calls, want)
		}
		if most.Load() != 1 {
			t.Errorf("%d calls at once", most.Load())
		}
	})
}

func TestDebouncerPaths(t *testing.T) {
	tests := []struct {
		name       string
		count      int
		rescan     bool
		paths      int
		wantRescan bool
	}{
		{"few", 3, false, 3, false},
		{"as many as fit", MaxPaths, false, MaxPaths, false},
		{"too many", MaxPaths + 1, false, MaxPaths, true},
		{"rescan asked for", 1, true, 1, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got Change
				d := newDebouncer(time.Millisecond, time.Second, func(c Change) { got = c })
				for i := range test.count {
					d.add(fmt.Sprintf("%04d", test.count-i), test.rescan)
					d.add(fmt.Sprintf("%04d", test.count), false)
				}
				time.Sleep(time.Second)
				d.close()
				if len(got.Paths) != test.paths || got.Rescan != test.wantRescan {
					t.Errorf("got %d paths, rescan %t", len(got.Paths), got.Rescan)
				}
				if !slices.IsSorted(got.Paths) {
					t.Errorf("not sorted: %q", got.Paths)
				}
			})
		})
	}
}

func TestDebouncerCloseWaitsAndSilences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, done := 0, false
		d := newDebouncer(20*time.Millisecond, time.Second, func(Change) {
			calls++
			time.Sleep(time.Second)
			done = true
		})
		d.add("a", false)
		time.Sleep(100 * time.Millisecond)
		d.add("b", false)
		d.close()
		if !done {
			t.Error("close returned during the call")
		}
		d.add("c", false)
		time.Sleep(time.Minute)
		if calls != 1 {
			t.Errorf("%d calls, want 1", calls)
		}
	})
}
