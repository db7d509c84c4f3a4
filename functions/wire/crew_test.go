package wire

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
)

func TestAHandlerMayEndItsGoroutine(t *testing.T) {
	host, _ := pair(t, func(_ context.Context, x *Exchange) {
		if string(x.Payload()) == "exit" {
			runtime.Goexit()
		}
		x.Respond(nil, x.Payload(), false)
	})
	for i := range 3 * maxIdle {
		want := fmt.Sprint(i)
		if i%2 == 0 {
			host.Do(t.Context(), &Request{Kind: Invoke, Payload: []byte("exit")})
		}
		r, err := host.Do(t.Context(), &Request{Kind: Invoke, Payload: []byte(want)})
		if err != nil || string(r.Payload) != want {
			t.Fatalf("got %v, %v, want %q", r, err, want)
		}
	}
}

func TestFewGoroutinesWaitForRequests(t *testing.T) {
	all := make(chan struct{})
	host, worker := pair(t, func(_ context.Context, x *Exchange) {
		<-all
		x.Respond(nil, nil, false)
	})
	var wg sync.WaitGroup
	for range 3 * maxIdle {
		wg.Go(func() { host.Do(t.Context(), &Request{Kind: Invoke}) })
	}
	for openExchanges(worker) < 3*maxIdle {
		runtime.Gosched()
	}
	close(all)
	wg.Wait()
	for openExchanges(worker) > 0 {
		runtime.Gosched()
	}
	if n := worker.crew.idle.Load(); n > maxIdle {
		t.Errorf("%d goroutines wait", n)
	}
}
