package jetkv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
)

// Info is a bucket as the server knows it.
type Info struct {
	Name        string
	Description string
	Created     time.Time
	Replicas    int
	kv.Stats
}

// List returns the buckets that there are, whoever has made them, by their names.
func List(ctx context.Context, js jetstream.JetStream) ([]Info, error) {
	var list []Info
	lister := js.ListStreams(ctx, jetstream.WithStreamListSubject(subjectPrefix+"*.>"))
	for s := range lister.Info() {
		if isBucket(s.Config) {
			list = append(list, describe(js, s))
		}
	}
	if err := lister.Err(); err != nil {
		return nil, fmt.Errorf("kv: list of buckets: %w", err)
	}
	slices.SortFunc(list, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Describe returns one bucket. It returns kv.ErrNoBucket and kv.ErrInvalidBucket.
func Describe(ctx context.Context, js jetstream.JetStream, name string) (Info, error) {
	if err := kv.ValidateBucket(name); err != nil {
		return Info{}, err
	}
	s, err := js.Stream(ctx, streamPrefix+name)
	if errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && !isBucket(s.CachedInfo().Config) {
		return Info{}, fmt.Errorf("%w: %q", kv.ErrNoBucket, name)
	}
	if err != nil {
		return Info{}, fmt.Errorf("kv: bucket %q: %w", name, err)
	}
	return describe(js, s.CachedInfo()), nil
}

// isBucket is true for a stream that was made as a bucket.
func isBucket(sc jetstream.StreamConfig) bool {
	name, ok := strings.CutPrefix(sc.Name, streamPrefix)
	return ok && sc.MaxMsgsPerSubject >= 1 && slices.Contains(sc.Subjects, subjectPrefix+name+".>")
}

func describe(js jetstream.JetStream, s *jetstream.StreamInfo) Info {
	return Info{
		Name: strings.TrimPrefix(s.Config.Name, streamPrefix), Description: s.Config.Description, Created: s.Created, Replicas: s.Config.Replicas,
		Stats: kv.Stats{
			Keys: int64(s.State.NumSubjects), MaxKeys: max(s.Config.MaxMsgs, 0),
			Bytes: int64(s.State.Bytes), MaxBytes: max(s.Config.MaxBytes, 0), MaxValue: maxValue(js, s.Config.MaxMsgSize),
			History: int(s.Config.MaxMsgsPerSubject), TTL: s.Config.MaxAge, Markers: s.Config.SubjectDeleteMarkerTTL,
		},
	}
}

// maxValue returns the limit of a bucket whose messages have one. One without any has the
// server's, which is that of messages with their headers.
func maxValue(js jetstream.JetStream, message int32) int64 {
	most := js.Conn().MaxPayload()
	if message > 0 {
		most = min(most, int64(message))
	}
	return max(most-overhead, 0)
}

// BlobsInfo is a store of blobs as the server knows it.
type BlobsInfo struct {
	Name        string
	Description string
	Created     time.Time
	Replicas    int
	Bytes       int64 // of storage
	MaxBytes    int64 // of storage, 0: no limit
}

// ListBlobs returns the stores that there are, whoever has made them, by their names.
func ListBlobs(ctx context.Context, js jetstream.JetStream) ([]BlobsInfo, error) {
	var list []BlobsInfo
	lister := js.ListStreams(ctx, jetstream.WithStreamListSubject("$O.*.M.>"))
	for s := range lister.Info() {
		name, ok := strings.CutPrefix(s.Config.Name, blobsPrefix)
		if !ok {
			continue
		}
		list = append(list, BlobsInfo{
			Name: name, Description: s.Config.Description, Created: s.Created, Replicas: s.Config.Replicas,
			Bytes: int64(s.State.Bytes), MaxBytes: max(s.Config.MaxBytes, 0),
		})
	}
	if err := lister.Err(); err != nil {
		return nil, fmt.Errorf("kv: list of blobs: %w", err)
	}
	slices.SortFunc(list, func(a, b BlobsInfo) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}
