package host_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/disktest"
)

// Where the disk is full each way to write says so, whether the server has noticed or not.
func TestBucketsOnAFullDisk(t *testing.T) { disktest.Run(t, 160, testBucketsOnAFullDisk) }

func testBucketsOnAFullDisk(t *testing.T, dir string) {
	f := &fixture{t: t, data: dir}
	f.open(func(c *host.Config) { c.Watch, c.Admin = nil, "127.0.0.1:0" })
	c, err := admin.NewClient(f.Info().Admin, admin.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	handlers := map[string]func(context.Context, string) error{
		"put": func(ctx context.Context, bucket string) error {
			_, err := functions.KV(ctx, bucket).Put(ctx, "k", []byte("v"))
			return err
		},
		"blob": func(ctx context.Context, store string) error {
			_, err := functions.Blobs(ctx, store).Put(ctx, "b", strings.NewReader("content"))
			return err
		},
	}
	for name, handler := range handlers {
		if err := f.Handle(name, handler); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Invoke(t.Context(), name, []byte("here")); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, functions.ErrUnavailable) || !strings.Contains(err.Error(), "make room") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, noticed := range []bool{false, true} {
		free := disktest.Fill(t, dir)
		if noticed {
			for err == nil || f.Bus().StorageErr() == nil {
				_, err = c.PutKey(t.Context(), "here", "fill", make([]byte, 1000))
			}
			check("the first put that fails", err)
		} else { // the server has no room for a stream's files, of which it logs nothing
			_, err := c.CreateBucket(t.Context(), admin.BucketConfig{Name: "new"})
			check("bucket create", err)
			check("make a store", c.CreateBlobs(t.Context(), admin.BlobStore{Name: "new"}))
		}
		status, err := c.Status(t.Context())
		if err != nil || !strings.Contains(status.Storage, "make room") {
			t.Errorf("status: %q, %v", status.Storage, err)
		}
		if noticed {
			_, err = c.PutKey(t.Context(), "here", "k", []byte("v"))
			check("put", err)
			check("rm", c.DeleteKey(t.Context(), "here", "k"))
			_, err = c.PutBlob(t.Context(), "here", "b", strings.NewReader("content"))
			check("blob put", err)
			_, err = f.Publish(t.Context(), &nats.Msg{Subject: "a.b", Data: []byte("x")})
			check("publish", err)
			for name := range handlers {
				_, err := f.Invoke(t.Context(), name, []byte("here"))
				check(name+" of a function", err)
			}
		}
		for name := range handlers {
			_, err := f.Invoke(t.Context(), name, []byte("another"))
			check(name+" of a function into a new one", err)
		}
		if b, err := f.Bucket(t.Context(), "here"); err == nil {
			if e, err := b.Get(t.Context(), "k"); err != nil || string(e.Value) != "v" {
				t.Errorf("read: %+v, %v", e, err)
			}
		}
		restored := f.Bus().Restored()
		stopped := f.Bus().StorageErr() != nil
		free()
		if stopped {
			<-restored
		}
	}
	if _, err := c.PutKey(t.Context(), "here", "k", []byte("again")); err != nil {
		t.Error(err)
	}
}
