package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
)

func TestRestoredStreamGoesOnWhereItWas(t *testing.T) {
	ctx := t.Context()
	s := newServer(t)
	stream := s.stream(jetstream.StreamConfig{Name: "events", Subjects: []string{"shop.>"}})
	for i := range 20 {
		s.publish("shop.a", strconv.Itoa(i))
	}
	c, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy}); err != nil {
		t.Fatal(err)
	}
	batch, err := c.Fetch(10)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for m := range batch.Messages() {
		if n++; n != 4 { // one stays
			if err := m.DoubleAck(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := stream.DeleteMsg(ctx, 20); err != nil {
		t.Fatal(err)
	}
	before, err := stream.GetMsg(ctx, 5)
	if err != nil {
		t.Fatal(err)
	}
	s.file("callback.key", "secret")
	s.file("run/left", "out")
	s.file("master.key", "out")
	s.file("git/repos/a.git/refs/heads/x", "1")
	s.file("git/repos/a.git/objects/pack/tmp_x", "out")
	s.file("git/repos/a.git/objects/incoming-1/x", "out")
	s.file("git/repos/"+strings.Repeat("long", 50)+".git/HEAD", "1")
	if err := os.Mkdir(filepath.Join(s.dir, "git/repos/a.git/refs/tags"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := restored(t, s.backup())
	stream, err = r.js.Stream(ctx, "events")
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(ctx)
	if err != nil || info.State.Msgs != 19 || info.State.LastSeq != 20 || info.State.Consumers != 1 {
		t.Errorf("restored with %+v, %v", info.State, err)
	}
	if m, err := stream.GetMsg(ctx, 5); err != nil || !m.Time.Equal(before.Time) || string(m.Data) != "4" {
		t.Errorf("message 5 is %+v, %v", m, err)
	}
	c, err = stream.Consumer(ctx, "reader")
	if err != nil {
		t.Fatal(err)
	}
	if i := c.CachedInfo(); i.NumAckPending != 1 || i.NumPending != 9 || i.AckFloor.Stream != 3 {
		t.Errorf("the consumer has %+v", i)
	}
	for file, there := range map[string]bool{
		"callback.key": true, "run/left": false, "master.key": false, "git/repos/a.git/refs/heads/x": true, "git/repos/a.git/refs/tags": true,
		"git/repos/a.git/objects/pack/tmp_x": false, "git/repos/a.git/objects/incoming-1": false,
		"git/repos/" + strings.Repeat("long", 50) + ".git/HEAD": true,
	} {
		if _, err := os.Stat(filepath.Join(r.dir, file)); (err == nil) != there {
			t.Errorf("%s: %v, want it there: %v", file, err, there)
		}
	}
}

func TestEmptyAndWorkQueueStreamsAreRestored(t *testing.T) {
	ctx := t.Context()
	s := newServer(t)
	s.stream(jetstream.StreamConfig{Name: "empty", Subjects: []string{"empty.>"}})
	emptied := s.stream(jetstream.StreamConfig{Name: "emptied", Subjects: []string{"emptied.>"}})
	s.stream(jetstream.StreamConfig{Name: "work", Subjects: []string{"work.>"}, Retention: jetstream.WorkQueuePolicy})
	s.stream(jetstream.StreamConfig{Name: "memory", Subjects: []string{"memory.>"}, Storage: jetstream.MemoryStorage})
	for range 3 {
		s.publish("emptied.x", "x")
		s.publish("work.x", "x")
		s.publish("memory.x", "x")
	}
	if err := emptied.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	r := restored(t, s.backup())
	for name, want := range map[string][2]uint64{"empty": {0, 0}, "emptied": {0, 3}, "work": {3, 3}} {
		stream, err := r.js.Stream(ctx, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if state := stream.CachedInfo().State; state.Msgs != want[0] || state.LastSeq != want[1] {
			t.Errorf("%s: %+v", name, state)
		}
	}
	if _, err := r.js.Stream(ctx, "memory"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("a stream in memory is restored: %v", err)
	}
}

// writerOf returns a writer that calls do once when the entry of that name has begun.
type trap struct {
	bytes.Buffer
	name string
	do   func()
}

func (w *trap) Write(p []byte) (int, error) {
	if w.do != nil && bytes.Contains(p, []byte(w.name)) {
		do := w.do
		w.do = nil
		do()
	}
	return w.Buffer.Write(p)
}

// What is replaced, deleted and added between a snapshot and its tail is as the bucket has it at the end.
func TestBucketThatChangesMeanwhile(t *testing.T) {
	for _, history := range []int{1, 3} {
		t.Run(fmt.Sprint("history ", history), func(t *testing.T) {
			ctx := t.Context()
			s := newServer(t)
			b, err := jetkv.Create(ctx, s.js, jetkv.Config{Bucket: "b", History: history})
			if err != nil {
				t.Fatal(err)
			}
			put := func(key, value string, o ...kv.Option) {
				t.Helper()
				if _, err := b.Put(ctx, key, []byte(value), o...); err != nil {
					t.Fatal(err)
				}
			}
			for _, key := range []string{"same", "replaced", "deleted", "expires", "often"} {
				put(key, "old")
			}
			w := &trap{name: filesDir + "admin.token"}
			s.file("admin.token", "x")
			w.do = func() { // between the snapshots and the tails
				put("replaced", "new")
				put("added", "new")
				for i := range 5 {
					put("often", fmt.Sprint("new", i), kv.TTL(time.Second))
				}
				if err := b.Delete(ctx, "deleted"); err != nil {
					t.Error(err)
				}
				put("expires", "new", kv.TTL(time.Second))
			}
			if err := Write(ctx, w, Source{Accounts: s.accounts(), Dir: s.dir}); err != nil {
				t.Fatal(err)
			}
			want, err := b.Get(ctx, "added")
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the expiry", func() bool {
				_, err1 := b.Get(ctx, "expires")
				_, err2 := b.Get(ctx, "often")
				return errors.Is(err1, kv.ErrNotFound) && errors.Is(err2, kv.ErrNotFound)
			})
			r := restored(t, w.Bytes())
			again, err := jetkv.Open(ctx, r.js, "b")
			if err != nil {
				t.Fatal(err)
			}
			for key, value := range map[string]string{"same": "old", "replaced": "new", "added": "new", "deleted": "", "expires": "", "often": ""} {
				e, err := again.Get(ctx, key)
				if value == "" && !errors.Is(err, kv.ErrNotFound) || value != "" && (err != nil || string(e.Value) != value) {
					t.Errorf("%s is %q, %v: want %q", key, e.Value, err, value)
				}
			}
			if e, err := again.Get(ctx, "added"); err != nil || e.Revision != want.Revision {
				t.Errorf("the revision is %d, want %d (%v)", e.Revision, want.Revision, err)
			}
		})
	}
}

// Under load no key is lost, and no value that was acknowledged before.
func TestBackupUnderLoadLosesNothing(t *testing.T) {
	s := newServer(t)
	const keys = 2000
	b, err := jetkv.Create(t.Context(), s.js, jetkv.Config{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	s.stream(jetstream.StreamConfig{Name: "events", Subjects: []string{"shop.>"}})
	var acked [keys]atomic.Int64
	put := func(ctx context.Context, key int, n int64) bool {
		_, err := b.Put(ctx, fmt.Sprint("k", key), []byte(strconv.FormatInt(n, 10)+strings.Repeat(" ", 500)))
		if err == nil {
			acked[key].Store(n)
		}
		return err == nil
	}
	for key := range keys {
		if !put(t.Context(), key, 1) {
			t.Fatal("the bucket takes nothing")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for writer := range 4 {
		wg.Go(func() {
			for n := int64(2); ctx.Err() == nil; n++ {
				for key := writer; key < keys && ctx.Err() == nil; key += 4 {
					put(ctx, key, n)
				}
			}
		})
	}
	var events atomic.Int64
	wg.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if _, err := s.js.Publish(ctx, "shop.a", []byte(strconv.Itoa(n))); err == nil {
				events.Add(1)
			}
		}
	})
	eventually(t, "load", func() bool { return acked[keys-1].Load() > 2 && events.Load() > 100 })
	var before [keys]int64
	for key := range keys {
		before[key] = acked[key].Load()
	}
	sent := events.Load()
	data := s.backup()
	cancel()
	wg.Wait()
	r := restored(t, data)
	again, err := jetkv.Open(t.Context(), r.js, "b")
	if err != nil {
		t.Fatal(err)
	}
	lost, old := 0, 0
	for key := range keys {
		e, err := again.Get(t.Context(), fmt.Sprint("k", key))
		if err != nil {
			lost++
			continue
		}
		if n, _ := strconv.ParseInt(strings.TrimSpace(string(e.Value)), 10, 64); n < before[key] {
			old++
		}
	}
	if lost > 0 || old > 0 {
		t.Errorf("of %d keys %d are lost, and %d are older than before the backup", keys, lost, old)
	}
	stream, err := r.js.Stream(t.Context(), "events")
	if err != nil {
		t.Fatal(err)
	}
	if got := int64(stream.CachedInfo().State.Msgs); got < sent {
		t.Errorf("%d of %d events are there", got, sent)
	}
}

// An event that is acknowledged in a backup has in it what its handler has published, in the same stream too.
func TestAcknowledgedEventHasWhatItLedTo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newServer(t)
	stream := s.stream(jetstream.StreamConfig{Name: "events", Subjects: []string{"in", "out"}})
	c, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "handler", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "in", AckWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	const total = 3000
	for i := range total {
		s.publish("in", strconv.Itoa(i))
	}
	var handled atomic.Int64
	handler, err := c.Consume(func(m jetstream.Msg) {
		if _, err := s.js.Publish(ctx, "out", m.Data()); err == nil {
			m.Ack()
			handled.Add(1)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "some events", func() bool { return handled.Load() > 200 })
	data := s.backup()
	cancel()
	handler.Stop()
	<-handler.Closed()
	r := restored(t, data)
	out := make(map[string]bool)
	stream, err = r.js.Stream(t.Context(), "events")
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); ; seq++ {
		m, err := stream.GetMsg(t.Context(), seq, jetstream.WithGetMsgSubject("out"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		out[string(m.Data)], seq = true, m.Sequence
	}
	c, err = stream.Consumer(t.Context(), "handler")
	if err != nil {
		t.Fatal(err)
	}
	floor, missing := int(c.CachedInfo().AckFloor.Consumer), 0
	for i := range floor {
		if !out[strconv.Itoa(i)] {
			missing++
		}
	}
	t.Logf("%d events are acknowledged, %d have a result", floor, len(out))
	if missing > 0 {
		t.Errorf("of %d events that are acknowledged %d have no result", floor, missing)
	}
}

func TestRestoreRefusesWhatTheServerDoes(t *testing.T) {
	data := small(t)
	s := newServer(t)
	s.stream(jetstream.StreamConfig{Name: "events", Subjects: []string{"other"}})
	index, err := Verify(t.Context(), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	err = index.RestoreStreams(t.Context(), bytes.NewReader(data), s.accounts())
	if err == nil || !strings.Contains(err.Error(), "stream events of account default") {
		t.Errorf("got %v", err)
	}
	changed := bytes.Clone(data)
	changed[bytes.Index(changed, []byte("sha256:abc"))]++
	if err := index.RestoreFiles(t.Context(), bytes.NewReader(changed), t.TempDir()); !errors.Is(err, ErrDamaged) {
		t.Errorf("a file that was changed after it was verified: %v", err)
	}
}

func TestBackupEndsWithItsWriterAndItsContext(t *testing.T) {
	s := newServer(t)
	s.stream(jetstream.StreamConfig{Name: "events", Subjects: []string{"shop.>"}})
	for range 40 {
		s.publish("shop.a", strings.Repeat("x", 100_000))
	}
	full := errors.New("the disk is full")
	err := Write(t.Context(), failing{full}, Source{Accounts: s.accounts(), Dir: s.dir})
	if !errors.Is(err, full) {
		t.Errorf("a writer that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &trap{name: partPrefix, do: cancel}
	if err := Write(ctx, w, Source{Accounts: s.accounts(), Dir: s.dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if err := verify(w.Bytes()); !errors.Is(err, ErrDamaged) {
		t.Errorf("what was written until then: %v", err)
	}
	if err := verify(s.backup()); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !check(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

// A bucket that is made while a backup begins may hold what an event has led to.
func TestStreamThatIsMadeMeanwhile(t *testing.T) {
	s := newServer(t)
	s.stream(jetstream.StreamConfig{Name: "events", Subjects: []string{"shop.>"}})
	s.publish("shop.a", "x")
	gone := s.stream(jetstream.StreamConfig{Name: "zgone", Subjects: []string{"gone.>"}})
	w := &trap{name: "events/" + partPrefix, do: func() {
		s.stream(jetstream.StreamConfig{Name: "new", Subjects: []string{"new.>"}})
		s.publish("new.a", "x")
		if err := s.js.DeleteStream(t.Context(), gone.CachedInfo().Config.Name); err != nil {
			t.Error(err)
		}
	}}
	if err := Write(t.Context(), w, Source{Accounts: s.accounts(), Dir: s.dir}); err != nil {
		t.Fatal(err)
	}
	r := restored(t, w.Bytes())
	if stream, err := r.js.Stream(t.Context(), "new"); err != nil || stream.CachedInfo().State.Msgs != 1 {
		t.Errorf("the new stream: %v", err)
	}
	if _, err := r.js.Stream(t.Context(), "zgone"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("a stream that is no more: %v", err)
	}
}
