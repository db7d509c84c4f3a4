package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/wall"
)

func helloSource(text string) string {
	return fmt.Sprintf(`package hello

import "context"

type Request struct{ Name string }
type Greeting struct{ Message string }

// Handle greets somebody by name.
func Handle(ctx context.Context, req Request) (Greeting, error) {
	return Greeting{Message: %q + req.Name}, nil
}
`, text)
}

func openHost(b *testing.B, dir string, change func(*host.Config)) *host.Host {
	b.Helper()
	cfg := host.Config{Dir: filepath.Join(dir, "data"), Watch: []string{filepath.Join(dir, "functions")}, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	h, err := host.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	return h
}

func invokeOK(b *testing.B, h *host.Host, name, body string) string {
	b.Helper()
	out, err := h.Invoke(context.Background(), name, []byte(body))
	if err != nil {
		b.Fatal(err)
	}
	return string(out)
}

func reportMedian(b *testing.B, times []time.Duration) {
	reportMedianAs(b, times, "p50-ms")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
}

func reportMedianAs(b *testing.B, times []time.Duration, unit string) {
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, unit)
}

// BenchmarkSave measures from the saving of a changed hello to the first answer
// of the new version, beside `go build` of the same program: the same package, and
// a main that serves it.
func BenchmarkSave(b *testing.B) {
	b.Run("go-build", func(b *testing.B) {
		root, err := filepath.Abs("..")
		if err != nil {
			b.Fatal(err)
		}
		dir := benchDir(b, map[string]string{
			"go.mod":       fmt.Sprintf("module bare\n\ngo 1.26\n\nrequire github.com/fnhost/fnhost v0.0.0\n\nreplace github.com/fnhost/fnhost => %s\n", sdkModule(b, root)),
			"main/main.go": "package main\n\nimport (\n\t\"bare\"\n\t\"fmt\"\n\t\"os\"\n\n\t\"github.com/fnhost/fnhost/functions\"\n)\n\nfunc main() {\n\tif err := functions.Serve(functions.Handle(\"\", hello.Handle)); err != nil {\n\t\tfmt.Fprintln(os.Stderr, err)\n\t\tos.Exit(1)\n\t}\n}\n",
			"hello.go":     helloSource("0"),
		})
		var times []time.Duration
		for i := 0; i < b.N+2; i++ {
			if err := os.WriteFile(filepath.Join(dir, "functions", "hello.go"), []byte(helloSource(fmt.Sprint(time.Now().UnixNano()))), 0o644); err != nil {
				b.Fatal(err)
			}
			cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "out"), "./main")
			cmd.Dir = filepath.Join(dir, "functions")
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
			start := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			if i >= 2 {
				times = append(times, time.Since(start))
			}
		}
		reportMedian(b, times)
	})
	b.Run("fnhost", func(b *testing.B) {
		dir := benchDir(b, map[string]string{"hello/hello.go": helloSource("0")})
		h := openHost(b, dir, nil)
		defer h.Close()
		invokeOK(b, h, "hello", "")
		var times []time.Duration
		for i := 0; i < b.N+2; i++ {
			text := fmt.Sprint(time.Now().UnixNano())
			start := time.Now()
			if err := os.WriteFile(filepath.Join(dir, "functions", "hello", "hello.go"), []byte(helloSource(text)), 0o644); err != nil {
				b.Fatal(err)
			}
			for !strings.Contains(invokeOK(b, h, "hello", ""), text) {
				time.Sleep(500 * time.Microsecond)
			}
			if i >= 2 {
				times = append(times, time.Since(start))
			}
		}
		reportMedian(b, times)
	})
}

// sdkModule makes a module of the library alone, as a host does.
func sdkModule(b *testing.B, root string) string {
	b.Helper()
	dir := b.TempDir()
	for _, pkg := range []string{"functions", "functions/wire"} {
		files, err := filepath.Glob(filepath.Join(root, pkg, "*.go"))
		if err != nil {
			b.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				b.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, pkg), 0o755); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, pkg, filepath.Base(file)), data, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module github.com/fnhost/fnhost\n\ngo 1.23\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkColdStart measures the first answer of a function that has no worker,
// behind a wall and without one: each iteration stops the host and starts it again, and
// times the call alone.
func BenchmarkColdStart(b *testing.B) {
	dir := benchDir(b, map[string]string{"hello/hello.go": helloSource("cold")})
	h := openHost(b, dir, nil)
	invokeOK(b, h, "hello", "")
	h.Close()
	for _, mode := range []wall.Mode{wall.Auto, wall.Off} {
		b.Run("walls="+string(mode), func(b *testing.B) {
			var times []time.Duration
			for b.Loop() {
				b.StopTimer()
				ready := make(chan struct{}, 8)
				h := openHost(b, dir, func(c *host.Config) {
					c.Walls = mode
					c.OnEvent = func(e host.Event) {
						if e.State == host.Ready {
							ready <- struct{}{}
						}
					}
				})
				<-ready
				b.StartTimer()
				start := time.Now()
				invokeOK(b, h, "hello", "")
				times = append(times, time.Since(start))
				b.StopTimer()
				h.Close()
				b.StartTimer()
			}
			reportMedian(b, times)
		})
	}
}

// BenchmarkStart measures the start of a host with nothing to build, to its first answer.
func BenchmarkStart(b *testing.B) {
	dir := benchDir(b, map[string]string{"hello/hello.go": helloSource("start")})
	h := openHost(b, dir, nil)
	invokeOK(b, h, "hello", "")
	h.Close()
	var times []time.Duration
	for b.Loop() {
		start := time.Now()
		h := openHost(b, dir, func(c *host.Config) { c.NATS, c.HTTP = "127.0.0.1:0", "127.0.0.1:0" })
		if err := h.Listen(); err != nil {
			b.Fatal(err)
		}
		invokeOK(b, h, "hello", "")
		times = append(times, time.Since(start))
		h.Close()
	}
	reportMedian(b, times)
}

// BenchmarkMany compares an invocation in a host of 1,000 idle functions with one
// in a host of one, and reports what the idle host holds in memory (RSS of its
// process), and a worker.
func BenchmarkMany(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("functions=%d", n), func(b *testing.B) {
			files := map[string]string{"echo/echo.go": echoSource}
			for i := 1; i < n; i++ {
				files[fmt.Sprintf("f%04d/hello.go", i)] = helloSource("many")
			}
			dir := benchDir(b, files)
			// A process of its own, so that its memory is its own.
			fields := strings.Fields(process(b, "host", nil, "FNHOST_BENCH_DIR="+dir, "FNHOST_BENCH_WAIT="+strconv.Itoa(n)))
			pid := fields[len(fields)-1]
			b.Run("idle", func(b *testing.B) {
				for b.Loop() {
				}
				b.ReportMetric(rss(b, pid), "host-MiB")
				b.ReportMetric(rss(b, child(b, pid)), "worker-MiB")
			})
			b.Run("http", func(b *testing.B) { drive(b, 64, httpCaller(b, fields[0], "/echo", 64)) })
		})
	}
}

// rss returns the resident memory of a process in MiB.
func rss(b *testing.B, pid string) float64 {
	b.Helper()
	data, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}

// child returns a child of a process.
func child(b *testing.B, pid string) string {
	b.Helper()
	tasks, err := filepath.Glob("/proc/" + pid + "/task/*/children")
	if err != nil {
		b.Fatal(err)
	}
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		if list := strings.Fields(string(data)); len(list) > 0 {
			return list[0]
		}
	}
	b.Fatalf("process %s has no child", pid)
	return ""
}
