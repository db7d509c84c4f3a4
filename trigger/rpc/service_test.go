package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// discover asks in each of the three ways and decodes as the stock client does.
func discover[T any](t *testing.T, f *fixture, verb micro.Verb, id string) T {
	t.Helper()
	var first []byte
	for _, way := range [][2]string{{"", ""}, {ServiceName, ""}, {ServiceName, id}} {
		subject, err := micro.ControlSubject(verb, way[0], way[1])
		if err != nil {
			t.Fatal(err)
		}
		m := f.ask(t, subject, "")
		if first == nil {
			first = m.Data
		} else if string(m.Data) != string(first) {
			t.Errorf("%s: %s, want %s", subject, m.Data, first)
		}
	}
	var v T
	if err := json.Unmarshal(first, &v); err != nil {
		t.Fatalf("%s: %v", first, err)
	}
	return v
}

func TestDiscovery(t *testing.T) {
	f := start(t, "orders", "a-b")
	id := f.trigger.service.id
	ping := discover[micro.Ping](t, f, micro.PingVerb, id)
	if ping.Name != ServiceName || ping.ID != id || ping.Version == "" || ping.Type != micro.PingResponseType {
		t.Errorf("ping %+v", ping)
	}
	info := discover[micro.Info](t, f, micro.InfoVerb, id)
	if info.ServiceIdentity.ID != id || info.Type != micro.InfoResponseType || info.Description == "" {
		t.Errorf("info %+v", info)
	}
	var names, subjects []string
	for _, e := range info.Endpoints {
		names, subjects = append(names, e.Name), append(subjects, e.Subject)
		if e.QueueGroup != Queue || e.Metadata["version"] != "v1" {
			t.Errorf("endpoint %+v", e)
		}
	}
	if want := []string{"a-b", "a-b_create", "orders", "orders_create"}; !slices.Equal(names, want) {
		t.Errorf("endpoints %q, want %q", names, want)
	}
	if want := []string{"fn.a-b", "fn.a-b.create", "fn.orders", "fn.orders.create"}; !slices.Equal(subjects, want) {
		t.Errorf("subjects %q, want %q", subjects, want)
	}
	root := info.Endpoints[2].Metadata
	if root["function"] != "orders" || root["kind"] != wire.EndpointJSON || root["description"] != "Root does it." || root["request"] != `{"type":"string"}` {
		t.Errorf("metadata %v", root)
	}
	if _, ok := info.Endpoints[3].Metadata["request"]; ok {
		t.Errorf("metadata of an endpoint without schema: %v", info.Endpoints[3].Metadata)
	}
	for _, subject := range []string{"$SRV.PING.other", "$SRV.PING.fnhost.other", "$SRV.NONE"} {
		if _, err := f.client.Request(subject, nil, 5*time.Second); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s: %v, want no responders", subject, err)
		}
	}
}

func TestDiscoveryWithoutFunctions(t *testing.T) {
	f := start(t)
	for _, subject := range []string{"$SRV.INFO", "$SRV.STATS"} {
		if m := f.ask(t, subject, ""); !strings.Contains(string(m.Data), `"endpoints":[]`) {
			t.Errorf("%s: %s", subject, m.Data)
		}
	}
	f.close()
	if _, err := f.client.Request("$SRV.PING", nil, 5*time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("after Close: %v, want no responders", err)
	}
}

func TestInfoThatIsTooLargeComesWithoutSchemas(t *testing.T) {
	f := start(t)
	large := table("f")
	large.Functions["f"].Endpoints[0].Request = []byte(`"` + strings.Repeat("x", 9<<20) + `"`)
	f.trigger.Update(large)
	var info micro.Info
	if err := json.Unmarshal(f.ask(t, "$SRV.INFO", "").Data, &info); err != nil || len(info.Endpoints) != 2 {
		t.Errorf("%v, endpoints %+v", err, info.Endpoints)
	}
}

func TestStats(t *testing.T) {
	f := start(t, "f", "g")
	before := time.Now().Add(-time.Minute)
	f.set(func(_ context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
		time.Sleep(time.Millisecond)
		if string(inv.Payload) == "fail" {
			return nil, wire.Errorf(wire.Conflict, "taken")
		}
		return &trigger.Result{}, nil
	})
	for _, body := range []string{"ok", "fail", "ok"} {
		f.ask(t, "fn.f", body)
	}
	f.ask(t, "fn.f.create", "ok")
	f.ask(t, "fn.f.nobody", "ok") // not an endpoint: not counted under a name that a caller chooses
	s := discover[micro.Stats](t, f, micro.StatsVerb, f.trigger.service.id)
	if s.Type != micro.StatsResponseType || s.Started.Before(before) || len(s.Endpoints) != 4 {
		t.Fatalf("stats %+v", s)
	}
	root, create, other := s.Endpoints[0], s.Endpoints[1], s.Endpoints[2]
	if root.Name != "f" || root.Subject != "fn.f" || root.QueueGroup != Queue || root.NumRequests != 3 || root.NumErrors != 1 || root.LastError != "409:taken" {
		t.Errorf("root %+v", root)
	}
	if root.ProcessingTime < 3*time.Millisecond || root.AverageProcessingTime != root.ProcessingTime/3 {
		t.Errorf("times %v, %v", root.ProcessingTime, root.AverageProcessingTime)
	}
	if create.Name != "f_create" || create.NumRequests != 1 || create.NumErrors != 0 || create.LastError != "" {
		t.Errorf("create %+v", create)
	}
	if other.Name != "g" || other.NumRequests != 0 || other.AverageProcessingTime != 0 {
		t.Errorf("other %+v", other)
	}
	f.trigger.service.mu.Lock()
	n := len(f.trigger.service.stats)
	f.trigger.service.mu.Unlock()
	if n != 2 {
		t.Errorf("%d counters, want 2", n)
	}
	f.update(t, "g")
	f.update(t, "f", "g")
	s = discover[micro.Stats](t, f, micro.StatsVerb, f.trigger.service.id)
	if s.Endpoints[0].NumRequests != 0 {
		t.Errorf("a function that was removed keeps its counters: %+v", s.Endpoints[0])
	}
}
