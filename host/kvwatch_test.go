package host_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
	"github.com/fnhost/fnhost/trigger"
)

// watching tells of the changes that it sees, and fails for the key "bad".
const watching = `package shop

import (
	"context"
	"errors"
	"fmt"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/kv"
)

func Handle(ctx context.Context, e functions.Event) error {
	if e.Entry.Key == "user.bad" && e.Attempt < 3 {
		return errors.New("not yet")
	}
	text := fmt.Sprintf("%s %v %s %s", e.Bucket, e.Entry.Op, e.Entry.Key, e.Entry.Value)
	if e.Entry.Op == kv.OpExpire {
		text += functions.InvocationFrom(ctx).Trigger
	}
	return functions.Publish(ctx, "seen", text)
}

type User struct{ Name string }

func HandleNamed(ctx context.Context, u User) error { return functions.Publish(ctx, "seen", "named " + u.Name) }
`

const watchingManifest = `triggers:
  kv:
    - {bucket: sessions, keys: "user.**", start: all, retries: 1, backoff: 10ms}
    - {bucket: sessions, keys: "person.*", on: [put], endpoint: named}
`

func (f *fixture) sessions() kv.Bucket {
	f.t.Helper()
	js, err := jetstream.New(f.Conn())
	if err != nil {
		f.t.Fatal(err)
	}
	b, err := jetkv.Create(f.t.Context(), js, jetkv.Config{Bucket: "sessions"})
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *fixture) put(b kv.Bucket, key, value string, options ...kv.Option) {
	f.t.Helper()
	if _, err := b.Put(f.t.Context(), key, []byte(value), options...); err != nil {
		f.t.Fatal(err)
	}
}

func TestChangesOfKeysStartAFunction(t *testing.T) {
	f := start(t, map[string]string{"shop/shop.go": watching, "shop/function.yaml": watchingManifest}, nil)
	s := f.listen()
	f.awaitState("shop", host.Ready)
	f.await("it waits for the bucket", func() bool {
		list := f.Triggers(t.Context())
		return len(list) == 2 && list[0].Kind == trigger.KV && strings.Contains(list[0].Error, "there is no bucket sessions yet")
	})
	b := f.sessions()
	f.put(b, "user.a", "1")
	f.put(b, "other", "1")
	f.put(b, "person.1", `{"name": "Ada"}`)
	seen := func(text string) {
		t.Helper()
		f.await(text, func() bool { return s.count(text) == 1 })
	}
	seen("sessions put user.a 1")
	seen("named Ada")
	if err := b.Delete(t.Context(), "user.a"); err != nil {
		t.Fatal(err)
	}
	seen("sessions delete user.a ")
	f.put(b, "user.s", "2", kv.TTL(time.Second))
	seen("sessions expire user.s kv")
	if err := b.Delete(t.Context(), "person.1"); err != nil { // which no trigger is on
		t.Fatal(err)
	}
	f.put(b, "user.bad", "3")
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	if err := f.Redrive(t.Context(), f.letters()[0].ID, ""); err != nil {
		t.Error(err)
	}
	seen("sessions put user.bad 3")
	f.put(b, "user.fine", "4")
	seen("sessions put user.fine 4")
	f.await("nothing is left", func() bool {
		list := f.Triggers(t.Context())
		return len(list) == 2 && list[0].Pending+list[1].Pending == 0 && list[0].InFlight+list[1].InFlight == 0
	})
	for _, s := range f.Triggers(t.Context()) {
		if s.Skipped > 0 || s.LastError != "" && !s.Recovered {
			t.Errorf("%+v", s)
		}
	}

	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	f.open(nil)
	s = f.listen()
	f.put(f.sessions(), "user.later", "4")
	f.awaitState("shop", host.Ready)
	seen("sessions put user.later 4")
}

