package host

import (
	"context"
	"errors"
	"time"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
)

// CreateBucket implements [admin.BucketKeeper].
func (b backend) CreateBucket(ctx context.Context, c admin.BucketConfig) (admin.Bucket, error) {
	cfg, err := bucketConfig(&c)
	if err != nil {
		return admin.Bucket{}, err
	}
	if err := unavailable(b.h.bus.StorageErr()); err != nil {
		return admin.Bucket{}, err
	}
	buckets := b.h.buckets
	buckets.making.Lock()
	defer buckets.making.Unlock()
	switch _, err := jetkv.Describe(ctx, buckets.js, c.Name); {
	case err == nil && !c.Update:
		return admin.Bucket{}, wire.Errorf(wire.Conflict, "the bucket %q exists: `fnhost bucket create %s --update` brings it to other settings", c.Name, c.Name)
	case err != nil && !errors.Is(err, kv.ErrNoBucket):
		return admin.Bucket{}, err
	case err != nil && c.Update:
		return admin.Bucket{}, err
	}
	if _, err := jetkv.Create(ctx, buckets.js, cfg); err != nil {
		var known *wire.Error
		if err = b.h.noRoom(ctx, err); !errors.As(err, &known) {
			err = wire.Errorf(wire.Unprocessed, "%v", err)
		}
		return admin.Bucket{}, err
	}
	buckets.forget(c.Name) // it knows limits that may have changed
	info, err := jetkv.Describe(ctx, buckets.js, c.Name)
	return shownBucket(&info), err
}

// bucketConfig returns what jetkv takes.
func bucketConfig(c *admin.BucketConfig) (cfg jetkv.Config, err error) {
	if err := kv.ValidateBucket(c.Name); err != nil {
		return cfg, err
	}
	if err := refuseOwn(c.Name); err != nil {
		return cfg, err
	}
	cfg = jetkv.Config{Bucket: c.Name, Description: c.Description, History: c.History, MaxValue: c.MaxValue, MaxBytes: c.MaxBytes, MaxKeys: c.MaxKeys, Replicas: c.Replicas}
	if c.TTL != "" {
		if cfg.TTL, err = time.ParseDuration(c.TTL); err != nil {
			return cfg, wire.Errorf(wire.BadRequest, "ttl %q: want a duration of whole seconds, such as 10m", c.TTL)
		}
	}
	return cfg, kv.ValidateTTL(cfg.TTL)
}

func shownBucket(i *jetkv.Info) admin.Bucket {
	v := admin.Bucket{
		Name: i.Name, Description: i.Description, Created: i.Created, Replicas: i.Replicas, History: i.History,
		Keys: i.Keys, MaxKeys: i.MaxKeys, Bytes: i.Bytes, MaxBytes: i.MaxBytes, MaxValue: i.MaxValue,
	}
	if i.TTL > 0 {
		v.TTL = i.TTL.String()
	}
	if i.Markers > 0 {
		v.Markers = i.Markers.String()
	}
	return v
}

// Buckets implements [admin.BucketKeeper].
func (b backend) Buckets(ctx context.Context) ([]admin.Bucket, error) {
	list, err := jetkv.List(ctx, b.h.buckets.js)
	shown := []admin.Bucket{}
	for i := range list {
		if !manifest.OwnBucket(list[i].Name) {
			shown = append(shown, shownBucket(&list[i]))
		}
	}
	return shown, err
}

// Bucket implements [admin.BucketKeeper].
func (b backend) Bucket(ctx context.Context, name string) (admin.Bucket, error) {
	if err := refuseOwn(name); err != nil {
		return admin.Bucket{}, err
	}
	info, err := jetkv.Describe(ctx, b.h.buckets.js, name)
	return shownBucket(&info), err
}

// OpenBucket implements [admin.BucketKeeper].
func (b backend) OpenBucket(ctx context.Context, name string) (kv.Bucket, error) {
	if err := refuseOwn(name); err != nil {
		return nil, err
	}
	// Not with those of functions, which are made when they are not there.
	bucket, err := jetkv.Open(ctx, b.h.buckets.js, name)
	if err != nil {
		return nil, err
	}
	return storing{bucket, b.h}, nil
}

// DropBucket implements [admin.BucketKeeper].
func (b backend) DropBucket(ctx context.Context, name string, keys bool) error {
	bucket, err := b.OpenBucket(ctx, name)
	if err != nil {
		return err
	}
	if !keys {
		page, err := bucket.List(ctx, kv.Query{Limit: 1})
		if err != nil {
			return err
		}
		if len(page.Entries) > 0 || page.Next != "" {
			return wire.Errorf(wire.Conflict, "the bucket %q holds keys: `fnhost bucket rm %s --yes` removes it with them", name, name)
		}
	}
	if err := jetkv.Drop(ctx, b.h.buckets.js, name); err != nil {
		return err
	}
	b.h.buckets.forget(name)
	return nil
}
