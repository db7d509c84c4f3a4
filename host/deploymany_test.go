package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/registry"
)

// deployMany fills a data directory with so many deployed functions "f000", …, and
// hello, of which all have the program.
func deployMany(t testing.TB, dir string, n int) {
	t.Helper()
	ctx := context.Background()
	h, err := host.New(host.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "hello.go"), []byte(helloSource("many")), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Deploy(ctx, source, host.DeployOptions{Name: "hello"}); err != nil {
		t.Fatal(err)
	}
	r := h.Registry()
	v, err := r.Version(ctx, "hello", 1)
	if err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "bundle")
	if err := r.Bundle(ctx, v, bundle); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		v.Function, v.Number = fmt.Sprintf("f%03d", i), 0
		if err := r.Add(ctx, v, filepath.Join(dir, "programs", v.Program), bundle, ""); err != nil {
			t.Fatal(err)
		}
		_, err := r.Release(ctx, v.Function, "test", func(*registry.Function) ([]registry.Part, error) { return registry.Whole(v.Number), nil })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// restart starts a host of so many functions, and returns how long it takes until
// it serves, and how long each first call takes.
func restart(t testing.TB, dir string, n int) (serving time.Duration, first []time.Duration) {
	t.Helper()
	start := time.Now()
	h, err := host.New(host.Config{
		Dir: dir, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0", Admin: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Listen(); err != nil {
		t.Fatal(err)
	}
	serving = time.Since(start)
	for i := range n {
		begin := time.Now()
		out, err := h.Invoke(context.Background(), fmt.Sprintf("f%03d", i), []byte(`{"Name":"Ada"}`))
		first = append(first, time.Since(begin))
		if err != nil || string(out) != `{"Message":"manyAda"}` {
			t.Fatalf("function %d: %s %v", i, out, err)
		}
	}
	slices.Sort(first)
	return serving, first
}

func TestAHostOfManyFunctionsServesAtOnceAfterItsStart(t *testing.T) {
	n := 50
	dir := t.TempDir()
	deployMany(t, dir, n)
	serving, first := restart(t, dir, n)
	t.Logf("%d functions: serving after %v, first calls %v at half, %v at most", n, serving, first[n/2], first[n-1])
	if serving > 10*time.Second { // far above what it takes, for slow machines
		t.Errorf("serving after %v", serving)
	}
}

// A program that was placed long ago is not taken for garbage between the moment
// when it is found and that when its version is loaded.
func TestAProgramThatIsFoundIsAsGoodAsNew(t *testing.T) {
	f := server(t)
	f.deploy("one", host.DeployOptions{})
	f.deploy("two", host.DeployOptions{})
	v, err := f.Registry().Version(t.Context(), "hello", 1)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(f.data, "programs", v.Program)
	long := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(program, long, long); err != nil {
		t.Fatal(err)
	}
	f.answers("v1", "one")
	if info, err := os.Stat(program); err != nil || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("the program is of %v, %v", info.ModTime(), err)
	}
}