// What a handler takes must be there, which is found when it is built.
func TestAHandlerOfValuesIsOfPutsAlone(t *testing.T) {
	files := map[string]string{"shop/shop.go": watching, "shop/function.yaml": "triggers: {kv: [{bucket: sessions, endpoint: named}]}\n"}
	f := start(t, files, nil)
	f.awaitState("shop", host.Failed)
	if s, err := f.Function("shop"); err != nil || !strings.Contains(s.Error, "the kv trigger of sessions/** is for deletes and expiries, too, which have no value for HandleNamed to take") {
		t.Errorf("%q, %v", s.Error, err)
	}
	f.write("shop/function.yaml", "triggers: {kv: [{bucket: sessions, endpoint: absent}]}\n")
	f.await("the endpoint is missing", func() bool {
		s, err := f.Function("shop")
		return err == nil && strings.Contains(s.Error, `the kv trigger of sessions/** names the endpoint "absent", which the function does not have`)
	})
	f.write("shop/function.yaml", "triggers: {kv: [{bucket: sessions, on: [put], endpoint: named}]}\n")
	f.awaitState("shop", host.Ready)
}

// TestAHostKilledDuringChangesLosesNone has each key written once, and some deleted.
func TestAHostKilledDuringChangesLosesNone(t *testing.T) {
	source := strings.Replace(watching, `text := fmt`, `time.Sleep(time.Millisecond)
	text := fmt`, 1)
	source = strings.Replace(source, `	"fmt"`, `	"fmt"
	"time"`, 1)
	k := &killable{t: t, dir: benchDir(t, map[string]string{"observed/observed.go": source, "echo/echo.go": echoSource,
		"observed/function.yaml": "triggers: {kv: [{bucket: work, retries: 1000, backoff: 10ms, backoffMax: 100ms}]}\n"})}
	makeStreams(t, filepath.Join(k.dir, "data"), "unused", 2*time.Minute)
	makeBucket(t, filepath.Join(k.dir, "data"), "work")
	t.Cleanup(func() { k.kill() })
	k.start()
	k.awaitWatcher()
	const n, kills = 600, 3
	done := 0
	for range kills {
		timer := time.AfterFunc(700*time.Millisecond, func() { k.cmd.Process.Kill() })
		done = k.change(done, n)
		timer.Stop()
		k.kill()
		k.start()
	}
	k.change(done, n)
	deadline := time.Now().Add(90 * time.Second)
	for {
		counts, _, _ := k.observed()
		lost := 0
		for i := range n {
			what := fmt.Sprintf("work put k%d x", i)
			if i%10 == 0 { // the value may have gone before it was handled
				what = fmt.Sprintf("work delete k%d ", i)
			}
			if counts[what] == 0 {
				lost++
			}
		}
		if lost == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d changes are lost after %d kills", lost, n, kills)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func makeBucket(t *testing.T, dir, name string) {
	b, err := bus.Start(bus.Config{StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	js, err := jetstream.New(b.Conn())
	if err == nil {
		_, err = jetkv.Create(t.Context(), js, jetkv.Config{Bucket: name})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// awaitWatcher waits until the function is built, and its trigger is there.
func (k *killable) awaitWatcher() {
	nc, err := nats.Connect(k.nats)
	if err != nil {
		k.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		k.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); len(consumersOf(k.t, js, "KV_work")) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			k.t.Fatal("the function is not built within a minute")
		}
	}
}

// change writes keys until there are so many, or the host is killed, and deletes
// each tenth; one whose answer was lost is written again.
func (k *killable) change(from, to int) int {
	nc, err := nats.Connect(k.nats, nats.NoReconnect())
	if err != nil {
		return from
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		k.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(k.t.Context(), 30*time.Second)
	defer cancel()
	b, err := jetkv.Open(ctx, js, "work")
	for i := from; i < to && err == nil; i++ {
		key := fmt.Sprint("k", i)
		if _, err = b.Put(ctx, key, []byte("x")); err == nil && i%10 == 0 {
			err = b.Delete(ctx, key)
		}
		if err != nil {
			return i
		}
		time.Sleep(2 * time.Millisecond)
	}
	if err != nil {
		return from
	}
	return to
}
