package jetkv

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/kvtest"
)

func createBlobs(t testing.TB, js jetstream.JetStream, cfg BlobsConfig) *Blobs {
	t.Helper()
	cfg.Bucket = fmt.Sprint("b", buckets.Add(1))
	b, err := CreateBlobs(t.Context(), js, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBlobsKeepTheContract(t *testing.T) {
	js := server(t)
	kvtest.RunBlobs(t, func(t *testing.T) kv.Blobs { return createBlobs(t, js, BlobsConfig{}) })
}

// A stream without direct reads is read as one with replicas is: at its leader.
func TestBlobsOfTheLeader(t *testing.T) {
	js, ctx := server(t), t.Context()
	kvtest.RunBlobs(t, func(t *testing.T) kv.Blobs {
		b := createBlobs(t, js, BlobsConfig{})
		sc := b.s.cfg
		sc.AllowDirect = false
		_, err := js.UpdateStream(ctx, sc)
		must(t, err)
		b, err = OpenBlobs(ctx, js, b.Name())
		must(t, err)
		return b
	})
}

func TestOtherClientsSeeTheSameBlobs(t *testing.T) {
	js, ctx := server(t), t.Context()
	ours := createBlobs(t, js, BlobsConfig{})
	theirs, err := js.ObjectStore(ctx, ours.Name())
	must(t, err)
	content := bytes.Repeat([]byte("0123456789"), 50_000)
	_, err = ours.Put(ctx, "a b", bytes.NewReader(content))
	must(t, err)
	got, err := theirs.GetBytes(ctx, "a b")
	must(t, err)
	if !bytes.Equal(got, content) {
		t.Errorf("they read %d bytes of %d", len(got), len(content))
	}
	_, err = theirs.PutBytes(ctx, "a b", content[1:])
	must(t, err)
	b, r, err := ours.Get(ctx, "a b")
	must(t, err)
	defer r.Close()
	got, err = io.ReadAll(r)
	must(t, err)
	if !bytes.Equal(got, content[1:]) || b.Size != int64(len(content)-1) {
		t.Errorf("we read %d bytes, %+v", len(got), b)
	}
	must(t, ours.Delete(ctx, "a b"))
	if _, err := theirs.GetInfo(ctx, "a b"); !errors.Is(err, jetstream.ErrObjectNotFound) {
		t.Errorf("after our delete: %v", err)
	}
	_, err = theirs.PutBytes(ctx, "c", nil)
	must(t, err)
	must(t, theirs.Delete(ctx, "c"))
	if _, err := ours.Stat(ctx, "c"); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("after their delete: %v", err)
	}
}

// parts returns how many messages a store has beside descriptions.
func parts(t *testing.T, b *Blobs) int64 {
	t.Helper()
	info, err := b.s.subjects(t.Context(), b.s.prefix+"C.>")
	must(t, err)
	n := 0
	for _, of := range info.State.Subjects {
		n += of
	}
	return int64(n)
}

func TestNothingIsLeftOfWhatWasReplacedOrBroken(t *testing.T) {
	js, ctx := server(t), t.Context()
	b := createBlobs(t, js, BlobsConfig{})
	for i := range 3 {
		_, err := b.Put(ctx, "a", bytes.NewReader(make([]byte, i*partSize+1)))
		must(t, err)
	}
	_, err := b.Put(ctx, "a", io.MultiReader(bytes.NewReader(make([]byte, 20*partSize)), readerOf(errors.New("broken"))))
	if err == nil {
		t.Error("a broken one was stored")
	}
	if n := parts(t, b); n != 3 {
		t.Errorf("%d parts, want 3", n)
	}
	must(t, b.Delete(ctx, "a"))
	if n := parts(t, b); n != 0 {
		t.Errorf("%d parts are left", n)
	}
}

type failing struct{ err error }

func (r failing) Read([]byte) (int, error) { return 0, r.err }

func readerOf(err error) io.Reader { return failing{err} }

func TestDamageIsFound(t *testing.T) {
	js, ctx := server(t), t.Context()
	b := createBlobs(t, js, BlobsConfig{})
	s, err := js.Stream(ctx, b.s.stream)
	must(t, err)
	for _, test := range []struct {
		name   string
		damage func(first, last uint64) error
		want   error
	}{
		{"a part is gone", func(first, _ uint64) error { return s.DeleteMsg(ctx, first+1) }, kv.ErrDamaged},
		{"the last part is gone", func(_, last uint64) error { return s.DeleteMsg(ctx, last-1) }, kv.ErrDamaged},
		{"all parts are gone", func(uint64, uint64) error { return s.Purge(ctx, jetstream.WithPurgeSubject(b.s.prefix+"C.>")) }, kv.ErrDamaged},
		{"replaced", func(uint64, uint64) error {
			_, err := b.Put(ctx, "a", bytes.NewReader(make([]byte, 5)))
			return err
		}, kv.ErrReplaced},
		{"deleted", func(uint64, uint64) error { return b.Delete(ctx, "a") }, kv.ErrReplaced},
	} {
		t.Run(test.name, func(t *testing.T) {
			first := s.CachedInfo().State.LastSeq + 1
			if info, err := s.Info(ctx); err == nil {
				first = info.State.LastSeq + 1
			}
			_, err := b.Put(ctx, "a", bytes.NewReader(make([]byte, 20*partSize)))
			must(t, err)
			info, err := s.Info(ctx)
			must(t, err)
			_, r, err := b.Get(ctx, "a")
			must(t, err)
			defer r.Close()
			must(t, test.damage(first, info.State.LastSeq))
			if n, err := io.Copy(io.Discard, r); !errors.Is(err, test.want) {
				t.Errorf("after %d bytes: %v, want %v", n, err, test.want)
			}
		})
	}
}

func TestFullStoreSaysSoAndCanBeEmptied(t *testing.T) {
	js, ctx := server(t), t.Context()
	b := createBlobs(t, js, BlobsConfig{MaxBytes: 10 * partSize})
	_, err := b.Put(ctx, "a", bytes.NewReader(make([]byte, 6*partSize)))
	must(t, err)
	for range 2 {
		if _, err := b.Put(ctx, "a", bytes.NewReader(make([]byte, 20*partSize))); !errors.Is(err, kv.ErrFull) {
			t.Errorf("got %v", err)
		}
	}
	if n := parts(t, b); n != 6 {
		t.Errorf("%d parts, want 6", n)
	}
	var n int
	for n = 0; err == nil; n++ { // to the last place
		_, err = b.Put(ctx, fmt.Sprint("small", n), bytes.NewReader(make([]byte, 1000)))
	}
	for i := range n {
		must(t, b.Delete(ctx, fmt.Sprint("small", i)))
	}
	must(t, b.Delete(ctx, "a"))
	if n := parts(t, b); n != 0 {
		t.Errorf("%d parts are left", n)
	}
	_, err = b.Put(ctx, "b", bytes.NewReader(make([]byte, 6*partSize)))
	must(t, err)
}

// A hundred megabytes go through in parts: neither side has them at once.
func TestLargeBlob(t *testing.T) {
	js, ctx := server(t), t.Context()
	b := createBlobs(t, js, BlobsConfig{})
	const size = 100 << 20
	hash := sha256.New()
	_, err := b.Put(ctx, "a", io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{}), size), hash))
	must(t, err)
	about, r, err := b.Get(ctx, "a")
	must(t, err)
	defer r.Close()
	got := sha256.New()
	n, err := io.Copy(got, r)
	must(t, err)
	if n != size || about.Size != size || !bytes.Equal(got.Sum(nil), hash.Sum(nil)) || about.Digest != hex.EncodeToString(got.Sum(nil)) {
		t.Errorf("%d of %d bytes, %+v", n, size, about)
	}
}

func TestStoresThatAreNone(t *testing.T) {
	js, ctx := server(t), t.Context()
	for _, cfg := range []BlobsConfig{{Bucket: ""}, {Bucket: "a.b"}, {Bucket: "b", MaxBytes: -1}} {
		if _, err := CreateBlobs(ctx, js, cfg); err == nil {
			t.Errorf("%+v was made", cfg)
		}
	}
	b := createBlobs(t, js, BlobsConfig{})
	must(t, DropBlobs(ctx, js, b.Name()))
	_, err := OpenBlobs(ctx, js, b.Name())
	_, statErr := b.Stat(ctx, "a")
	_, putErr := b.Put(ctx, "a", bytes.NewReader([]byte("x")))
	_, listErr := b.List(ctx, kv.BlobQuery{})
	for i, err := range []error{err, DropBlobs(ctx, js, b.Name()), statErr, putErr, listErr, b.Delete(ctx, "a")} {
		if !errors.Is(err, kv.ErrNoBucket) {
			t.Errorf("%d: %v", i, err)
		}
	}
}
