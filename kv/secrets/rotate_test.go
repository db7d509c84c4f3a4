package secrets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fnhost/fnhost/kv"
)

// sealedWith returns how many records are sealed with which key.
func sealedWith(t testing.TB, b kv.Bucket) map[string]int {
	t.Helper()
	n := make(map[string]int)
	for e, err := range kv.All(t.Context(), b, kv.Query{Values: true}) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := decodeRecord(e.Key, e.Value)
		if err != nil {
			t.Fatal(err)
		}
		n[r.Key]++
	}
	return n
}

func TestRotationSealsAllAnew(t *testing.T) {
	b, source := bucket(t, server(t)), own(t)
	s := mustOpen(t, b, source)
	_, err := s.Rotate(t.Context())
	wantErr(t, err, ErrNothingToRotate)
	for i := range 5 {
		s.set(t, "db", fmt.Sprint("value-", i))
	}
	old := s.keyring().Primary()
	var rewrapped []string
	s.cfg.Rewrap = func(r *Keyring) error { rewrapped = r.IDs(); return nil }
	done, err := s.Rotate(t.Context())
	if err != nil || done.Rewrapped != 5 || !done.Owned || len(done.Dropped) != 1 || done.Dropped[0] != old.ID() {
		t.Fatalf("%+v, %v", done, err)
	}
	if len(rewrapped) != 2 || rewrapped[0] != done.Key {
		t.Errorf("others were told of the keys %q", rewrapped)
	}
	if n := sealedWith(t, b); n[done.Key] != 6 || len(n) != 1 {
		t.Errorf("sealed with %v, want 6 with %s", n, done.Key)
	}
	text, err := os.ReadFile(source.Own)
	if err != nil || strings.Contains(string(text), old.Text()) {
		t.Errorf("the old key is still there: %v", err)
	}
	s.want(t, "db", "value-4", 5)
	s.Close()
	mustOpen(t, b, source).want(t, "db", "value-4", 5)
}

// A host that is killed in the middle of a rotation starts, and finishes it.
func TestRotationGoesOnAfterAKill(t *testing.T) {
	js := server(t)
	killed := errors.New("killed")
	for stop := 1; ; stop++ {
		b, source := bucket(t, js), own(t)
		s := mustOpen(t, b, source)
		for i := range 3 {
			s.set(t, fmt.Sprint("s", i), fmt.Sprint("value of ", i))
		}
		n := 0
		s.fault = func(string) error {
			if n++; n == stop {
				return killed
			}
			return nil
		}
		_, err := s.Rotate(t.Context())
		s.Close()
		again := mustOpen(t, b, source)
		for i := range 3 {
			again.want(t, fmt.Sprint("s", i), fmt.Sprint("value of ", i), 1)
		}
		again.set(t, "late", "set in between")
		done, err2 := again.Rotate(t.Context())
		if err2 != nil {
			t.Fatalf("stopped at step %d: %v", stop, err2)
		}
		if n := sealedWith(t, b); len(n) != 1 || n[done.Key] != 5 {
			t.Errorf("stopped at step %d: sealed with %v, want 5 with %s", stop, n, done.Key)
		}
		if ids, err := KeysOf(t.Context(), b); err != nil || len(ids) != 1 || ids[0] != done.Key {
			t.Errorf("stopped at step %d: the keys of the bucket are %q, %v", stop, ids, err)
		}
		again.Close()
		last := mustOpen(t, b, source)
		if ids := last.keyring().IDs(); len(ids) != 1 || ids[0] != done.Key {
			t.Errorf("stopped at step %d: the keys are %q", stop, ids)
		}
		for i := range 3 {
			last.want(t, fmt.Sprint("s", i), fmt.Sprint("value of ", i), 1)
		}
		last.want(t, "late", "set in between", 1)
		last.Close()
		if err == nil {
			if stop < 6 {
				t.Errorf("there were only %d steps", stop-1)
			}
			return
		}
		wantErr(t, err, killed)
	}
}

