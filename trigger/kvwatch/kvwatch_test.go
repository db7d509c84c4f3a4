package kvwatch

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/event"
)

func TestEachChangeIsHandled(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{})
	f.put(b, "before", "x")
	f.serve(spec())
	f.put(b, "a", "1", "a", "2")
	f.awaitSeen("put a 2", 1)
	f.must(b.Delete(t.Context(), "a"))
	f.awaitSeen("delete a", 1)
	rev, err := b.Put(t.Context(), "s", []byte("3"), kv.TTL(4*time.Second)) // before which it must be seen
	f.must(err)
	f.awaitSeen("expire s", 1)
	f.idle()
	if c := f.call("put s 3"); c.trigger != trigger.KV || c.bucket != "b" || c.revision != int64(rev) || c.attempt != 1 || !c.expires {
		t.Errorf("got %+v, of revision %d", c, rev)
	}
	if c := f.call("expire s"); c.revision <= int64(rev) || c.expires {
		t.Errorf("got %+v", c)
	}
	if slices.Contains(f.seen(), "put before x") {
		t.Error("what was there before is no change")
	}
}

// All are triggers of one function, and of one bucket.
func TestWhichChangesATriggerTakes(t *testing.T) {
	tests := []struct {
		keys string
		on   []string
		want string
	}{
		{"**", nil, "delete user.1,expire user.2,put order.1 x,put user.1 x,put user.1.a x,put user.2 x,put users x"},
		{"user.*", nil, "delete user.1,expire user.2,put user.1 x,put user.2 x"},
		{"user.**", []string{"put"}, "put user.1 x,put user.1.a x,put user.2 x"},
		{"user*", nil, "put users x"},
		{"**.a", nil, "put user.1.a x"},
		{"?rder.1", nil, "put order.1 x"},
		{"user.1", nil, "delete user.1,put user.1 x"},
		{"**", []string{"delete", "expire"}, "delete user.1,expire user.2"},
		{"*.2", []string{"expire"}, "expire user.2"},
	}
	f := newFixture(t)
	b := f.bucket(jetkv.Config{})
	var specs []manifest.KV
	for i, test := range tests {
		specs = append(specs, spec(func(k *manifest.KV) { k.Keys, k.On, k.Endpoint = test.keys, test.on, fmt.Sprint("e", i) }))
	}
	f.serve(specs...)
	f.put(b, "user.1", "x", "user.1.a", "x", "order.1", "x", "users", "x")
	f.idle()
	f.must(b.Delete(t.Context(), "user.1"))
	_, err := b.Put(t.Context(), "user.2", []byte("x"), kv.TTL(4*time.Second))
	f.must(err)
	f.awaitSeen("expire user.2", 4)
	f.idle()
	got := make(map[string][]string)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		got[c.endpoint] = append(got[c.endpoint], c.change)
	}
	for i, test := range tests {
		list := got[fmt.Sprint("e", i)]
		slices.Sort(list)
		if strings.Join(list, ",") != test.want {
			t.Errorf("%s %v: got %q, want %s", test.keys, test.on, list, test.want)
		}
	}
}

// What is there is put once for each key, whatever was before it.
func TestATriggerThatBeginsWithAll(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{})
	f.put(b, "a", "1", "a", "2", "b", "3")
	f.serve(spec(func(k *manifest.KV) { k.Start = "all" }))
	f.awaitSeen("put a 2", 1)
	f.awaitSeen("put b 3", 1)
	f.idle()
	if got := f.seen(); len(got) != 2 {
		t.Errorf("handled %q", got)
	}
}

func TestAChangeIsRetriedUntilItSucceeds(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{})
	f.set(func(_ context.Context, c call) error {
		if c.attempt < 3 {
			return failing()
		}
		return nil
	})
	f.serve(spec())
	f.put(b, "a", "1")
	f.awaitSeen("put a 1", 3)
	f.must(b.Delete(t.Context(), "a"))
	f.awaitSeen("delete a", 3)
	f.idle()
	if got := len(f.seen()); got != 6 || len(f.letters()) != 0 {
		t.Errorf("%d attempts, dead letters %v", got, f.letters())
	}
}

