package host

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv/config"
)

// erase removes all that a namespace, which does not serve any more, has stored. It can be
// broken off and begun anew.
func (h *Host) erase(ctx context.Context, name string) error {
	if err := h.registry.Namespace(name).Erase(ctx); err != nil {
		return err
	}
	if err := h.eraseKeys(ctx, name); err != nil {
		return err
	}
	h.collect()
	if err := h.bus.RemoveAccount(name); err != nil {
		return err
	}
	return os.RemoveAll(h.spaceDir(name))
}

// eraseKeys removes what the host's own buckets have of a namespace, and leaves no sign of
// it: nobody reads it any more.
func (h *Host) eraseKeys(ctx context.Context, name string) error {
	js, err := jetstream.New(h.bus.Control())
	if err != nil {
		return err
	}
	for _, subject := range []struct{ bucket, keys string }{
		{secretsBucket, name + ".>"},
		{config.Bucket, "namespace." + name}, {config.Bucket, "function." + name + ".>"}, {config.Bucket, "version." + name + ".>"},
	} {
		stream, err := js.Stream(ctx, "KV_"+subject.bucket)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err == nil {
			err = stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+subject.bucket+"."+subject.keys))
		}
		if err != nil {
			return fmt.Errorf("bucket %s: %w", subject.bucket, err)
		}
	}
	return nil
}
