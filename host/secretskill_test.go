package host_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
)

// A host with an encrypted store is killed while secrets are set, and while its master
// key changes: what was acknowledged is there, and opens.
func TestSecretsOutliveKillsAmongRotations(t *testing.T) {
	kills, names := 5, 8
	dir := filepath.Join(t.TempDir(), "data")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sent, acked := make([]atomic.Int64, names), make([]atomic.Int64, names)
	var rotations atomic.Int64
	for range kills {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "FNHOST_BENCH_ROLE=deploys", "FNHOST_BENCH_DIR="+dir, "FNHOST_BENCH_ENCRYPT=1")
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			cmd.Process.Kill()
			t.Fatalf("the host does not start: %v", err)
		}
		c, err := admin.NewClient(strings.Fields(line)[1], admin.ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range names {
			wg.Go(func() {
				for {
					n := sent[i].Add(1)
					if _, err := c.SetSecret(t.Context(), fmt.Sprint("s", i), fmt.Appendf(nil, "known plaintext %d", n), ""); err != nil {
						return
					}
					acked[i].Store(n)
				}
			})
		}
		wg.Go(func() {
			for {
				if _, err := c.RotateMasterKey(t.Context()); err == nil {
					rotations.Add(1)
				} else if functionsCode(err) == "" {
					return // it is gone
				}
			}
		})
		time.Sleep(time.Duration(200+mathrand.IntN(400)) * time.Millisecond)
		cmd.Process.Kill()
		wg.Wait()
		cmd.Wait()
	}
	holds(t, dir, false, []byte("known plaintext"))
	h, err := host.New(host.Config{Dir: dir, EncryptStore: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	h.Handle("read", func(ctx context.Context, name string) (string, error) { return functions.Secret(ctx, name) })
	total, lost := int64(0), 0
	for i := range names {
		value, err := h.Invoke(t.Context(), "read", []byte(fmt.Sprint("s", i)))
		n, _ := strconv.ParseInt(strings.TrimPrefix(string(value), "known plaintext "), 10, 64)
		total += acked[i].Load()
		if err != nil && acked[i].Load() > 0 || n < acked[i].Load() || n > sent[i].Load() {
			lost++
			t.Errorf("secret %d is %q, %v, and %d was acknowledged", i, value, err, acked[i].Load())
		}
	}
	t.Logf("%d kills, %d rotations, %d secrets set, %d lost", kills, rotations.Load(), total, lost)
	if done, err := h.RotateMasterKey(t.Context()); err != nil || len(done.Unread) > 0 {
		t.Errorf("the last rotation: %+v, %v", done, err)
	}
}

// functionsCode returns the code of an answer, "" if there was none.
func functionsCode(err error) functions.Code {
	if e, ok := err.(*functions.Error); ok {
		return e.Code
	}
	return ""
}
