package wire

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestAHandlerThatTakesLongHoldsNobodyUp(t *testing.T) {
	quickDone := make(chan struct{})
	host, worker := pair(t, func(_ context.Context, x *Exchange) {
		if string(x.Payload()) == "slow" {
			<-quickDone
		}
		x.Respond(nil, nil, false)
	})
	var wg sync.WaitGroup
	wg.Go(func() { host.Do(t.Context(), &Request{Kind: Invoke, Payload: []byte("slow")}) })
	for openExchanges(worker) == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := host.Do(t.Context(), &Request{Kind: Invoke, Deadline: time.Now().Add(10 * time.Second)}); err != nil {
		t.Errorf("beside a handler that waits: %v", err)
	}
	close(quickDone)
	wg.Wait()
	worker.turn.mu.Lock()
	defer worker.turn.mu.Unlock()
	if worker.turn.cool == 0 {
		t.Error("the next handler may hold up the reader, too")
	}
}

func TestAHandlerThatTakesLongIsTold(t *testing.T) {
	host, _ := pair(t, func(ctx context.Context, x *Exchange) { <-ctx.Done() })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	done := make(chan struct{})
	_, err := host.Do(ctx, &Request{Kind: Invoke, Done: doneFunc(func() { close(done) })})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-done
}

func TestTheEndOfASessionReachesAHandlerOfItsReader(t *testing.T) {
	entered := make(chan struct{})
	host, worker := pair(t, func(ctx context.Context, x *Exchange) {
		close(entered)
		<-ctx.Done()
	})
	go host.Do(t.Context(), &Request{Kind: Invoke})
	<-entered
	host.Close()
	<-worker.Done()
}

func TestQuickHandlersAreServedByWhoReads(t *testing.T) {
	host, worker := pair(t, echo)
	for range 1000 {
		if _, err := host.Do(t.Context(), &Request{Kind: Invoke}); err != nil {
			t.Fatal(err)
		}
	}
	worker.turn.mu.Lock()
	defer worker.turn.mu.Unlock()
	if worker.turn.lent == 0 {
		t.Error("none was")
	}
}
