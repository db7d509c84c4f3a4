package host_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host"
)

// The benchmarks compare fnhost with the plainest thing that does the same, in
// the same run:
//
//	go test -run - -bench . ./host
//
// Servers are processes of their own, in both cases; the load comes from here.

const echoSource = `package echo

import "context"

func Handle(ctx context.Context, in []byte) ([]byte, error) { return in, nil }
`

const callerSource = `package caller

import (
	"context"
	"time"

	"github.com/fnhost/fnhost/functions"
)

type In struct{ N int }
type Out struct{ Nanoseconds int64 }

func Handle(ctx context.Context, in In) (Out, error) {
	payload := make([]byte, 100)
	var out []byte
	start := time.Now()
	for range in.N {
		if err := functions.Call(ctx, "echo", payload, &out); err != nil {
			return Out{}, err
		}
	}
	return Out{time.Since(start).Nanoseconds()}, nil
}
`

// playRole makes this process what a benchmark has started it for.
func playRole() {
	role := os.Getenv("FNHOST_BENCH_ROLE")
	if role == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := map[string]func(context.Context) error{"http": plainHTTP, "host": benchHost, "nats": plainSubscriber, "frames": plainFrames, "deploys": deployHost, "events": plainConsumer}[role](ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// plainHTTP is an echo server of net/http alone.
func plainHTTP(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Write(b)
	})}
	context.AfterFunc(ctx, func() { srv.Close() })
	srv.Serve(l)
	return nil
}

