package kvtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/fnhost/fnhost/kv"
)

// RunBlobs runs the suite of stores of blobs; open makes an empty one.
func RunBlobs(t *testing.T, open func(t *testing.T) kv.Blobs) {
	for _, test := range blobTests {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 4*Patience)
			defer cancel()
			test.run(&blobFixture{T: t, Blobs: open(t), ctx: ctx})
		})
	}
}

type blobTest struct {
	name string
	run  func(f *blobFixture)
}

type blobFixture struct {
	*testing.T
	kv.Blobs
	ctx context.Context
}

func (f *blobFixture) Name() string { return f.T.Name() }

func (f *blobFixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *blobFixture) is(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Fatalf("got error %v, want %v", err, want)
	}
}

func (f *blobFixture) put(name string, content []byte) kv.Blob {
	f.Helper()
	b, err := f.Put(f.ctx, name, bytes.NewReader(content))
	f.ok(err)
	return b
}

// holds wants a blob to be whole.
func (f *blobFixture) holds(name string, content []byte) {
	f.Helper()
	b, r, err := f.Get(f.ctx, name)
	f.ok(err)
	defer r.Close()
	got, err := io.ReadAll(r)
	f.ok(err)
	sum := sha256.Sum256(content)
	if !bytes.Equal(got, content) || b.Name != name || b.Size != int64(len(content)) || b.Digest != hex.EncodeToString(sum[:]) {
		f.Fatalf("got %d bytes, %+v, want %d", len(got), b, len(content))
	}
	stat, err := f.Stat(f.ctx, name)
	f.ok(err)
	if !stat.Created.Equal(b.Created) || stat.Digest != b.Digest || stat.Size != b.Size || stat.Name != b.Name {
		f.Fatalf("stat says %+v, get %+v", stat, b)
	}
}

func (f *blobFixture) names(q kv.BlobQuery) string {
	f.Helper()
	var names []string
	for {
		page, err := f.List(f.ctx, q)
		f.ok(err)
		for _, b := range page.Blobs {
			names = append(names, b.Name)
		}
		if page.Next == "" {
			return strings.Join(names, " ")
		}
		q.After = page.Next
	}
}

// content returns bytes that differ by their seed.
func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	source.Read(b)
	return b
}

