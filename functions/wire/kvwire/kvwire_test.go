package kvwire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/functions/wire/kvwire"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
	"github.com/fnhost/fnhost/kv/kvtest"
)

func TestBucketsOverFramesKeepTheContract(t *testing.T) {
	js := server(t)
	kvtest.Run(t, func(t *testing.T, history int) kv.Bucket { return remote(t, js, history) })
}

func TestBlobsOverFramesKeepTheContract(t *testing.T) {
	js := server(t)
	kvtest.RunBlobs(t, func(t *testing.T) kv.Blobs {
		s, err := jetkv.CreateBlobs(t.Context(), js, jetkv.BlobsConfig{Bucket: fmt.Sprint("b", names.Add(1))})
		if err != nil {
			t.Fatal(err)
		}
		return kvwire.NewBlobs(s.Name(), session(t, func(ctx context.Context, x *wire.Exchange) { answerBlobs(ctx, s, x) }), nil)
	})
}

// broken is a store whose content cannot be read to its end.
type broken struct{ kv.Blobs }

func (broken) Get(context.Context, string) (kv.Blob, io.ReadCloser, error) {
	return kv.Blob{Size: 7}, io.NopCloser(io.MultiReader(strings.NewReader("some"), iotest.ErrReader(kv.ErrDamaged))), nil
}

func TestTheEndOfADamagedBlob(t *testing.T) {
	s := kvwire.NewBlobs("b", session(t, func(ctx context.Context, x *wire.Exchange) { answerBlobs(ctx, broken{}, x) }), nil)
	_, r, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); string(b) != "some" || !errors.Is(err, kv.ErrDamaged) {
		t.Errorf("%s %v", b, err)
	}
}

// failing is a bucket whose Get fails.
type failing struct {
	kv.Bucket
	err error
}

func (f failing) Get(context.Context, string) (kv.Entry, error) { return kv.Entry{}, f.err }

func TestErrorsKeepWhatTheyAre(t *testing.T) {
	for _, want := range []error{
		kv.ErrNotFound, kv.ErrInvalidKey, kv.ErrInvalidBucket, kv.ErrInvalidQuery, kv.ErrNoBucket, kv.ErrTooLarge,
		kv.ErrFull, kv.ErrTTL, kv.ErrNotNumber, kv.ErrClosed, errors.ErrUnsupported, wire.Errorf(wire.Unavailable, "elsewhere"),
		&kv.ConflictError{Key: "k", Current: 7},
	} {
		b := kvwire.New("b", sessionTo(t, failing{err: want}), nil)
		_, err := b.Get(t.Context(), "k")
		if !errors.Is(err, want) && err.Error() != want.Error() || !strings.Contains(err.Error(), want.Error()) {
			t.Errorf("%v came as %v", want, err)
		}
	}
	b := kvwire.New("b", sessionTo(t, failing{err: &kv.ConflictError{Key: "k", Wanted: 3, Current: 7}}), nil)
	_, err := b.Get(t.Context(), "k")
	var c *kv.ConflictError
	if !errors.As(err, &c) || *c != (kv.ConflictError{Key: "k", Wanted: 3, Current: 7}) {
		t.Errorf("%v", err)
	}
}

func TestABrokenSessionEndsAWatcher(t *testing.T) {
	js := server(t)
	b := remote(t, js, 1)
	ctx, cancel := context.WithCancel(t.Context())
	w, err := b.Watch(ctx, kv.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	wait, stop := context.WithTimeout(t.Context(), kvtest.Patience)
	defer stop()
	if _, err := w.Next(wait); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("the end of the context: %v", err)
	}
	w.Close()
}

// told is the body of an answer of which one can wait for the closing.
type told struct {
	io.Reader
	closed chan struct{}
}

func (b told) Close() error { close(b.closed); return nil }

