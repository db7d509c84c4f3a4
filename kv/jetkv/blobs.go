package jetkv

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
)

const (
	blobsPrefix  = "OBJ_"
	partSize     = 128 << 10 // of nats.go, too
	partsOnWay   = 8         // that are written or read at once: what a blob costs of memory
	digestPrefix = "SHA-256="
)

// BlobsConfig describes a store of blobs. All but Bucket may be left out.
type BlobsConfig struct {
	Bucket      string
	Description string
	MaxBytes    int64 // of storage, 0: no limit
	Replicas    int   // 1 (the default) to 5, in a cluster
}

// Blobs is a [kv.Blobs] in JetStream: an object store of NATS, which `nats object` sees, too. A
// process that is killed in a Put leaves parts, which nobody sees and which keep their
// place until the store is dropped. It is safe for concurrent use, and has nothing to close.
type Blobs struct {
	s *Bucket // the stream's messages: M.<name> describes a blob, C.<id> are its parts
}

var _ kv.Blobs = (*Blobs)(nil)

// CreateBlobs makes a store, or brings one that exists to this config. It returns
// kv.ErrInvalidBucket, and the server's error for what cannot be changed or is more than there is.
func CreateBlobs(ctx context.Context, js jetstream.JetStream, cfg BlobsConfig) (*Blobs, error) {
	if err := kv.ValidateBucket(cfg.Bucket); err != nil {
		return nil, err
	}
	if cfg.MaxBytes < 0 {
		return nil, fmt.Errorf("kv: blobs %q: %d bytes in all: from 0 on", cfg.Bucket, cfg.MaxBytes)
	}
	sc := jetstream.StreamConfig{
		Name: blobsPrefix + cfg.Bucket, Description: cfg.Description,
		Subjects: []string{"$O." + cfg.Bucket + ".C.>", "$O." + cfg.Bucket + ".M.>"},
		MaxBytes: -1, Replicas: max(cfg.Replicas, 1), Discard: jetstream.DiscardNew,
		AllowRollup: true, AllowDirect: true, AllowMsgTTL: true,
	}
	if cfg.MaxBytes > 0 {
		sc.MaxBytes = cfg.MaxBytes
	}
	s, err := js.CreateOrUpdateStream(ctx, sc)
	if err != nil {
		return nil, fmt.Errorf("kv: blobs %q: %w", cfg.Bucket, err)
	}
	return newBlobs(js, s.CachedInfo().Config)
}

// OpenBlobs opens a store that exists, whoever has made it. It returns kv.ErrNoBucket if
// there is none, and kv.ErrInvalidBucket.
func OpenBlobs(ctx context.Context, js jetstream.JetStream, name string) (*Blobs, error) {
	if err := kv.ValidateBucket(name); err != nil {
		return nil, err
	}
	s, err := js.Stream(ctx, blobsPrefix+name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: blobs %q", kv.ErrNoBucket, name)
	}
	if err != nil {
		return nil, fmt.Errorf("kv: blobs %q: %w", name, err)
	}
	return newBlobs(js, s.CachedInfo().Config)
}

// DropBlobs removes a store and all that is in it. It returns kv.ErrNoBucket if there
// is none, and kv.ErrInvalidBucket.
func DropBlobs(ctx context.Context, js jetstream.JetStream, name string) error {
	if err := kv.ValidateBucket(name); err != nil {
		return err
	}
	err := drop(ctx, js, blobsPrefix+name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: blobs %q", kv.ErrNoBucket, name)
	}
	return err
}

func newBlobs(js jetstream.JetStream, sc jetstream.StreamConfig) (*Blobs, error) {
	name := sc.Name[len(blobsPrefix):]
	s, err := newMessages(js, sc, name, "$O."+name+".")
	return &Blobs{s}, err
}

// Name returns the store's name.
func (b *Blobs) Name() string { return b.s.name }

func metaKey(name string) string { return "M." + base64.URLEncoding.EncodeToString([]byte(name)) }

