package host_test

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
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
