package host_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/disktest"
)

// onFullDisk is a function of events that also answers, and publishes.
const onFullDisk = `package hello

import (
	"context"
	"time"

	"github.com/fnhost/fnhost/functions"
)

func Handle() string { return "here" }

func HandleEvent(ctx context.Context, e functions.Event) error {
	return functions.Publish(ctx, "seen", string(e.Data))
}

func HandleSend(ctx context.Context, text string) error { return functions.Publish(ctx, "shop.sent", text) }

func HandleSlow(ctx context.Context) (string, error) {
	select {
	case <-time.After(3 * time.Second):
		return "slow", nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
`

// Where the disk is full publishers are told, what runs goes on, and when there is
// room again so do events, those that came due meanwhile among them.
func TestEventsOnAFullDisk(t *testing.T) { disktest.Run(t, 160, testEventsOnAFullDisk) }

func testEventsOnAFullDisk(t *testing.T, dir string) {
	f := onDisk(t, dir)
	source := tree(t, map[string]string{
		"hello/hello.go":      onFullDisk,
		"hello/function.yaml": "triggers:\n  http:\n    - {path: /in, event: shop.web}\n  event:\n    - {subject: shop.*, endpoint: event}\n",
	})
	if _, err := f.Deploy(t.Context(), source, host.DeployOptions{}); err != nil {
		t.Fatal(err)
	}
	s := f.listen()
	f.send("shop.order", "first")
	f.await("the first event", func() bool { return s.count("first") == 1 })
	later := nats.NewMsg("shop.order")
	later.Data = []byte("due meanwhile")
	later.Header.Set("Nats-Schedule", "@at "+time.Now().Add(3*time.Second).Format(time.RFC3339Nano))
	if stored, err := f.Publish(t.Context(), later); err != nil || stored.Stream != "later" {
		t.Fatalf("%+v, %v", stored, err)
	}

	slow := make(chan error, 1)
	free := disktest.Fill(t, dir)
	f.stopStorage()
	go func() {
		out, err := f.Invoke(t.Context(), "hello/slow", nil)
		if err == nil && string(out) != "slow" {
			err = errors.New(string(out))
		}
		slow <- err
	}()
	unavailable := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, functions.ErrUnavailable) || !strings.Contains(err.Error(), "make room") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := f.Publish(t.Context(), &nats.Msg{Subject: "shop.order", Data: []byte("lost")})
	unavailable("Publish", err)
	_, err = f.Publish(t.Context(), later)
	unavailable("Publish later", err)
	_, err = f.Invoke(t.Context(), "hello/send", []byte("lost"))
	unavailable("a function", err)
	if status, body, _ := f.do("POST", "/in", "lost"); status != 503 || !strings.Contains(body, "make room") {
		t.Errorf("a route: %d %s", status, body)
	}
	f.answers("", "here")
	if err := <-slow; err != nil {
		t.Errorf("what ran: %v", err)
	}

	restored := f.Bus().Restored()
	free()
	<-restored
	f.send("shop.order", "second")
	if _, err := f.Invoke(t.Context(), "hello/send", []byte("third")); err != nil {
		t.Errorf("a function: %v", err)
	}
	if status, body, _ := f.do("POST", "/in", "fourth"); status != 202 {
		t.Errorf("a route: %d %s", status, body)
	}
	for _, text := range []string{"second", "third", "fourth", "due meanwhile"} {
		f.await(text, func() bool { return s.count(text) >= 1 })
	}
	if n := s.count("lost"); n > 0 {
		t.Errorf("%d events that were refused were handled", n)
	}
}
