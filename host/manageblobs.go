package host

import (
	"context"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
)

// reservedBlobs are the names of stores that are the host's own, as reserved are those of buckets.
func reservedBlobs(name string) bool { return name == "artifacts" || name == "sources" }

func refuseReservedBlobs(name string) error {
	if reservedBlobs(name) {
		return wire.Errorf(wire.Forbidden, "the blobs %q are the host's own: choose another name", name)
	}
	return nil
}

// BlobStores implements [admin.BlobKeeper].
func (b backend) BlobStores(ctx context.Context) ([]admin.BlobStore, error) {
	list, err := jetkv.ListBlobs(ctx, b.h.buckets.js)
	shown := []admin.BlobStore{}
	for _, i := range list {
		if !reservedBlobs(i.Name) {
			shown = append(shown, admin.BlobStore(i))
		}
	}
	return shown, err
}

// CreateBlobs implements [admin.BlobKeeper].
func (b backend) CreateBlobs(ctx context.Context, c admin.BlobStore) error {
	if err := refuseReservedBlobs(c.Name); err != nil {
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
	if err := refuseReservedBlobs(name); err != nil {
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
	if err := refuseReservedBlobs(name); err != nil {
		return err
	}
	err := jetkv.DropBlobs(ctx, b.h.buckets.js, name)
	b.h.buckets.forget(name) // a blob that streams could not be sent again after its store was found to be gone
	return err
}
