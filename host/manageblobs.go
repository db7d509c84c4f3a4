package host

import (
	"context"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
)

// BlobStores implements [admin.BlobKeeper].
func (b backend) BlobStores(ctx context.Context) ([]admin.BlobStore, error) {
	list, err := jetkv.ListBlobs(ctx, b.h.buckets.js)
	shown := []admin.BlobStore{}
	for _, i := range list {
		if !manifest.OwnBucket(i.Name) {
			shown = append(shown, admin.BlobStore(i))
		}
	}
	return shown, err
}

// CreateBlobs implements [admin.BlobKeeper].
func (b backend) CreateBlobs(ctx context.Context, c admin.BlobStore) error {
	if err := refuseOwn(c.Name); err != nil {
		return err
	}
	if err := unavailable(b.h.bus.StorageErr()); err != nil {
		return err
	}
	_, err := jetkv.CreateBlobs(ctx, b.h.buckets.js, jetkv.BlobsConfig{Bucket: c.Name, Description: c.Description, MaxBytes: c.MaxBytes, Replicas: c.Replicas})
	b.h.buckets.forget(c.Name)
	return b.h.noRoom(ctx, err)
}

// OpenBlobs implements [admin.BlobKeeper].
func (b backend) OpenBlobs(ctx context.Context, name string) (kv.Blobs, error) {
	if err := refuseOwn(name); err != nil {
		return nil, err
	}
	s, err := jetkv.OpenBlobs(ctx, b.h.buckets.js, name)
	if err != nil {
		return nil, err
	}
	return storingBlobs{s, b.h}, nil
}

// DropBlobs implements [admin.BlobKeeper].
func (b backend) DropBlobs(ctx context.Context, name string) error {
	if err := refuseOwn(name); err != nil {
		return err
	}
	err := jetkv.DropBlobs(ctx, b.h.buckets.js, name)
	b.h.buckets.forget(name) // a blob that streams could not be sent again after its store was found to be gone
	return err
}
