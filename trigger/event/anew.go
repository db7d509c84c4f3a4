package event

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// noStream is the error for a stream that is named and is not there.
type noStream struct{ name string }

func (e noStream) Error() string {
	if bucket, ok := strings.CutPrefix(e.name, "KV_"); ok {
		return fmt.Sprintf("there is no bucket %s yet: the trigger begins when it is made", bucket)
	}
	return fmt.Sprintf("there is no stream %s: make it (`nats stream add`), or leave the key out for the host's own", e.name)
}

// Is makes it ErrNoStream.
func (e noStream) Is(target error) bool { return target == ErrNoStream }

// createdAdvisory begins the subjects on which the server tells of streams that are made.
const createdAdvisory = "$JS.EVENT.ADVISORY.STREAM.CREATED."

// pauseSetup waits before the next try to set up: for a stream that is not there, until
// the server tells that it is, or for longer, since not each server does.
func (r *reader) pauseSetup(err error) {
	wait, made := r.t.retrySetup, make(chan *nats.Msg, 1)
	var missing noStream
	if errors.As(err, &missing) {
		if sub, err := r.t.conn.ChanSubscribe(createdAdvisory+missing.name, made); err == nil {
			defer sub.Unsubscribe()
			wait = r.t.retryStream
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-r.ctx.Done():
	case <-made:
	case <-timer.C:
	}
}

// meet learns of the stream. All that one holds is new which was made after another of
// the same name was read.
func (r *reader) meet(stream jetstream.Stream) {
	info := stream.CachedInfo()
	r.maxAge.Store(int64(info.Config.MaxAge))
	if !r.begun.IsZero() && !r.begun.Equal(info.Created) {
		r.anew = true
	}
}

// tellGap warns of changes that a bucket has forgotten before the trigger came to read
// them. Of values that is as it should be, since later ones have taken their place; but a delete or
// an expiry that nobody saw in time is gone, too, and the server does not tell which it was.
func (r *reader) tellGap(ctx context.Context, stream jetstream.Stream, is *jetstream.ConsumerInfo) {
	keeps := stream.CachedInfo().Config.SubjectDeleteMarkerTTL
	if r.source.Messages == nil || keeps == 0 || !r.begun.IsZero() || !strings.HasSuffix(r.spec.Subject, ".>") || strings.Count(r.spec.Subject, ".") > 2 {
		return // of other triggers, or once it has begun; and where it reads a part, what is missing may be of other keys
	}
	state := stream.CachedInfo().State
	next, at := state.LastSeq+1, state.LastTime
	m, err := nextMessage(ctx, stream, "", is.Delivered.Stream+1)
	if err == nil {
		next, at = m.Sequence, m.Time
	} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return
	}
	if gone := int64(next) - int64(is.Delivered.Stream) - 1; gone > 0 && time.Since(at) > keeps {
		r.t.log.Warn(fmt.Sprintf("%d changes were made while nobody read them, and are no longer kept: values that were replaced, and maybe deletes and expiries, which a bucket keeps for %v", gone, keeps),
			"function", r.function, "bucket", r.source.Bucket, "from", is.Delivered.Stream+1)
	}
}
