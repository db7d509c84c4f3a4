package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/logs"
)

// A change until all that follow have it: 100 functions of this process, of which each
// is followed like a worker, but for the socket.
func BenchmarkConfigChange(b *testing.B) {
	const workers = 100
	h, err := host.New(host.Config{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	var wanted, have atomic.Int64
	all := make(chan bool, 1)
	functions.OnConfig(func(_, c *functions.Settings) {
		if int64(c.Int("n", -1)) == wanted.Load() && have.Add(1) == workers {
			all <- true
		}
	})
	change := func(n int) {
		have.Store(0)
		wanted.Store(int64(n))
		if _, err := h.SetConfig(b.Context(), host.ConfigLayer{}, "", "n", n); err != nil {
			b.Fatal(err)
		}
	}
	change(1)
	for i := range workers {
		name := fmt.Sprint("follower-", i)
		if err := h.Handle(name, readRate); err != nil {
			b.Fatal(err)
		}
		if _, err := h.Invoke(b.Context(), name, nil); err != nil {
			b.Fatal(err)
		}
	}
	<-all
	for n := 2; b.Loop(); n++ {
		change(n)
		<-all
	}
}

const printFunction = `package print

import (
	"fmt"
	"time"

	"github.com/fnhost/fnhost/functions"
)

func init() {
	functions.OnConfig(func(_, now *functions.Settings) { fmt.Printf("n is %d\n", now.Int("n", 0)) })
}

func HandleWait() { time.Sleep(100 * time.Millisecond) }
`

// The same with 100 processes, until the host has read what they print then.
func BenchmarkConfigChangeOfProcesses(b *testing.B) {
	const workers = 100
	f := start(b, map[string]string{"print/p.go": printFunction, "print/function.yaml": fmt.Sprintf("concurrency: 1\nscale: {min: %d, max: %d}\n", workers, workers)}, nil)
	printed := make(chan string, 10*workers)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan bool)
	go func() {
		defer close(done)
		f.Logs().Read(ctx, logs.Query{Function: "print", Follow: true}, func(r logs.Record) error {
			printed <- r.Message
			return nil
		})
	}()
	defer func() {
		cancel()
		<-done
	}()
	change := func(n int) {
		f.set(ofNamespace, "n", n)
		want := fmt.Sprint("n is ", n)
		for have := 0; have < workers; {
			if <-printed == want {
				have++
			}
		}
	}
	f.awaitState("print", host.Ready)
	f.startAll("print", workers)
	change(1)
	for n := 2; b.Loop(); n++ {
		change(n)
	}
}