var blobTests = []blobTest{
	{"get returns what was put", func(f *blobFixture) {
		before := time.Now().Add(-time.Minute)
		for i, size := range []int{0, 1, 1000, 128 << 10, 128<<10 + 1, 3 << 20} {
			name := fmt.Sprint("size ", size)
			b := f.put(name, content(uint64(i), size))
			if b.Name != name || b.Size != int64(size) || b.Created.Before(before) || len(b.Digest) != 64 {
				f.Errorf("put %+v", b)
			}
			f.holds(name, content(uint64(i), size))
		}
	}},
	{"a reader of many small parts", func(f *blobFixture) {
		want := content(1, 300<<10)
		_, err := f.Put(f.ctx, "a", iotest.HalfReader(bytes.NewReader(want)))
		f.ok(err)
		f.holds("a", want)
		_, r, err := f.Get(f.ctx, "a")
		f.ok(err)
		defer r.Close()
		f.ok(iotest.TestReader(r, want))
	}},
	{"what is not there is not found", func(f *blobFixture) {
		_, _, err := f.Get(f.ctx, "a")
		f.is(err, kv.ErrNotFound)
		_, err = f.Stat(f.ctx, "a")
		f.is(err, kv.ErrNotFound)
		f.ok(f.Delete(f.ctx, "a"))
		f.put("a", []byte("1"))
		f.ok(f.Delete(f.ctx, "a"))
		f.ok(f.Delete(f.ctx, "a"))
		_, _, err = f.Get(f.ctx, "a")
		f.is(err, kv.ErrNotFound)
		if got := f.names(kv.BlobQuery{}); got != "" {
			f.Errorf("there are %q", got)
		}
		f.put("a", []byte("2"))
		f.holds("a", []byte("2"))
	}},
	{"a put that breaks leaves the old one", func(f *blobFixture) {
		old := content(1, 200<<10)
		f.put("a", old)
		broken := errors.New("broken")
		for _, name := range []string{"a", "b"} {
			_, err := f.Put(f.ctx, name, io.MultiReader(bytes.NewReader(content(2, 1<<20)), iotest.ErrReader(broken)))
			f.is(err, broken)
			_, err = f.Put(f.ctx, name, io.MultiReader(bytes.NewReader(content(2, 300<<10)), iotest.ErrReader(io.ErrUnexpectedEOF)))
			f.is(err, io.ErrUnexpectedEOF) // as of the body of a request that broke off
			ctx, cancel := context.WithCancel(f.ctx)
			_, err = f.Put(ctx, name, io.MultiReader(bytes.NewReader(content(2, 1<<20)), readerFunc(func([]byte) (int, error) {
				cancel()
				return 0, io.EOF
			})))
			f.is(err, context.Canceled)
		}
		f.holds("a", old)
		if got := f.names(kv.BlobQuery{}); got != "a" {
			f.Errorf("there are %q", got)
		}
	}},
	{"many who write one name leave one of theirs", func(f *blobFixture) {
		const writers, each = 4, 5
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for n := range each {
					if _, err := f.Put(f.ctx, "a", bytes.NewReader(content(uint64(i*each+n), 200<<10))); err != nil {
						f.Error(err)
					}
				}
			})
		}
		for range writers * each {
			_, r, err := f.Get(f.ctx, "a")
			if errors.Is(err, kv.ErrNotFound) {
				continue
			}
			f.ok(err)
			if _, err := io.Copy(io.Discard, r); err != nil {
				f.is(err, kv.ErrReplaced)
			}
			f.ok(r.Close())
		}
		wg.Wait()
		b, r, err := f.Get(f.ctx, "a")
		f.ok(err)
		defer r.Close()
		got, err := io.ReadAll(r)
		f.ok(err)
		for i := range writers {
			if bytes.Equal(got, content(uint64(i*each+each-1), 200<<10)) {
				return
			}
		}
		f.Errorf("%+v is nobody's last", b)
	}},
	{"lists by prefix and page", func(f *blobFixture) {
		for _, name := range []string{"a/1", "a/2", "b/ä", "a/10", "b", "z"} {
			f.put(name, []byte(name))
		}
		f.ok(f.Delete(f.ctx, "z"))
		for _, test := range []struct {
			query kv.BlobQuery
			want  string
		}{
			{kv.BlobQuery{}, "a/1 a/10 a/2 b b/ä"},
			{kv.BlobQuery{Limit: 2}, "a/1 a/10 a/2 b b/ä"},
			{kv.BlobQuery{Prefix: "a/", Limit: 1}, "a/1 a/10 a/2"},
			{kv.BlobQuery{Prefix: "b", After: "b"}, "b/ä"},
			{kv.BlobQuery{Prefix: "none"}, ""},
		} {
			if got := f.names(test.query); got != test.want {
				f.Errorf("%+v: got %q, want %q", test.query, got, test.want)
			}
		}
		page, err := f.List(f.ctx, kv.BlobQuery{Limit: 1})
		f.ok(err)
		if len(page.Blobs) != 1 || page.Blobs[0].Size != 3 || page.Blobs[0].Created.IsZero() || len(page.Blobs[0].Digest) != 64 {
			f.Errorf("got %+v", page)
		}
		for _, q := range []kv.BlobQuery{{Limit: -1}, {Limit: kv.MaxPage + 1}} {
			_, err := f.List(f.ctx, q)
			f.is(err, kv.ErrInvalidQuery)
		}
	}},
	{"names that are none", func(f *blobFixture) {
		for _, name := range []string{"", "a\n", "a\x00", "\xff", strings.Repeat("n", kv.MaxKey+1)} {
			_, err := f.Put(f.ctx, name, strings.NewReader("x"))
			f.is(err, kv.ErrInvalidKey)
			_, _, err = f.Get(f.ctx, name)
			f.is(err, kv.ErrInvalidKey)
			_, err = f.Stat(f.ctx, name)
			f.is(err, kv.ErrInvalidKey)
			f.is(f.Delete(f.ctx, name), kv.ErrInvalidKey)
		}
		for _, name := range []string{"../a b*.>", strings.Repeat("n", kv.MaxKey)} {
			f.put(name, []byte(name))
			f.holds(name, []byte(name))
		}
	}},
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