func TestRotationsUnderReadersAndWriters(t *testing.T) {
	b, source := bucket(t, server(t)), own(t)
	s := mustOpen(t, b, source)
	for i := range 3 {
		s.set(t, fmt.Sprint("s", i), fmt.Sprint("value of ", i))
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	var reads, writes atomic.Int64
	for i := range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				s.mu.Lock()
				s.forget(fmt.Sprint("s", i)) // so that it is opened
				s.mu.Unlock()
				got, _, err := s.Get(t.Context(), fmt.Sprint("s", i))
				if err != nil || string(got) != fmt.Sprint("value of ", i) {
					t.Errorf("read %q, %v", got, err)
					return
				}
				reads.Add(1)
				time.Sleep(5 * time.Millisecond) // or nobody else gets to run
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			n := writes.Add(1)
			if _, err := s.Set(t.Context(), "written", []byte(fmt.Sprint("value ", n)), ""); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	for range 100 {
		if _, err := s.Rotate(t.Context()); err != nil {
			t.Error(err)
			break
		}
	}
	stop()
	wg.Wait()
	t.Logf("%d reads, %d writes", reads.Load(), writes.Load())
	s.want(t, "written", fmt.Sprint("value ", writes.Load()), int(writes.Load()))
	s.Close()
	mustOpen(t, b, source).want(t, "s1", "value of 1", 1)
}

// Of a source that is not the host's own the user changes the keys.
func TestRotationOfAForeignSource(t *testing.T) {
	b := bucket(t, server(t))
	first, second := NewKey(), NewKey()
	source := &Source{File: keyFile(t, first)}
	s := mustOpen(t, b, source)
	s.set(t, "db", "value")
	_, err := s.Rotate(t.Context())
	wantErr(t, err, ErrNothingToRotate)
	if !strings.Contains(err.Error(), "before the old one") {
		t.Errorf("%v does not say what to do", err)
	}
	write := func(keys ...Key) {
		if err := os.WriteFile(source.File, []byte("# keys\n"+NewKeyring(keys...).Text()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(second) // too early
	_, err = s.Rotate(t.Context())
	wantErr(t, err, ErrWrongKey)
	s.want(t, "db", "value", 1)
	write(first, second) // in the wrong order
	_, err = s.Rotate(t.Context())
	wantErr(t, err, ErrNothingToRotate)
	write(first)
	other := mustOpen(t, b, source)
	write(second, first)
	done, err := s.Rotate(t.Context())
	if err != nil || done.Owned || done.Key != second.ID() || done.Rewrapped != 1 || len(done.Dropped) != 1 || done.Dropped[0] != first.ID() {
		t.Fatalf("%+v, %v", done, err)
	}
	eventually(t, "the other host knows", func() bool { return other.checkID() == second.ID() })
	_, _, err = other.Get(t.Context(), "db")
	wantErr(t, err, ErrWrongKey)
	if done, err := other.Rotate(t.Context()); err != nil || done.Rewrapped != 0 || done.Key != second.ID() {
		t.Errorf("on the other host: %+v, %v", done, err)
	}
	other.want(t, "db", "value", 1)
	write(second)
	for _, store := range []*Store{s, other} {
		_, err = store.Rotate(t.Context())
		wantErr(t, err, ErrNothingToRotate)
		if ids := store.keyring().IDs(); len(ids) != 1 {
			t.Errorf("the keys are %q", ids)
		}
	}
	s.Close()
	mustOpen(t, b, source).want(t, "db", "value", 1)
}

// A version that does not open is told, and does not hold up the others.
func TestRotationTellsWhatItCannotRead(t *testing.T) {
	b, source := bucket(t, server(t)), own(t)
	s := mustOpen(t, b, source)
	s.set(t, "bad", "value")
	s.set(t, "good", "value")
	key := recordKey("default", "bad", 1)
	e, err := b.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := decodeRecord(key, e.Value)
	if err != nil {
		t.Fatal(err)
	}
	r.Wrap[30] ^= 1
	if _, err := b.Put(t.Context(), key, r.encode()); err != nil {
		t.Fatal(err)
	}
	done, err := s.Rotate(t.Context())
	if err != nil || done.Rewrapped != 1 || len(done.Unread) != 1 || done.Unread[0] != key {
		t.Errorf("%+v, %v", done, err)
	}
	s.want(t, "good", "value", 1)
}

// A rotation by the store of one namespace is one of all: each reads and sets at once with
// the new key, also before it has seen what the bucket has of that.
func TestARotationIsOneOfAllNamespaces(t *testing.T) {
	b, source := bucket(t, server(t)), own(t)
	s := mustOpen(t, b, source)
	defer s.Close()
	other, err := s.Namespace(t.Context(), "acme", s.log)
	if err != nil {
		t.Fatal(err)
	}
	other.set(t, "db", "acme-0") // which makes the key of both
	s.set(t, "db", "mine")
	for i := 1; i <= 20; i++ {
		other.mu.Lock()
		before, at := other.check, other.checks
		other.mu.Unlock()
		done, err := s.Rotate(t.Context())
		if err != nil || done.Rewrapped == 0 {
			t.Fatalf("%+v, %v", done, err)
		}
		eventually(t, "the new check is seen", func() bool { return other.checkID() == done.Key })
		other.mu.Lock()
		other.check, other.checks = before, at // as if it were not yet
		other.mu.Unlock()
		other.want(t, "db", fmt.Sprint("acme-", i-1), i)
		other.set(t, "db", fmt.Sprint("acme-", i))
		third, err := s.Namespace(t.Context(), "acme", s.log)
		if err != nil {
			t.Fatal(err)
		}
		third.want(t, "db", fmt.Sprint("acme-", i), i+1)
		third.Close()
	}
	s.want(t, "db", "mine", 1)
	other.Close()
	s.set(t, "db", "still") // another one's end is not its own
	if _, err := other.Set(t.Context(), "db", []byte("x"), ""); !errors.Is(err, ErrClosed) {
		t.Errorf("after its end: %v", err)
	}
}
