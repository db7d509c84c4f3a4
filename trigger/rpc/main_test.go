package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/trigger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is an Invoker whose functions are one func. It keeps what it was asked.
type fake struct {
	mu   sync.Mutex
	run  func(ctx context.Context, inv *trigger.Invocation) (*trigger.Result, error)
	last *trigger.Invocation
}

func (f *fake) Invoke(ctx context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
	inv.ID = "i1"
	f.mu.Lock()
	f.last = inv
	run := f.run
	f.mu.Unlock()
	return run(ctx, inv)
}

func (f *fake) Await(context.Context, string, string) (*trigger.Function, error) {
	return nil, wire.Errorf(wire.NoFunction, "no function")
}

func (f *fake) set(run func(ctx context.Context, inv *trigger.Invocation) (*trigger.Result, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.run = run
}

func (f *fake) invocation() *trigger.Invocation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// echo answers with function, version, endpoint and payload.
func echo(_ context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
	name := inv.Function
	if inv.Version != "" {
		name += "@" + inv.Version
	}
	return &trigger.Result{Payload: fmt.Appendf(nil, "%s/%s %s", name, inv.Endpoint, inv.Payload)}, nil
}

// table returns one of functions with the root and the endpoint create.
func table(names ...string) *trigger.Table {
	t := &trigger.Table{Functions: make(map[string]*trigger.Function)}
	for _, name := range names {
		t.Functions[name] = &trigger.Function{Name: name, Version: "v1", Manifest: manifest.Default(), Endpoints: []trigger.Endpoint{
			{Name: "", Kind: wire.EndpointJSON, Doc: "Root does it.", Request: []byte(`{"type":"string"}`)},
			{Name: "create", Kind: wire.EndpointHTTP},
		}}
		if name == "versions" {
			t.Functions[name].Endpoints = append(t.Functions[name].Endpoints, trigger.Endpoint{Name: "v1", Kind: wire.EndpointJSON})
		}
	}
	return t
}

// server starts one that clients reach by TCP.
func server(t *testing.T) *bus.Bus {
	t.Helper()
	b, err := bus.Start(bus.Config{Listen: "127.0.0.1:0", StoreDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the bus: %v", err)
		}
	})
	return b
}

// connect returns a client's connection.
func connect(t *testing.T, b *bus.Bus) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect("nats://" + b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// fixture is a trigger on a server, and a client of it.
type fixture struct {
	*fake
	trigger *Trigger
	bus     *bus.Bus
	client  *nats.Conn
	close   func() // of the trigger
}

func start(t *testing.T, names ...string) *fixture {
	t.Helper()
	f := &fixture{fake: &fake{run: echo}, bus: server(t)}
	f.client = connect(t, f.bus)
	f.trigger = f.open(t, f.bus.Conn())
	f.close = sync.OnceFunc(f.trigger.Close)
	t.Cleanup(f.close)
	f.update(t, names...)
	return f
}

func (f *fixture) open(t *testing.T, conn *nats.Conn) *Trigger {
	t.Helper()
	tr, err := New(Config{Conn: conn, Invoker: f.fake, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// update tells the trigger of functions, and waits until the server knows.
func (f *fixture) update(t *testing.T, names ...string) {
	t.Helper()
	f.trigger.Update(table(names...))
	if err := f.bus.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
}

// ask sends a request, with headers in pairs.
func (f *fixture) ask(t *testing.T, subject, body string, headers ...string) *nats.Msg {
	t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(body)
	for i := 0; i < len(headers); i += 2 {
		m.Header[headers[i]] = append(m.Header[headers[i]], headers[i+1])
	}
	reply, err := f.client.RequestMsg(m, 10*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return reply
}
