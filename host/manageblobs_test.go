package host_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/kv"
)

func TestBlobsOverTheAPI(t *testing.T) {
	r := startRemote(t)
	c, ctx := r.client, t.Context()
	_, err := c.PutBlob(ctx, "files", "a", bytes.NewReader(nil))
	r.wants(err, wire.NotFound, "no blobs \"files\"")
	for _, name := range []string{"registry", "config", "secrets", "artifacts", "sources"} {
		r.wants(c.CreateBlobs(ctx, admin.BlobStore{Name: name}), wire.Forbidden, "the host's own")
		_, err := c.Blobs(ctx, name, kv.BlobQuery{})
		r.wants(err, wire.Forbidden, "the host's own")
		r.wants(c.DropBlobs(ctx, name), wire.Forbidden, "the host's own")
	}
	if err := c.CreateBlobs(ctx, admin.BlobStore{Name: "files", MaxBytes: 20 << 20}); err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("0123456789abcdef"), 5<<16) // 5 MiB
	const name = "../a b/c?%"
	b, err := c.PutBlob(ctx, "files", name, bytes.NewReader(content))
	if err != nil || b.Name != name || b.Size != int64(len(content)) {
		t.Fatalf("stored %+v, %v", b, err)
	}
	broken := errors.New("broken")
	if _, err := c.PutBlob(ctx, "files", name, io.MultiReader(bytes.NewReader(content[:2<<20]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("a broken upload: %v", err)
	}
	_, err = c.PutBlob(ctx, "files", name, io.LimitReader(zeros{}, 30<<20))
	r.wants(err, wire.Unprocessed, "full")
	var got bytes.Buffer
	if err := c.GetBlob(ctx, "files", name, &got); err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Errorf("%d bytes of %d, %v", got.Len(), len(content), err)
	}
	if _, err := c.PutBlob(ctx, "files", "empty", bytes.NewReader(nil)); err != nil {
		t.Fatal(err)
	}
	page, err := c.Blobs(ctx, "files", kv.BlobQuery{Limit: 1})
	if err != nil || len(page.Blobs) != 1 || page.Blobs[0].Digest != b.Digest || page.Next != name {
		t.Errorf("got %+v, %v", page, err)
	}
	stores, err := c.BlobStores(ctx)
	if err != nil || len(stores) != 1 || stores[0].Name != "files" || stores[0].MaxBytes != 20<<20 {
		t.Errorf("stores: %+v, %v", stores, err)
	}
	if err := c.DeleteBlob(ctx, "files", name); err != nil {
		t.Fatal(err)
	}
	r.wants(c.GetBlob(ctx, "files", name, io.Discard), wire.NotFound, "fnhost blob ls files")
	if err := c.DropBlobs(ctx, "files"); err != nil {
		t.Fatal(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
