package secrets

import (
	"context"
	"errors"
	"testing"

	"github.com/fnhost/fnhost/kv"
)

// lossy is a bucket whose first watcher is lost when that is told, and whose next one says
// nothing before it may.
type lossy struct {
	kv.Bucket
	lose, lost, heal chan struct{}
}

func (b *lossy) Watch(ctx context.Context, options kv.WatchOptions) (kv.Watcher, error) {
	w, err := b.Bucket.Watch(ctx, options)
	if err != nil {
		return nil, err
	}
	select {
	case <-b.lose:
		close(b.lost)
		return &lossyWatcher{Watcher: w, wait: b.heal}, nil
	default:
		return &lossyWatcher{Watcher: w, end: b.lose}, nil
	}
}

type lossyWatcher struct {
	kv.Watcher
	wait, end chan struct{} // nil for never
}

func (w *lossyWatcher) Next(ctx context.Context) (kv.Entry, error) {
	if w.wait != nil {
		select {
		case <-w.wait:
		case <-ctx.Done():
			return kv.Entry{}, ctx.Err()
		}
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer func() { <-ended }()
	go func() {
		defer close(ended)
		select {
		case <-w.end:
			cancel()
		case <-inner.Done():
		}
	}()
	e, err := w.Watcher.Next(inner)
	cancel()
	if err != nil && ctx.Err() == nil {
		err = errors.New("lost")
	}
	return e, err
}

func TestSecretsStayWhileTheBucketIsReadAnew(t *testing.T) {
	js, source := server(t), own(t)
	b := &lossy{Bucket: bucket(t, js), lose: make(chan struct{}), lost: make(chan struct{}), heal: make(chan struct{})}
	mustOpen(t, b.Bucket, source).set(t, "old", "value 0")
	s, other := mustOpen(t, b, source), mustOpen(t, b.Bucket, source)
	s.set(t, "a", "value 1")
	s.want(t, "a", "value 1", 1)
	close(b.lose)
	<-b.lost
	s.want(t, "a", "value 1", 1)
	s.want(t, "old", "value 0", 1)
	other.set(t, "b", "value 2")
	eventually(t, "the other one has seen a", func() bool { return len(other.Names()) == 3 })
	if err := other.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	close(b.heal)
	eventually(t, "what was missed is seen", func() bool { return len(s.Names()) == 2 && s.Names()[0] == "b" })
	s.want(t, "b", "value 2", 1)
	_, _, err := s.Get(t.Context(), "a")
	wantErr(t, err, ErrNotFound)
}