// A value that is replaced while it waits for a retry makes place for the one that replaces it.
func TestAValueThatIsReplacedIsNotTriedAgain(t *testing.T) {
	for _, order := range []string{manifest.OrderNone, manifest.OrderKey} {
		t.Run(order, func(t *testing.T) {
			f := newFixture(t)
			b := f.bucket(jetkv.Config{})
			f.set(func(_ context.Context, c call) error {
				if c.change == "put a 1" {
					return failing()
				}
				return nil
			})
			f.serve(spec(func(k *manifest.KV) { k.Backoff, k.Order = 500*time.Millisecond, order }))
			f.put(b, "a", "1")
			f.awaitSeen("put a 1", 1)
			f.put(b, "a", "2")
			f.awaitSeen("put a 2", 1)
			f.idle()
			if l := f.letters(); len(l) > 0 { // on a slow machine it may have been tried again before
				t.Logf("dead letters %+v", l)
			}
		})
	}
}

func TestDeadLettersAreRedrivenAsTheChangeTheyWere(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{})
	f.set(func(context.Context, call) error { return failing() })
	f.serve(spec(func(k *manifest.KV) { k.Retries = 1 }))
	for i, change := range []string{"put a 1", "delete a", "put s x", "expire s"} {
		switch i {
		case 0:
			f.put(b, "a", "1")
		case 1:
			f.must(b.Delete(t.Context(), "a"))
		case 2:
			_, err := b.Put(t.Context(), "s", []byte("x"), kv.TTL(4*time.Second))
			f.must(err)
		}
		f.await("a dead letter", func() bool { return len(f.letters()) == i+1 })
		if l := f.letters()[i]; l.Stream != "KV_b" || !strings.HasPrefix(l.Subject, "$KV.b.") || len(l.Header) > 0 || l.Attempts != 2 {
			t.Errorf("%s: %+v", change, l)
		}
	}
	f.set(nil)
	f.mu.Lock()
	f.calls = nil
	f.mu.Unlock()
	for _, l := range f.letters() {
		f.must(f.trigger.Redrive(t.Context(), l.ID, ""))
	}
	if got, want := f.seen(), []string{"put a 1", "delete a", "put s x", "expire s"}; !slices.Equal(got, want) {
		t.Errorf("redriven: %q, want %q", got, want)
	}
	if c := f.call("put s x"); c.trigger != trigger.KV || c.bucket != "b" || !c.expires || c.attempt != 3 {
		t.Errorf("got %+v", c)
	}
}

// In a bucket with history the server keeps a marker of expiry for a second.
func TestAnExpiryThatCannotBeTriedAgainIsADeadLetter(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{History: 3})
	f.set(func(_ context.Context, c call) error {
		if c.change == "expire s" {
			return failing()
		}
		return nil
	})
	f.serve(spec(func(k *manifest.KV) { k.Backoff = time.Second }))
	var put time.Time
	f.await("a dead letter", func() bool {
		if time.Since(put) > 5*time.Second { // and once more, if this machine stands still for the second
			_, err := b.Put(t.Context(), "s", []byte("x"), kv.TTL(time.Second))
			f.must(err)
			put = time.Now()
		}
		return len(f.letters()) > 0
	})
	if l := f.letters()[0]; l.Attempts != 1 || !strings.Contains(l.Error, "its stream forgets it before") {
		t.Errorf("%+v", l)
	}
	f.idle()
}

func TestChangesOfAKeyInOrder(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{History: 64})
	var mu sync.Mutex
	running, last := make(map[string]bool), make(map[string]int64)
	var wrong []string
	f.set(func(_ context.Context, c call) error {
		key := strings.Fields(c.change)[1]
		mu.Lock()
		if running[key] || c.attempt == 1 && c.revision < last[key] {
			wrong = append(wrong, c.change)
		}
		running[key], last[key] = true, c.revision
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		running[key] = false
		if c.revision%7 == 0 && c.attempt == 1 {
			return failing()
		}
		return nil
	})
	f.serve(spec(func(k *manifest.KV) { k.Order = manifest.OrderKey }))
	const n = 20
	for i := range n {
		for _, key := range []string{"a", "b", "c"} {
			f.put(b, key, strconv.Itoa(i))
		}
	}
	for i := range n {
		for _, key := range []string{"a", "b", "c"} {
			f.awaitSeen(fmt.Sprintf("put %s %d", key, i), 1)
		}
	}
	f.idle()
	mu.Lock()
	defer mu.Unlock()
	if len(wrong) > 0 {
		t.Errorf("beside or behind others of their key: %q", wrong)
	}
}

