package host

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
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
	if err := h.eraseLeave(ctx, name); err != nil {
		return err
	}
	h.collect()
	if err := h.bus.RemoveAccount(name); err != nil {
		return err
	}
	return os.RemoveAll(h.spaceDir(name))
}

// eraseLeave removes who belongs to a namespace, and what rules say of it: they would hold for
// the next one of that name.
func (h *Host) eraseLeave(ctx context.Context, name string) error {
	a := h.authority()
	if a == nil {
		return nil
	}
	var errs []error
	remove := func(is bool, id string, do func(context.Context, string) error) {
		if !is {
			return
		}
		var e *wire.Error
		if err := do(ctx, id); err != nil && (!errors.As(err, &e) || e.Code != wire.NotFound) {
			errs = append(errs, err)
		}
	}
	for _, t := range a.Tokens() {
		remove(t.Namespace == name, t.ID, a.RevokeToken)
	}
	for _, i := range a.Issuers() {
		remove(i.Namespace == name, i.Name, a.RemoveIssuer)
	}
	for _, acc := range a.Accounts() {
		remove(acc.Namespace == name, acc.Name, a.RemoveAccount)
	}
	for _, r := range a.Rules() {
		remove(r.Namespace == name, r.ID, a.RemoveRule)
	}
	return errors.Join(errs...)
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
