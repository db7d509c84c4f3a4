package kvwire_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/functions/wire/kvwire"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
)

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "8") // they wait more than they work
	goleak.VerifyTestMain(m)
}

// server starts one with JetStream for a test.
func server(t testing.TB) jetstream.JetStream {
	t.Helper()
	dir, err := os.MkdirTemp("", "kvwire")
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.Start(bus.Config{StoreDir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		os.RemoveAll(dir)
	})
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	return js
}

var names atomic.Int64

// remote returns a bucket at the other side of a session.
func remote(t testing.TB, js jetstream.JetStream, history int) *kvwire.Bucket {
	t.Helper()
	b, err := jetkv.Create(t.Context(), js, jetkv.Config{Bucket: fmt.Sprint("b", names.Add(1)), History: history})
	if err != nil {
		t.Fatal(err)
	}
	return kvwire.New(b.Name(), sessionTo(t, b), nil)
}

// sessionTo returns the worker's side of a session whose host's side answers from a bucket.
func sessionTo(t testing.TB, b kv.Bucket) kvwire.Do {
	return session(t, func(ctx context.Context, x *wire.Exchange) { answer(ctx, b, x) })
}

func session(t testing.TB, serve func(ctx context.Context, x *wire.Exchange)) kvwire.Do {
	t.Helper()
	a, z := net.Pipe()
	hosts := wire.NewSession(a, wire.Config{Host: true, Serve: serve})
	workers := wire.NewSession(z, wire.Config{})
	ended := make(chan struct{}, 2)
	for _, s := range []*wire.Session{hosts, workers} {
		go func() {
			s.Run()
			ended <- struct{}{}
		}()
	}
	t.Cleanup(func() {
		workers.Close()
		hosts.Close()
		<-ended
		<-ended
	})
	return workers.Do
}

func answer(ctx context.Context, b kv.Bucket, x *wire.Exchange) {
	body := x.Payload()
	if x.Body() != nil {
		rest, err := io.ReadAll(x.Body())
		if err != nil {
			x.Fail(wire.AsError(err))
			return
		}
		body = append(body[:len(body):len(body)], rest...)
	}
	r, err := kvwire.Serve(ctx, b, x.Header(), body)
	respond(x, r, err)
}

func answerBlobs(ctx context.Context, s kv.Blobs, x *wire.Exchange) {
	var body io.Reader = bytes.NewReader(x.Payload())
	if x.Body() != nil {
		body = io.MultiReader(body, x.Body())
	}
	r, err := kvwire.ServeBlobs(ctx, s, x.Header(), body)
	respond(x, r, err)
}

func respond(x *wire.Exchange, r *wire.Response, err error) {
	if err != nil {
		x.Fail(wire.AsError(err))
		return
	}
	if err := x.Respond(r.Header, r.Payload, r.Body != nil); err != nil || r.Body == nil {
		return
	}
	defer r.Body.Close()
	if _, err := io.Copy(struct{ io.Writer }{x}, r.Body); err != nil {
		x.Fail(wire.AsError(err))
	}
}
