package examples_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

func testClock(t *testing.T, r *running) {
	t.Run("server-sent events", func(t *testing.T) { testClockEvents(t, r) })
	t.Run("lines", func(t *testing.T) {
		a := r.http(t, "GET", "/clock?every=10ms&count=3", nil)
		a.want(t, 200, `{"n":3,`)
		wantTicks(t, a.body, 3)
	})
	t.Run("NATS", func(t *testing.T) { testClockOverNATS(t, r) })
	t.Run("refused", func(t *testing.T) {
		r.http(t, "GET", "/clock?every=often", nil).want(t, 400, `every \"often\": want a duration`)
	})
}

func testClockOverNATS(t *testing.T, r *running) {
	m := r.nats(t, "fn.clock", []byte(`{"every":"10ms","count":3}`))
	wantTicks(t, m.Data, 3)
}

// wantTicks checks a line of JSON for each tick.
func wantTicks(t *testing.T, body []byte, count int) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
	if len(lines) != count {
		t.Fatalf("%d lines, want %d: %q", len(lines), count, body)
	}
	for i, line := range lines {
		wantTick(t, line, i+1)
	}
}

func wantTick(t *testing.T, text string, n int) {
	t.Helper()
	var got struct {
		N    int
		Time time.Time
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.N != n || time.Since(got.Time).Abs() > time.Minute {
		t.Errorf("tick %d = %q (%v)", n, text, err)
	}
}

// Events come as they happen, and the handler ends when nobody listens.
func testClockEvents(t *testing.T, r *running) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", r.url+"/clock?every=100ms", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("%d %s", resp.StatusCode, got)
	}
	lines := bufio.NewScanner(resp.Body)
	for n := 1; n <= 3 && lines.Scan(); n++ {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || !lines.Scan() || lines.Text() != "" {
			t.Fatalf("event %d: %q, %v", n, data, lines.Err())
		}
		wantTick(t, data, n)
	}
	if n := invocations(t, r, "clock"); n != 1 {
		t.Errorf("%d invocations run while the stream is read, want 1", n)
	}
	cancel()
	await(t, "the handler ends with the request", func() bool { return invocations(t, r, "clock") == 0 })
}

// invocations returns how many of a function run.
func invocations(t *testing.T, r *running, name string) int {
	t.Helper()
	f, err := r.Function(name)
	if err != nil {
		t.Fatal(err)
	}
	return f.Workers.Running
}
