package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t *testing.T) (*Store, kv.Bucket) {
	t.Helper()
	dir, err := os.MkdirTemp("", "config")
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
	js, err := jetstream.New(b.Control())
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := jetkv.Create(t.Context(), js, jetkv.Config{Bucket: Bucket, History: History})
	if err != nil {
		t.Fatal(err)
	}
	return NewStore(bucket), bucket
}

var (
	namespace = Layer{Namespace: "default"}
	orders    = Layer{Namespace: "default", Function: "orders"}
	ordersV7  = Layer{Namespace: "default", Function: "orders", Version: 7}
)

func set(t *testing.T, s *Store, l Layer, path, text string) *Record {
	t.Helper()
	r, err := s.Set(t.Context(), Change{Layer: l, By: "ada"}, path, value(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLayersOfAFunction(t *testing.T) {
	s, _ := newStore(t)
	set(t, s, namespace, "limits.rate", "10")
	set(t, s, namespace, "region", `"eu"`)
	set(t, s, orders, "limits.rate", "20")
	last := set(t, s, ordersV7, "beta", "true")
	state, err := s.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defaults := object(t, `{"limits":{"rate":1,"burst":2},"name":"x"}`)
	for _, test := range []struct {
		function string
		version  int
		want     string
	}{
		{"orders", 7, `{"beta":true,"limits":{"burst":2,"rate":20},"name":"x","region":"eu"}`},
		{"orders", 6, `{"limits":{"burst":2,"rate":20},"name":"x","region":"eu"}`},
		{"other", 7, `{"limits":{"burst":2,"rate":10},"name":"x","region":"eu"}`},
	} {
		if got, _ := state.Effective(defaults, "default", test.function, test.version); string(Marshal(got)) != test.want {
			t.Errorf("%s v%d: %s, want %s", test.function, test.version, Marshal(got), test.want)
		}
	}
	if _, revision := state.Effective(nil, "default", "orders", 7); revision != last.Revision {
		t.Errorf("revision %d, want %d", revision, last.Revision)
	}
	origins := state.Origins(defaults, "default", "orders", 7)
	want := map[string]Layer{"beta": ordersV7, "limits.rate": orders, "limits.burst": {}, "name": {}, "region": namespace}
	if fmt.Sprint(origins) != fmt.Sprint(want) {
		t.Errorf("origins %v, want %v", origins, want)
	}
}

func TestWritersLoseNothing(t *testing.T) {
	s, _ := newStore(t)
	const writers, each = 8, 5
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			l := namespace
			if w%2 == 1 {
				l = orders
			}
			for i := range each {
				if _, err := s.Set(context.Background(), Change{Layer: l}, fmt.Sprintf("w%d.i%d", w, i), json.Number(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	state, err := s.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	doc, _ := state.Effective(nil, "default", "orders", 0)
	if n := len(Leaves(doc)); n != writers*each {
		t.Errorf("%d values, want %d: %s", n, writers*each, Marshal(doc))
	}
}

// Each of two changes fits what is there, and both together do not.
func TestChecksHoldForWhatIsStored(t *testing.T) {
	s, _ := newStore(t)
	set(t, s, namespace, "a", "1")
	errBoth := errors.New("a and b are both 2")
	check := func(next *State) error {
		doc, _ := next.Effective(nil, "default", "orders", 0)
		if Short(doc["a"]) == "2" && Short(doc["b"]) == "2" {
			return errBoth
		}
		return nil
	}
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, l := range []Layer{namespace, orders} {
		wg.Go(func() {
			_, errs[i] = s.Set(context.Background(), Change{Layer: l, Check: check}, string(rune('a'+i)), json.Number("2"))
		})
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), errBoth) {
		t.Errorf("errors %v, want one", errs)
	}
}

func TestHistoryAndRollback(t *testing.T) {
	s, bucket := newStore(t)
	first := set(t, s, orders, "limits", `{"rate":1,"burst":2}`)
	second := set(t, s, orders, "limits.rate", "5")
	if same := set(t, s, orders, "limits.rate", "5"); same.Revision != second.Revision {
		t.Errorf("what is there already was stored again, as %d", same.Revision)
	}
	if _, err := s.Remove(t.Context(), Change{Layer: orders, By: "bob"}, "limits.burst"); err != nil {
		t.Fatal(err)
	}
	back, err := s.Rollback(t.Context(), Change{Layer: orders, By: "eve"}, first.Revision)
	if err != nil || string(Marshal(back.Values)) != `{"limits":{"burst":2,"rate":1}}` || back.Revision <= second.Revision {
		t.Errorf("rolled back to %+v, %v", back, err)
	}
	list, err := s.History(t.Context(), orders)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range list {
		got = append(got, r.By+": "+r.Change)
		if r.Time.IsZero() || r.Revision == 0 {
			t.Errorf("record %+v", r)
		}
	}
	want := []string{`ada: set limits to {"burst":2,"rate":1}`, "ada: set limits.rate to 5", "bob: removed limits.burst", fmt.Sprintf("eve: back to revision %d", first.Revision)}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("history %q, want %q", got, want)
	}
	if _, err := s.Rollback(t.Context(), Change{Layer: orders}, 1234); !errors.Is(err, ErrRevision) {
		t.Errorf("a revision that was never: %v", err)
	}
	if _, err := s.Set(t.Context(), Change{Layer: orders, Revision: second.Revision}, "a", "b"); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("set at an old revision: %v", err)
	}
	if _, err := s.Remove(t.Context(), Change{Layer: orders}, "limits.rat"); !errors.Is(err, ErrNoPath) {
		t.Errorf("remove what is not set: %v", err)
	}
	if _, err := bucket.Put(t.Context(), orders.Key(), []byte("no JSON")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.State(t.Context()); err == nil {
		t.Error("a layer that cannot be read was")
	}
}

func TestKeysOfLayers(t *testing.T) {
	for _, l := range []Layer{namespace, orders, ordersV7} {
		if got, ok := ParseKey(l.Key()); !ok || got != l || kv.ValidateKey(l.Key()) != nil {
			t.Errorf("%s: %+v %v", l.Key(), got, ok)
		}
	}
	for _, key := range []string{"generation", "namespace", "function.default", "version.default.orders.x", "version.default.orders.7.8", "other.a"} {
		if l, ok := ParseKey(key); ok {
			t.Errorf("%s is the layer %+v", key, l)
		}
	}
}