// Who does not close a watcher leaves nothing behind when the context has ended, also if
// a change has arrived that nobody has asked for.
func TestTheEndOfItsContextEndsAWatcherThatNobodyReads(t *testing.T) {
	change := wire.AppendMessage(nil, wire.Header(nil).Add(wire.KeyKey, "a").Add(wire.KeyRevision, "1"), []byte("1"))
	body := told{bytes.NewReader(change), make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := kvwire.New("b", func(context.Context, *wire.Request) (*wire.Response, error) {
		return &wire.Response{Body: body}, nil
	}, nil).Watch(ctx, kv.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-body.closed:
	case <-time.After(kvtest.Patience):
		t.Fatal("it still waits")
	}
}

func TestCallsThatAreNoneAreRefused(t *testing.T) {
	js := server(t)
	do := sessionTo(t, remote(t, js, 1))
	head := func(op string) wire.Header { return wire.Header(nil).Add(wire.KeyOp, op) }
	for name, req := range map[string]*wire.Request{
		"operation": {Header: head("kv.burn")},
		"revision":  {Header: head("kv.put").Add(":key", "a").Add(":revision", "x")},
		"TTL":       {Header: head("kv.put").Add(":key", "a").Add(":ttl", "1h")},
		"number":    {Header: head("kv.add").Add(":key", "a")},
		"message":   {Header: head("kv.commit"), Payload: []byte("xxxxxxxxxxx")},
		"change":    {Header: head("kv.commit"), Payload: wire.AppendMessage(nil, head("burn"), nil)},
	} {
		req.Kind = wire.Call
		if _, err := do(t.Context(), req); !errors.Is(err, &wire.Error{Code: wire.BadRequest}) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLargeValuesAndLists(t *testing.T) {
	b := remote(t, server(t), 1)
	value := bytes.Repeat([]byte("0123456789"), 50_000)
	for _, key := range []string{"a", "b", "c"} {
		if _, err := b.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for e, err := range kv.All(t.Context(), b, kv.Query{Values: true}) {
		if err != nil || !bytes.Equal(e.Value, value) {
			t.Fatalf("%s: %d bytes, %v", e.Key, len(e.Value), err)
		}
		seen++
	}
	if seen != 3 {
		t.Errorf("%d entries", seen)
	}
}

// FuzzServe: what a worker sends never panics a host, and is answered.
func FuzzServe(f *testing.F) {
	f.Add([]byte(wire.Header(nil).Add(wire.KeyOp, "kv.commit")), wire.AppendMessage(nil, wire.Header(nil).Add(wire.KeyOp, "put").Add(":key", "a"), []byte("v")))
	f.Add([]byte(wire.Header(nil).Add(wire.KeyOp, "kv.put").Add(":key", "a").Add(":ttl", "1000000000")), []byte("v"))
	f.Add([]byte(wire.Header(nil).Add(wire.KeyOp, "kv.list").Add(":glob", "a.*").Add(":limit", "-5")), []byte(nil))
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		r, err := kvwire.Serve(t.Context(), nothing{}, wire.Header(header), payload)
		if (r == nil) == (err == nil) {
			t.Fatalf("%v %v", r, err)
		}
		if r != nil && r.Body != nil {
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
	})
}

// nothing is a bucket that looks at what it is asked, and holds nothing.
type nothing struct{}

func (nothing) Name() string { return "nothing" }
func (nothing) Get(_ context.Context, key string) (kv.Entry, error) {
	return kv.Entry{}, errors.Join(kv.ValidateKey(key), kv.ErrNotFound)
}
func (nothing) Put(_ context.Context, key string, value []byte, options ...kv.Option) (uint64, error) {
	c := kv.Put(key, value, options...)
	return 1, c.Validate()
}
func (nothing) Delete(_ context.Context, key string, options ...kv.Option) error {
	c := kv.Delete(key, options...)
	return c.Validate()
}
func (nothing) Touch(_ context.Context, key string, ttl time.Duration) (uint64, error) {
	return 1, errors.Join(kv.ValidateKey(key), kv.ValidateTTL(ttl))
}
func (nothing) Add(_ context.Context, key string, delta int64, _ ...kv.Option) (int64, error) {
	return delta, kv.ValidateKey(key)
}
func (nothing) Commit(_ context.Context, changes ...kv.Change) ([]uint64, error) {
	return make([]uint64, len(changes)), kv.ValidateChanges(changes)
}
func (nothing) History(_ context.Context, key string) ([]kv.Entry, error) {
	return nil, kv.ValidateKey(key)
}
func (nothing) List(_ context.Context, q kv.Query) (kv.Page, error)        { return kv.Page{}, q.Validate() }
func (nothing) Count(_ context.Context, filter kv.Filter) (int, error)     { return 0, filter.Validate() }
func (nothing) Stats(context.Context) (kv.Stats, error)                    { return kv.Stats{}, nil }
func (nothing) Watch(context.Context, kv.WatchOptions) (kv.Watcher, error) { return nil, kv.ErrClosed }
