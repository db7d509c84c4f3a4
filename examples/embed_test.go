package examples_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The program runs as one: built, started, called, and ended by Ctrl-C.
func TestEmbed(t *testing.T) {
	program := filepath.Join(t.TempDir(), "embed")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./embed").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program, "-http", "127.0.0.1:0", "-functions", ".", "-data", t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("stderr: %s", &stderr)
		}
	}()
	url := ""
	lines := bufio.NewScanner(stdout)
	for i, want := range []string{`{"Message":"Hello, Ada"}`, "listening on http://127.0.0.1:"} {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), want) {
			t.Fatalf("line %d = %q (%v), want %q", i+1, lines.Text(), lines.Err(), want)
		}
		url = strings.TrimPrefix(lines.Text(), "listening on ")
	}
	r := &running{url: strings.TrimSuffix(url, "/")}
	defer http.DefaultClient.CloseIdleConnections()
	r.http(t, "GET", "/ping?from=Ada", nil).want(t, 200, `{"To":"Ada"}`)
	r.http(t, "GET", "/hello?name=Bob", nil).want(t, 200, `{"Message":"Hello, Bob"}`)
	await(t, "the routes of orders answer", func() bool {
		a := r.http(t, "GET", "/api/orders/3-apple", nil)
		return a.status == 200 && string(a.body) == threeApples
	})
	r.http(t, "GET", "/nothing", nil).want(t, 404, `no function \"nothing\"`)

	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, stdout)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGINT: %v", err)
	}
}
