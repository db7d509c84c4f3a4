package host_test

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/wall"
)

// prisoner does what it is told, which a wall may stop.
const prisoner = `package prisoner

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

func Handle(ctx context.Context, what string) (string, error) {
	what, of, _ := strings.Cut(what, " ")
	switch what {
	case "dial":
		c, err := net.Dial("tcp", of)
		if err != nil {
			return "", err
		}
		return "connected", c.Close()
	case "read":
		data, err := os.ReadFile(of)
		return string(data), err
	case "write":
		name := filepath.Join(os.TempDir(), "note")
		if err := os.WriteFile(name, []byte(of), 0o600); err != nil {
			return "", err
		}
		data, err := os.ReadFile(name)
		return string(data), err
	case "eat":
		var all [][]byte
		for range 10 << 10 {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
		return fmt.Sprint(len(all)), nil
	}
	return "here", nil
}
`

func TestAFunctionReachesWhatItsManifestSays(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := start(t, map[string]string{
		"in/in.go": prisoner, "out/out.go": prisoner, "out/function.yaml": "network: outbound\nsandbox: auto\n",
	}, nil)
	f.awaitState("in", host.Ready)
	f.awaitState("out", host.Ready)
	address := l.Addr().String()
	if out, err := f.Invoke(t.Context(), "out", []byte("dial "+address)); err != nil || string(out) != "connected" {
		t.Errorf("with network: outbound: %q, %v", out, err)
	}
	if out, err := f.Invoke(t.Context(), "in", []byte("dial "+address)); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("without: %q, %v", out, err)
	}
	const told = "the function tried to open a network connection: write network: outbound in its function.yaml"
	f.await("the log says what to do", func() bool { return strings.Contains(f.records("in"), told) })
	if strings.Contains(f.records("out"), told) {
		t.Errorf("the log of who may: %s", f.records("out"))
	}
	secret := filepath.Join(f.data, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"in", "out"} {
		if out, err := f.Invoke(t.Context(), name, []byte("read "+secret)); err == nil {
			t.Errorf("%s reads the data directory: %q", name, out)
		}
		if out, err := f.Invoke(t.Context(), name, []byte("write note")); err != nil || string(out) != "note" {
			t.Errorf("%s writes to its own: %q, %v", name, out, err)
		}
		if out, err := f.Invoke(t.Context(), name, []byte("stay")); err != nil || string(out) != "here" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
	for name, want := range map[string]string{"in": "none", "out": "outbound"} {
		if s, err := f.Function(name); err != nil || s.Network != want || len(s.Walls) == 0 {
			t.Errorf("%s: network %q, walls %q, %v", name, s.Network, s.Walls, err)
		}
	}
}

func TestWhoTakesTooMuchMemoryIsKilledAndTheLogSaysWhy(t *testing.T) {
	if !slices.Contains(wall.Probe().Parts(), "memory cgroup") {
		t.Skip("this machine lets no cgroups be made")
	}
	f := start(t, map[string]string{
		"in/in.go": prisoner, "in/function.yaml": "memory: 64MiB\n", "other/in.go": prisoner,
	}, nil)
	f.awaitState("in", host.Ready)
	f.awaitState("other", host.Ready)
	if out, err := f.Invoke(t.Context(), "in", []byte("eat")); err == nil || !strings.Contains(err.Error(), "limit of memory, 96 MiB") {
		t.Errorf("%q, %v", out, err)
	}
	f.await("the log says why", func() bool {
		return strings.Contains(f.records("in"), "worker ended unexpectedly: signal: killed: it was killed at its limit of memory, 96 MiB: write more memory")
	})
	if out, err := f.Invoke(t.Context(), "other", []byte("stay")); err != nil || string(out) != "here" {
		t.Errorf("the neighbour: %q, %v", out, err)
	}
}

func TestWallsThatAreOffAreSaidToBe(t *testing.T) {
	f := start(t, map[string]string{"in/in.go": prisoner, "strict/in.go": prisoner, "strict/function.yaml": "sandbox: strict\n"}, func(c *host.Config) { c.Walls = wall.Off })
	f.awaitState("in", host.Ready)
	if s, err := f.Function("in"); err != nil || s.Network != "all" || len(s.Walls) > 0 {
		t.Errorf("network %q, walls %q, %v", s.Network, s.Walls, err)
	}
	secret := filepath.Join(f.data, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := f.Invoke(t.Context(), "in", []byte("read "+secret)); err != nil || string(out) != "secret" {
		t.Errorf("without a wall: %q, %v", out, err)
	}
	// Who wants the whole wall has it here, too, or does not run.
	if err := wall.Probe().Require(); err != nil {
		f.await("it is refused", func() bool {
			e, ok := f.event("strict", host.Failed)
			return ok && strings.Contains(e.Err.Error(), "cannot wall in workers")
		})
		return
	}
	f.awaitState("strict", host.Ready)
	if out, err := f.Invoke(t.Context(), "strict", []byte("read "+secret)); err == nil {
		t.Errorf("with sandbox: strict: %q", out)
	}
}

func TestStrictWallsStartWhereTheMachineHasAll(t *testing.T) {
	h, err := host.New(host.Config{Dir: t.TempDir(), Walls: wall.Strict, Logger: slog.New(slog.DiscardHandler)})
	if missing := wall.Probe().Require(); (err == nil) != (missing == nil) {
		t.Errorf("New = %v; the machine: %v", err, missing)
	}
	if err == nil {
		h.Close()
	}
	if _, err := host.New(host.Config{Dir: t.TempDir(), Walls: "high"}); err == nil || !strings.Contains(err.Error(), "want auto, strict or off") {
		t.Errorf("New = %v", err)
	}
}