func TestTheLatestChangeOfAKeyThatIsQuiet(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{})
	f.serve(spec(func(k *manifest.KV) { k.Debounce = 100 * time.Millisecond }))
	for i := range 50 {
		f.put(b, "a", strconv.Itoa(i))
	}
	f.awaitSeen("put a 49", 1)
	f.idle()
	if got := f.seen(); len(got) > 25 { // one, but for a machine that stands still meanwhile
		t.Errorf("%d of 50 were handled", len(got))
	}
}

func TestChangesInBatches(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{})
	f.serve(spec(func(k *manifest.KV) { k.Batch = &manifest.Batch{Size: 10, Window: 50 * time.Millisecond} }))
	for i := range 25 {
		f.put(b, fmt.Sprint("k", i), "x")
	}
	f.must(b.Delete(t.Context(), "k0"))
	for i := range 25 {
		if i > 0 {
			f.awaitSeen(fmt.Sprintf("put k%d x", i), 1)
		}
	}
	f.awaitSeen("delete k0", 1)
	f.idle()
	if c := f.call("delete k0"); c.trigger != trigger.KV || c.bucket != "b" {
		t.Errorf("%+v", c)
	}
}

// What is still in the bucket when the host comes back is handled.
func TestARestartLeavesNothingOut(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{})
	hold := make(chan bool)
	f.set(func(ctx context.Context, c call) error {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	f.serve(spec())
	const n = 40
	for i := range n / 2 {
		f.put(b, fmt.Sprint("k", i), "x")
	}
	f.must(b.Delete(t.Context(), "k3"))
	f.await("some are in progress", func() bool { return len(f.seen()) >= 8 })
	close(hold)
	f.close() // in the middle
	for i := range n / 2 {
		f.put(b, fmt.Sprint("k", n/2+i), "x")
	}
	f.must(b.Delete(t.Context(), "k4"))
	_, err := b.Put(t.Context(), "s", []byte("x"), kv.TTL(time.Second))
	f.must(err)
	f.stop()
	time.Sleep(1100 * time.Millisecond) // it expires while no server runs
	f.start()
	f.serve(spec())
	for i := range n {
		if i != 3 && i != 4 { // which may have been deleted first
			f.awaitSeen(fmt.Sprintf("put k%d x", i), 1)
		}
	}
	for _, change := range []string{"delete k3", "delete k4", "expire s"} {
		f.awaitSeen(change, 1)
	}
	f.idle()
}

func TestABucketThatIsMadeLaterAndDroppedAndMadeAnew(t *testing.T) {
	f := newFixture(t)
	f.declare(spec())
	waits := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.problem != nil && strings.Contains(f.problem.Error(), "there is no bucket b yet")
	}
	f.await("it waits for the bucket", waits)
	for i := range 3 {
		b := f.bucket(jetkv.Config{})
		f.put(b, "first", strconv.Itoa(i)) // before the trigger can have its consumer
		f.awaitSeen(fmt.Sprint("put first ", i), 1)
		f.ready()
		f.put(b, "second", strconv.Itoa(i))
		f.awaitSeen(fmt.Sprint("put second ", i), 1)
		f.idle()
		f.must(jetkv.Drop(t.Context(), f.js, "b"))
		if i == 0 { // and else it is made anew at once
			f.await("it waits again", waits)
		}
	}
	if got := f.seen(); len(got) != 6 {
		t.Errorf("handled %q", got)
	}
}

func TestAStatusOfKVTriggers(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{})
	f.set(func(context.Context, call) error { return failing() })
	f.serve(spec(func(k *manifest.KV) {
		k.Keys, k.Backoff, k.Endpoint = "user.**", time.Minute, "changed"
		k.BackoffMax = time.Minute
	}))
	f.put(b, "user.a", "1")
	f.awaitSeen("put user.a 1", 1)
	f.await("the failure is shown", func() bool { return f.trigger.Status(t.Context())[0].LastError != "" })
	s := f.trigger.Status(t.Context())[0]
	if s.Kind != trigger.KV || s.Bucket != "b" || s.Keys != "user.**" || s.Subject != "" || s.Stream != "KV_b" || s.Endpoint != "changed" || s.InFlight != 1 || s.Oldest == nil {
		t.Errorf("%+v", s)
	}
	for _, name := range []string{"b/user.**", "b", ""} {
		list, err := f.trigger.Pause(t.Context(), "shop", name, time.Time{})
		if err != nil || len(list) != 1 || !list[0].Paused {
			t.Errorf("pause %q: %+v, %v", name, list, err)
		}
		if list, err = f.trigger.Resume(t.Context(), "shop", name); err != nil || len(list) != 1 || list[0].Paused {
			t.Errorf("resume %q: %+v, %v", name, list, err)
		}
	}
}