// benchHost is a host of the functions in FNHOST_BENCH_DIR.
func benchHost(ctx context.Context) error {
	debug.SetGCPercent(200) // as the command does
	dir := os.Getenv("FNHOST_BENCH_DIR")
	h, err := host.New(host.Config{Dir: filepath.Join(dir, "data"), Watch: []string{filepath.Join(dir, "functions")}, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0",
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	if err := h.Listen(); err != nil {
		return err
	}
	if _, err := h.Invoke(ctx, "echo", nil); err != nil {
		return err
	}
	if want, err := strconv.Atoi(os.Getenv("FNHOST_BENCH_WAIT")); err == nil {
		for readyFunctions(h) < want {
			time.Sleep(20 * time.Millisecond)
		}
	}
	info := h.Info()
	fmt.Println(strings.TrimPrefix(info.HTTP, "http://"), info.NATS, os.Getpid())
	return h.Run(ctx)
}

func readyFunctions(h *host.Host) (n int) {
	for _, f := range h.Functions() {
		if f.State == string(host.Ready) {
			n++
		}
	}
	return n
}

// plainSubscriber answers NATS requests at FNHOST_BENCH_NATS.
func plainSubscriber(ctx context.Context) error {
	nc, err := nats.Connect(os.Getenv("FNHOST_BENCH_NATS"))
	if err != nil {
		return err
	}
	defer nc.Close()
	if _, err := nc.Subscribe("plain", func(m *nats.Msg) { m.Respond(m.Data) }); err != nil {
		return err
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return nil
}

// plainFrames answers frames on descriptor 3: what a framed channel costs with
// nothing around it but grouped writes.
func plainFrames(context.Context) error {
	syscall.SetNonblock(3, true)
	f := os.NewFile(3, "frames")
	r := wire.NewReader(f)
	var mu sync.Mutex
	var buf []byte
	wake := make(chan struct{}, 1)
	go func() {
		var out []byte
		for range wake {
			mu.Lock()
			out, buf = buf, out[:0]
			mu.Unlock()
			f.Write(out)
		}
	}()
	for {
		var frame wire.Frame
		if err := r.Next(&frame); err != nil {
			return nil
		}
		frame.Kind = wire.Result
		mu.Lock()
		buf, _ = wire.AppendFrame(buf, &frame)
		mu.Unlock()
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// process starts this test binary in a role, and returns its first line of output.
func process(b *testing.B, role string, extra []*os.File, env ...string) string {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), "FNHOST_BENCH_ROLE="+role), env...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = extra
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		for _, f := range extra {
			f.Close()
		}
		cmd.Wait()
	})
	if extra != nil {
		return ""
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatalf("%s: %v", role, err)
	}
	return strings.TrimSpace(line)
}

// benchDir writes functions and returns the directory above them.
func benchDir(b testing.TB, files map[string]string) string {
	b.Helper()
	dir := b.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, "functions", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// drive runs op b.N times from so many callers, and reports rate and median.
func drive(b *testing.B, callers int, op func(caller int) error) {
	b.Helper()
	for c := range callers { // connections, caches, first worker
		if err := op(c); err != nil {
			b.Fatal(err)
		}
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	times := make([][]time.Duration, callers)
	var wg sync.WaitGroup
	b.ResetTimer()
	start := time.Now()
	for c := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				began := time.Now()
				if err := op(c); err != nil {
					b.Error(err)
					return
				}
				times[c] = append(times[c], time.Since(began))
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	b.StopTimer()
	all := slices.Concat(times...)
	slices.Sort(all)
	if len(all) == 0 {
		return
	}
	b.ReportMetric(float64(len(all))/took.Seconds(), "req/s")
	b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1000, "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds())/1000, "p99-µs")
}

// httpCaller returns an op that posts 30 bytes over a connection of its own for
// each caller. It is no more than a connection, so that the load costs little.
func httpCaller(b *testing.B, address, path string, callers int) func(int) error {
	b.Helper()
	body := strings.Repeat("x", 30)
	request := []byte(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n%s", path, address, len(body), body))
	type conn struct {
		net.Conn
		r *bufio.Reader
	}
	conns := make([]conn, callers)
	for i := range conns {
		c, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		conns[i] = conn{c, bufio.NewReader(c)}
	}
	return func(i int) error {
		c := &conns[i]
		if _, err := c.Write(request); err != nil {
			return err
		}
		length := -1
		for first := true; ; first = false {
			line, err := c.r.ReadSlice('\n')
			if err != nil {
				return err
			}
			if first && !strings.HasPrefix(string(line), "HTTP/1.1 200") {
				return fmt.Errorf("%s", line)
			}
			if len(line) <= 2 {
				break
			}
			if rest, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
				length, _ = strconv.Atoi(strings.TrimSpace(rest))
			}
		}
		if length != len(body) {
			return fmt.Errorf("answer of %d bytes", length)
		}
		_, err := c.r.Discard(length)
		return err
	}
}

func BenchmarkHTTP(b *testing.B) {
	plain := process(b, "http", nil)
	addresses := strings.Fields(process(b, "host", nil, "FNHOST_BENCH_DIR="+benchDir(b, map[string]string{"echo/echo.go": echoSource})))
	for _, conns := range []int{1, 64} {
		b.Run(fmt.Sprintf("plain/conns=%d", conns), func(b *testing.B) { drive(b, conns, httpCaller(b, plain, "/echo", conns)) })
		b.Run(fmt.Sprintf("fnhost/conns=%d", conns), func(b *testing.B) { drive(b, conns, httpCaller(b, addresses[0], "/echo", conns)) })
	}
}

func BenchmarkNATS(b *testing.B) {
	addresses := strings.Fields(process(b, "host", nil, "FNHOST_BENCH_DIR="+benchDir(b, map[string]string{"echo/echo.go": echoSource})))
	process(b, "nats", nil, "FNHOST_BENCH_NATS="+addresses[1])
	nc, err := nats.Connect(addresses[1])
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	payload := make([]byte, 100)
	for _, callers := range []int{1, 64} {
		for _, target := range []struct{ name, subject string }{{"plain", "plain"}, {"fnhost", "fn.echo"}} {
			b.Run(fmt.Sprintf("%s/callers=%d", target.name, callers), func(b *testing.B) {
				drive(b, callers, func(int) error {
					m, err := nc.Request(target.subject, payload, 5*time.Second)
					if err == nil && len(m.Data) != len(payload) {
						err = fmt.Errorf("%v %s", m.Header, m.Data)
					}
					return err
				})
			})
		}
	}
}

// plainChannel is the caller's side of plainFrames.
type plainChannel struct {
	f       *os.File
	mu      sync.Mutex
	nextID  uint64
	waiting map[uint64]chan []byte
	buf     []byte
	wake    chan struct{}
}

func newPlainChannel(b *testing.B) *plainChannel {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	process(b, "frames", []*os.File{os.NewFile(uintptr(fds[1]), "child")})
	syscall.SetNonblock(fds[0], true)
	c := &plainChannel{f: os.NewFile(uintptr(fds[0]), "parent"), waiting: make(map[uint64]chan []byte), wake: make(chan struct{}, 1)}
	b.Cleanup(func() {
		c.f.Close()
		close(c.wake)
	})
	go func() {
		var out []byte
		for range c.wake {
			c.mu.Lock()
			out, c.buf = c.buf, out[:0]
			c.mu.Unlock()
			c.f.Write(out)
		}
	}()
	go func() {
		r := wire.NewReader(c.f)
		for {
			var frame wire.Frame
			if r.Next(&frame) != nil {
				return
			}
			c.mu.Lock()
			ch := c.waiting[frame.ID]
			delete(c.waiting, frame.ID)
			c.mu.Unlock()
			ch <- frame.Payload
		}
	}()
	return c
}

func (c *plainChannel) call(payload []byte) []byte {
	ch := make(chan []byte, 1)
	c.mu.Lock()
	c.nextID++
	c.waiting[c.nextID] = ch
	c.buf, _ = wire.AppendFrame(c.buf, &wire.Frame{ID: c.nextID, Kind: wire.Invoke, Payload: payload})
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return <-ch
}

func BenchmarkInvoke(b *testing.B) {
	payload := make([]byte, 100)
	plain := newPlainChannel(b)
	dir := benchDir(b, map[string]string{"echo/echo.go": echoSource, "caller/caller.go": callerSource})
	h, err := host.New(host.Config{Dir: filepath.Join(dir, "data"), Watch: []string{filepath.Join(dir, "functions")}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	ctx := context.Background()
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("plain/callers=%d", callers), func(b *testing.B) {
			drive(b, callers, func(int) error {
				if got := plain.call(payload); len(got) != len(payload) {
					return fmt.Errorf("%d bytes", len(got))
				}
				return nil
			})
		})
		b.Run(fmt.Sprintf("fnhost/callers=%d", callers), func(b *testing.B) {
			drive(b, callers, func(int) error {
				out, err := h.Invoke(ctx, "echo", payload)
				if err == nil && len(out) != len(payload) {
					err = fmt.Errorf("%d bytes", len(out))
				}
				return err
			})
		})
	}
	b.Run("call", func(b *testing.B) {
		out, err := h.Invoke(ctx, "caller", fmt.Appendf(nil, `{"N":%d}`, min(b.N, 50_000)))
		if err != nil {
			b.Fatal(err)
		}
		var ns float64
		fmt.Sscanf(string(out), `{"Nanoseconds":%f}`, &ns)
		b.ReportMetric(ns/float64(min(b.N, 50_000))/1000, "mean-µs")
	})
}
