package jetkv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
)

// keepOnce is for how long the bucket knows what CommitOnce did.
const keepOnce = 30 * 24 * time.Hour

func onceSubject(bucket, name string) string { return "$FN.kv." + bucket + ".once." + name }

// CommitOnce is Commit that happens once under a name, a key of no bucket: if it has
// happened, within 30 days and before ForgetOnce, it does nothing and returns nil. (A bucket
// with a TTL of every write knows it until ForgetOnce.) The name is a message beside the changes, and counts as a key while it is kept. The
// errors are those of Commit; errors.ErrUnsupported also of a bucket that other programs made.
func (b *Bucket) CommitOnce(ctx context.Context, name string, changes ...kv.Change) error {
	if err := kv.ValidateKey(name); err != nil {
		return err
	}
	if !slices.Contains(b.cfg.Subjects, ownSubjects(b.name)) {
		return fmt.Errorf("bucket %q was made without commits that happen once: %w", b.name, errors.ErrUnsupported)
	}
	once := &nats.Msg{Subject: onceSubject(b.name, name)}
	set(once, jetstream.MsgTTLHeader, keepOnce.String())
	if b.cfg.MaxAge > 0 { // it would go with what it wrote
		set(once, jetstream.MsgTTLHeader, "never")
	}
	expect(once, "", 0)
	_, err := b.commit(ctx, changes, once)
	return err
}

// ForgetOnce has the bucket forget a name.
func (b *Bucket) ForgetOnce(ctx context.Context, name string) error {
	s, err := b.js.Stream(ctx, b.stream)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(onceSubject(b.name, name)))
	}
	if err != nil {
		return b.fail(ctx, "", err)
	}
	return nil
}

// happened reports whether the message of a name is there already. It asks the leader: a
// replica may not know of it yet.
func (b *Bucket) happened(ctx context.Context, once *nats.Msg) (bool, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	e, err := b.lastOn(ctx, once.Subject, "")
	return e.Revision > 0, err
}