// meta is what describes a blob, and where that stands; nil if it is not there, and then
// revision is that of its delete, if that is still kept.
func (b *Blobs) meta(ctx context.Context, name string) (info *jetstream.ObjectInfo, revision uint64, err error) {
	if err := kv.ValidateBlob(name); err != nil {
		return nil, 0, err
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	e, err := b.s.last(ctx, metaKey(name))
	if err != nil || e.Revision == 0 {
		return nil, 0, err
	}
	info, err = parseMeta(e)
	if err != nil {
		return nil, e.Revision, fmt.Errorf("blobs %q, blob %q: %w", b.s.name, name, err)
	}
	return info, e.Revision, nil
}

// parseMeta returns nil for what was deleted.
func parseMeta(e kv.Entry) (*jetstream.ObjectInfo, error) {
	info := &jetstream.ObjectInfo{}
	if err := json.Unmarshal(e.Value, info); err != nil || info.NUID == "" && !info.Deleted {
		return nil, fmt.Errorf("%w: its description: %v", kv.ErrDamaged, err)
	}
	if info.Deleted || e.Op != kv.OpPut {
		return nil, nil
	}
	info.ModTime = e.Created
	return info, nil
}

// blob returns what a description says; a digest that is none cannot be that of anything.
func blob(info *jetstream.ObjectInfo) kv.Blob {
	sum, _ := base64.URLEncoding.DecodeString(strings.TrimPrefix(info.Digest, digestPrefix))
	return kv.Blob{Name: info.Name, Size: int64(info.Size), Digest: hex.EncodeToString(sum), Created: info.ModTime}
}

// Stat returns a blob without its content.
func (b *Blobs) Stat(ctx context.Context, name string) (kv.Blob, error) {
	info, _, err := b.meta(ctx, name)
	if err != nil {
		return kv.Blob{}, err
	}
	if info == nil {
		return kv.Blob{}, b.notFound(name)
	}
	return blob(info), nil
}

func (b *Blobs) notFound(name string) error {
	return fmt.Errorf("%w: blob %q in %q", kv.ErrNotFound, name, b.s.name)
}

// Put stores a blob: its parts, and then what makes them one.
func (b *Blobs) Put(ctx context.Context, name string, r io.Reader) (kv.Blob, error) {
	if _, _, err := b.meta(ctx, name); err != nil && !errors.Is(err, kv.ErrDamaged) {
		return kv.Blob{}, err
	}
	info := &jetstream.ObjectInfo{Bucket: b.s.name, NUID: rand.Text(), ObjectMeta: jetstream.ObjectMeta{
		Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: partSize},
	}}
	if err := b.putParts(ctx, info, r); err != nil {
		b.purge(ctx, "C."+info.NUID, 0)
		return kv.Blob{}, fmt.Errorf("blob %q: %w", name, err)
	}
	if err := b.putMeta(ctx, name, info, nil); err != nil {
		if code(err) != 0 { // otherwise it may have been stored, or be so yet
			b.purge(ctx, "C."+info.NUID, 0)
		}
		return kv.Blob{}, fmt.Errorf("blob %q: %w", name, err)
	}
	info.ModTime = time.Now().UTC()
	if now, _, err := b.meta(context.WithoutCancel(ctx), name); err == nil && now != nil && now.NUID == info.NUID {
		info = now // with the server's time
	}
	return blob(info), nil
}

// putMeta replaces what describes a blob and removes the parts of the one before. Of
// two who do that at once, each removes what it has replaced. If room is not nil, it makes
// some where there is none.
func (b *Blobs) putMeta(ctx context.Context, name string, info *jetstream.ObjectInfo, room func(revision uint64)) error {
	data, err := json.Marshal(info)
	if err != nil {
		return err
	}
	for {
		old, revision, err := b.meta(ctx, name)
		if err != nil && !errors.Is(err, kv.ErrDamaged) {
			return err
		}
		m := &nats.Msg{Subject: b.s.prefix + metaKey(name), Data: data}
		set(m, jetstream.MsgRollup, jetstream.MsgRollupSubject)
		if info.Deleted && b.s.cfg.AllowMsgTTL {
			set(m, jetstream.MsgTTLHeader, markerTTL.String())
		}
		expect(m, "", revision)
		_, err = b.s.js.PublishMsg(ctx, m)
		if isWrongLast(err) {
			continue
		}
		if err = b.fail(ctx, err); errors.Is(err, kv.ErrFull) && room != nil {
			room(revision)
			err = nil
		}
		if err == nil && old != nil {
			b.purge(ctx, "C."+old.NUID, 0)
		}
		return err
	}
}

func (b *Blobs) fail(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return b.s.fail(ctx, "", err)
}

// purge removes messages, even if ctx has ended. Those that stay are seen by nobody.
func (b *Blobs) purge(ctx context.Context, key string, before uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	s, err := b.s.js.Stream(ctx, b.s.stream)
	if err != nil {
		return
	}
	opts := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject(b.s.prefix + key)}
	if before > 0 {
		opts = append(opts, jetstream.WithPurgeSequence(before))
	}
	s.Purge(ctx, opts...)
}