func TestReplayOfChanges(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{})
	f.put(b, "user.a", "1", "user.b", "2", "other", "3")
	f.must(b.Delete(t.Context(), "user.b"))
	f.serve(spec(func(k *manifest.KV) { k.Keys = "user.**" }))
	for subject, want := range map[string][]string{
		"": {"put user.a 1", "delete user.b"}, "b": {"put user.a 1", "delete user.b"}, "b/user.**": {"put user.a 1", "delete user.b"}, "$KV.b.user.a": {"put user.a 1"},
	} {
		f.mu.Lock()
		f.calls = nil
		f.mu.Unlock()
		err := f.trigger.Replay(t.Context(), event.Replay{Function: "shop", Subject: subject}, func(event.Plan) error { return nil }, func(r event.Replayed) error { return r.Err })
		if got := f.seen(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q", subject, got, err, want)
		}
		if c := f.call("put user.a 1"); !c.replayed || c.trigger != trigger.KV {
			t.Errorf("%+v", c)
		}
	}
}

// A trigger that changes nothing but what it is on goes on where it was.
func TestAChangeOfOnKeepsThePlace(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{})
	f.serve(spec(func(k *manifest.KV) { k.On = []string{"delete"} }))
	f.put(b, "a", "1")
	f.idle()
	f.declare()
	f.await("it is gone", func() bool { return len(f.trigger.Status(t.Context())) == 0 })
	f.put(b, "b", "2")
	f.serve(spec(func(k *manifest.KV) { k.On = []string{"put"} }))
	f.awaitSeen("put b 2", 1)
	f.put(b, "c", "3")
	f.awaitSeen("put c 3", 1)
	f.idle()
	if got := f.seen(); len(got) != 2 {
		t.Errorf("handled %q", got)
	}
}

func TestBucketsOfOtherClients(t *testing.T) {
	f := newFixture(t)
	theirs, err := f.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
	f.must(err)
	f.serve(spec())
	_, err = theirs.Put(t.Context(), "a", []byte("1"))
	f.must(err)
	f.awaitSeen("put a 1", 1)
	f.must(theirs.Delete(t.Context(), "a"))
	f.awaitSeen("delete a", 1)
	f.must(theirs.Purge(t.Context(), "a"))
	f.awaitSeen("delete a", 2)
	if err := f.letters(); len(err) > 0 {
		t.Error(err)
	}
}

// A function that changes the key it is run for ends after a while, if its writes say
// what has led to them.
func TestALoopHasAnEnd(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{})
	f.set(func(ctx context.Context, c call) error {
		_, err := b.Put(jetkv.WithHeader(ctx, event.HeaderDepth, strconv.Itoa(c.depth+1)), "a", []byte("x"))
		return err
	})
	f.serve(spec())
	f.put(b, "a", "x")
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	if l := f.letters()[0]; l.Code != string(wire.Loop) || len(f.seen()) < 33 {
		t.Errorf("after %d rounds: %+v", len(f.seen()), l)
	}
}

// Here a bucket that forgets an expiry after a second.
func TestWhatABucketHasForgottenIsTold(t *testing.T) {
	f := newFixture(t)
	b := f.bucket(jetkv.Config{History: 2})
	f.serve(spec())
	f.put(b, "a", "1")
	f.awaitSeen("put a 1", 1)
	f.idle()
	f.close()
	_, err := b.Put(t.Context(), "s", []byte("x"), kv.TTL(time.Second))
	f.must(err)
	stream, err := f.js.Stream(t.Context(), "KV_b")
	f.must(err)
	f.await("key and marker are gone", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.LastSeq == 3 && info.State.Msgs == 1 && time.Since(info.State.LastTime) > 1500*time.Millisecond
	})
	f.open()
	f.serve(spec())
	f.await("a warning", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return strings.Contains(f.log.String(), "2 changes were made while nobody read them")
	})
}
