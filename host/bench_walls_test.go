package host_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host"
)

const attackerSource = `package attacker

import (
	"os"
	"os/exec"
	"time"
)

type In struct{ How string }

// Handle does what a neighbour should not, for a second.
func Handle(in In) error {
	end := time.Now().Add(time.Second)
	switch in.How {
	case "fork":
		for time.Now().Before(end) {
			c := exec.Command("/usr/bin/sleep", "2")
			if c.Start() == nil {
				go c.Wait()
			}
		}
	case "allocate":
		var all [][]byte
		for time.Now().Before(end) {
			b := make([]byte, 16<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
	case "write":
		for i := 0; time.Now().Before(end); i++ {
			os.WriteFile("/tmp/x", make([]byte, 64<<20), 0o600)
		}
	case "dial":
		for time.Now().Before(end) {
			exec.Command("/usr/bin/true").Run()
			os.ReadFile("/etc/shadow")
		}
	case "spin":
		for time.Now().Before(end) {
		}
	}
	return nil
}
`

// BenchmarkNeighbour tells how long a function takes to answer while another one does
// what it should not: forks, allocates, writes, or only computes. Each attack is compared
// with the time without one, in turns:
//
//	go test -run - -bench Neighbour ./host
func BenchmarkNeighbour(b *testing.B) {
	f := start(b, map[string]string{
		"echo/echo.go":           echoSource,
		"attacker/attacker.go":   attackerSource,
		"attacker/function.yaml": "memory: 256MiB\ndisk: 64MiB\nprocesses: 64\nscale: {max: 1}\n",
	}, nil)
	f.awaitState("echo", host.Ready)
	f.awaitState("attacker", host.Ready)
	for _, attack := range []string{"", "fork", "allocate", "write", "dial", "spin"} {
		b.Run("attack="+strings.TrimSpace(attack+" "), func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			if attack != "" {
				wg.Go(func() {
					for ctx.Err() == nil {
						f.Invoke(ctx, "attacker", fmt.Appendf(nil, `{"How":%q}`, attack)) // an error is what it deserves
						time.Sleep(time.Millisecond)
					}
				})
				time.Sleep(300 * time.Millisecond)
			}
			var took []time.Duration
			b.ResetTimer()
			for range b.N {
				begin := time.Now()
				if _, err := f.Invoke(b.Context(), "echo", []byte("x")); err != nil {
					b.Error(err)
				}
				took = append(took, time.Since(begin))
				time.Sleep(500 * time.Microsecond)
			}
			b.StopTimer()
			cancel()
			wg.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
		})
	}
}
