package host_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/disktest"
	"github.com/fnhost/fnhost/trigger"
)

// No call is accepted that the disk has no room for, and each that was accepted
// ends when there is room again.
func TestAsynchronousCallsOnAFullDisk(t *testing.T) {
	disktest.Run(t, 160, func(t *testing.T, dir string) {
		f := &fixture{t: t, data: dir}
		f.open(func(c *host.Config) { c.Watch = nil })
		if err := f.Handle("echo", func(s string) string { return s }); err != nil {
			t.Fatal(err)
		}
		accepted := []string{f.async("POST", "/echo", "first")}
		f.result(accepted[0])
		free := disktest.Fill(t, dir)
		refused := 0
		for i := 0; refused < 1 && i < 5000; i++ {
			if f.Bus().StorageErr() == nil && i > 2000 {
				f.fillStream()
			}
			status, body, h := f.do("POST", "/echo", strings.Repeat("x", 1000), "Prefer", "respond-async")
			switch status {
			case 202:
				accepted = append(accepted, h.Get("Location"))
			case http.StatusServiceUnavailable:
				refused++
			default:
				t.Fatalf("%d %s", status, body)
			}
		}
		if refused == 0 {
			t.Fatal("none was refused")
		}
		if _, err := f.InvokeAsync(t.Context(), "echo", nil, host.AsyncOptions{}); !errors.Is(err, functions.ErrUnavailable) {
			t.Errorf("InvokeAsync = %v", err)
		}
		restored := f.Bus().Restored()
		free()
		<-restored
		for _, location := range accepted {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			run, err := f.WaitRun(ctx, strings.TrimPrefix(location, "/_runs/"))
			cancel()
			if err != nil || run.State != trigger.RunDone {
				t.Errorf("%s: %+v %v", location, run, err)
			}
		}
		t.Logf("%d accepted, none lost", len(accepted))
	})
}

// fillStream writes to a stream until nothing can be stored.
func (f *fixture) fillStream() {
	js, err := jetstream.New(f.Conn())
	if err != nil {
		f.t.Fatal(err)
	}
	js.CreateStream(f.t.Context(), jetstream.StreamConfig{Name: "filler", Subjects: []string{"filler"}})
	for n := 0; f.Bus().StorageErr() == nil && n < 100_000; n++ {
		ctx, cancel := context.WithTimeout(f.t.Context(), time.Second)
		js.Publish(ctx, "filler", fmt.Append(nil, n, strings.Repeat("x", 10_000)))
		cancel()
	}
}
