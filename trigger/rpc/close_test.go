package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/trigger"
)

func TestCloseWaitsForWhatRuns(t *testing.T) {
	f := start(t, "f")
	entered, gate := make(chan bool, 10), make(chan bool)
	f.set(func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
		entered <- true
		<-gate
		return &trigger.Result{Payload: []byte("done")}, nil
	})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			m, err := f.client.Request("fn.f", nil, 20*time.Second)
			if err != nil || string(m.Data) != "done" {
				t.Errorf("a request under way at Close: %v", err)
			}
		})
	}
	for range 10 {
		<-entered
	}
	closed := make(chan bool)
	go func() {
		f.close()
		close(closed)
	}()
	for { // Close has begun once nobody takes requests any more
		if _, err := f.client.Request("fn.f.late", nil, time.Second); errors.Is(err, nats.ErrNoResponders) {
			break
		} else if errors.Is(err, nats.ErrTimeout) {
			<-entered
		}
	}
	select {
	case <-closed:
		t.Error("Close did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	close(gate)
	<-closed
	wg.Wait()
}

// hammer asks until stop; it returns how many were answered, by whom, and fails
// for one that is lost. No responders is an answer: the caller can go elsewhere.
func hammer(t *testing.T, f *fixture, stop <-chan bool) (answered int64) {
	t.Helper()
	var n atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		client := connect(t, f.bus)
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				_, err := client.Request("fn.f", fmt.Append(nil, i), 5*time.Second)
				switch {
				case err == nil:
					n.Add(1)
				case !errors.Is(err, nats.ErrNoResponders):
					t.Errorf("lost: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	return n.Load()
}

func TestCloseLosesNoRequest(t *testing.T) {
	for range 5 {
		f := start(t, "f")
		stop := make(chan bool)
		go func() {
			time.Sleep(50 * time.Millisecond)
			f.close()
			close(stop)
		}()
		if n := hammer(t, f, stop); n == 0 {
			t.Error("no request was answered")
		}
	}
}

func TestUpdateLosesNoRequest(t *testing.T) {
	f := start(t, "f")
	stop := make(chan bool)
	go func() {
		for i := range 100 {
			if i%2 == 0 {
				f.trigger.Update(table())
			} else {
				f.trigger.Update(table("f"))
			}
			time.Sleep(time.Millisecond)
		}
		close(stop)
	}()
	if n := hammer(t, f, stop); n == 0 {
		t.Error("no request was answered")
	}
}

func TestTwoNodesShareTheRequests(t *testing.T) {
	f := start(t, "f")
	second := &fixture{fake: &fake{}, bus: f.bus, client: f.client}
	conn := connect(t, f.bus)
	second.trigger = second.open(t, conn)
	defer second.trigger.Close()
	second.trigger.Update(table("f"))
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	var ran [2]atomic.Int64
	for i, one := range []*fixture{f, second} {
		one.set(func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
			ran[i].Add(1)
			return &trigger.Result{}, nil
		})
	}
	for range 200 {
		f.ask(t, "fn.f", "")
	}
	a, b := ran[0].Load(), ran[1].Load()
	if a+b != 200 || a == 0 || b == 0 {
		t.Errorf("%d and %d of 200 requests ran", a, b)
	}
	f.close()
	for range 20 {
		f.ask(t, "fn.f", "")
	}
	if got := ran[1].Load(); got != b+20 {
		t.Errorf("the node that stays ran %d of 20", got-b)
	}
}

func TestCloseAfterTheConnection(t *testing.T) {
	f := start(t, "f")
	conn := connect(t, f.bus)
	tr := f.open(t, conn)
	tr.Update(table("f"))
	conn.Close()
	begin := time.Now()
	tr.Close()
	if took := time.Since(begin); took > time.Second {
		t.Errorf("Close took %v", took)
	}
	if _, err := New(Config{Conn: conn, Invoker: f.fake}); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("New on a closed connection: %v", err)
	}
}