// putParts stores what it reads, with a few parts on their way at any time.
func (b *Blobs) putParts(ctx context.Context, info *jetstream.ObjectInfo, r io.Reader) error {
	inbox := b.s.conn.NewInbox()
	acks, err := b.s.conn.SubscribeSync(inbox)
	if err != nil {
		return b.fail(ctx, err)
	}
	defer acks.Unsubscribe()
	part, hash, onWay := make([]byte, partSize), sha256.New(), 0
	defer func() { // so that a purge is behind them
		for ctx := context.WithoutCancel(ctx); onWay > 0; onWay-- {
			if err := b.partStored(ctx, acks); err != nil && code(err) == 0 {
				return
			}
		}
	}()
	for end := false; !end; {
		n, err := readPart(r, part)
		if end = err == io.EOF; err != nil && !end {
			return err
		}
		if n > 0 {
			hash.Write(part[:n])
			info.Size += uint64(n)
			info.Chunks++
			if err := b.s.conn.PublishRequest(b.s.prefix+"C."+info.NUID, inbox, part[:n]); err != nil {
				return b.fail(ctx, err)
			}
			onWay++
		}
		for onWay > 0 && (end || onWay == partsOnWay) {
			err := b.partStored(ctx, acks)
			if err == nil || code(err) != 0 {
				onWay--
			}
			if err != nil {
				return err
			}
		}
	}
	info.Digest = digestPrefix + base64.URLEncoding.EncodeToString(hash.Sum(nil))
	return ctx.Err()
}

// readPart is io.ReadFull, but for the end, which is io.EOF: io.ErrUnexpectedEOF is that of r, as
// of the body of a request that broke off.
func readPart(r io.Reader, part []byte) (n int, err error) {
	for n < len(part) && err == nil {
		var more int
		more, err = r.Read(part[n:])
		n += more
	}
	return n, err
}

// partStored waits for one more part to be stored.
func (b *Blobs) partStored(ctx context.Context, acks *nats.Subscription) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	m, err := acks.NextMsgWithContext(ctx)
	if err != nil {
		return b.fail(ctx, err)
	}
	if m.Header.Get("Status") == "503" {
		return b.fail(ctx, nats.ErrNoResponders)
	}
	var ack struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	if ack.Error != nil {
		return b.fail(ctx, ack.Error)
	}
	return nil
}

// Delete removes a blob.
func (b *Blobs) Delete(ctx context.Context, name string) error {
	info, _, err := b.meta(ctx, name)
	if err != nil && !errors.Is(err, kv.ErrDamaged) || err == nil && info == nil {
		return err
	}
	gone := &jetstream.ObjectInfo{Bucket: b.s.name, NUID: rand.Text(), Deleted: true, ObjectMeta: jetstream.ObjectMeta{Name: name}}
	return b.putMeta(ctx, name, gone, func(revision uint64) { b.purge(ctx, metaKey(name), revision+1) })
}

// List returns a page of blobs. Subjects have their names in another order, so each page costs
// all names, but the descriptions of its own blobs only.
func (b *Blobs) List(ctx context.Context, query kv.BlobQuery) (kv.BlobPage, error) {
	var page kv.BlobPage
	if err := query.Validate(); err != nil {
		return page, err
	}
	names, err := b.names(ctx, query)
	if err != nil {
		return page, err
	}
	limit := query.Limit
	if limit == 0 {
		limit = 1000
	}
	for len(names) > 0 && len(page.Blobs) < limit {
		some := names[:min(chunk, len(names), limit-len(page.Blobs))]
		names = names[len(some):]
		keys := make([]string, len(some))
		for i, name := range some {
			keys[i] = metaKey(name)
		}
		found, err := b.s.read(ctx, keys)
		if err != nil {
			return kv.BlobPage{}, err
		}
		for _, key := range keys {
			if info, err := parseMeta(found[key]); err == nil && info != nil {
				page.Blobs = append(page.Blobs, blob(info))
			}
		}
		page.Next = ""
		if len(names) > 0 {
			page.Next = some[len(some)-1]
		}
	}
	return page, nil
}

// names returns those that a query may choose, in their order.
func (b *Blobs) names(ctx context.Context, query kv.BlobQuery) ([]string, error) {
	const all = "M.>"
	part, err := b.s.subjects(ctx, b.s.prefix+all)
	if err != nil {
		return nil, err
	}
	var names []string
	add := func(key string) {
		name, err := base64.URLEncoding.DecodeString(key[len(all)-1:])
		if err == nil && strings.HasPrefix(string(name), query.Prefix) && string(name) > query.After {
			names = append(names, string(name))
		}
	}
	if part.Total > len(part.State.Subjects) {
		err = b.s.live(ctx, kv.Prefix(all[:len(all)-1]), add)
	} else {
		for subject := range part.State.Subjects {
			add(subject[len(b.s.prefix):])
		}
	}
	slices.Sort(names)
	return names, err
}
