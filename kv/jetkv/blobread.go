package jetkv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/fnhost/fnhost/kv"
)

// Get returns a blob and what reads it.
func (b *Blobs) Get(ctx context.Context, name string) (kv.Blob, io.ReadCloser, error) {
	info, _, err := b.meta(ctx, name)
	if err != nil {
		return kv.Blob{}, nil, err
	}
	if info == nil {
		return kv.Blob{}, nil, b.notFound(name)
	}
	if info.Opts != nil && info.Opts.Link != nil {
		return kv.Blob{}, nil, fmt.Errorf("blob %q in %q is a link to another: %w", name, b.s.name, errors.ErrUnsupported)
	}
	about := blob(info)
	return about, &blobReader{ctx: ctx, blobs: b, about: about, id: info.NUID, parts: int(info.Chunks), hash: sha256.New(), from: 1}, nil
}

// blobReader asks for some parts at a time; between two Reads nothing is on its way.
type blobReader struct {
	ctx   context.Context
	blobs *Blobs
	about kv.Blob
	id    string
	parts int      // that are to come
	from  uint64   // sequence of the next
	ready [][]byte // parts that are here
	hash  hash.Hash
	size  int64
	err   error
}

func (r *blobReader) Read(p []byte) (int, error) {
	for len(r.ready) == 0 && r.err == nil {
		r.err = r.more()
	}
	if len(r.ready) == 0 {
		return 0, r.err
	}
	n := copy(p, r.ready[0])
	if r.ready[0] = r.ready[0][n:]; len(r.ready[0]) == 0 {
		r.ready = r.ready[1:]
	}
	return n, nil
}

// Close ends the reader.
func (r *blobReader) Close() error {
	r.ready, r.err = nil, errClosedBlob
	return nil
}

var errClosedBlob = errors.New("kv: blob is closed")

// more gets the next parts. It returns io.EOF when all were there and are what was stored.
func (r *blobReader) more() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.parts == 0 {
		if r.size == r.about.Size && hex.EncodeToString(r.hash.Sum(nil)) == r.about.Digest {
			return io.EOF
		}
		return r.incomplete()
	}
	got := 0
	take := func(e kv.Entry) {
		got++
		r.from = e.Revision + 1
		if len(e.Value) > 0 {
			r.ready = append(r.ready, e.Value)
		}
		r.hash.Write(e.Value)
		r.size += int64(len(e.Value))
	}
	if err := r.blobs.parts(r.ctx, r.id, r.from, min(r.parts, partsOnWay), take); err != nil {
		return err
	}
	r.parts -= got
	if got == 0 {
		return r.incomplete()
	}
	return nil
}

// incomplete says why parts are not as they should be.
func (r *blobReader) incomplete() error {
	info, _, err := r.blobs.meta(r.ctx, r.about.Name)
	if err != nil {
		return err
	}
	if info == nil || info.NUID != r.id {
		return fmt.Errorf("%w: %q in %q", kv.ErrReplaced, r.about.Name, r.blobs.s.name)
	}
	return fmt.Errorf("%w: %q in %q", kv.ErrDamaged, r.about.Name, r.blobs.s.name)
}

// parts returns the next parts of a blob, at most n and fewer if there are no more. Of a stream with
// replicas the leader is asked, one by one: another may not have them yet.
func (b *Blobs) parts(ctx context.Context, id string, from uint64, n int, each func(kv.Entry)) error {
	question := map[string]any{"next_by_subj": b.s.prefix + "C." + id, "seq": from}
	if b.s.cfg.AllowDirect && b.s.cfg.Replicas <= 1 {
		question["batch"], question["max_bytes"] = n, pageBytes
		_, err := b.s.ask(ctx, question, each)
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	m, err := b.s.conn.RequestWithContext(ctx, b.s.api+"STREAM.MSG.GET."+b.s.stream, body)
	if err != nil {
		return b.fail(ctx, err)
	}
	e, err := b.s.ofLeader(ctx, "C."+id, m.Data)
	if err == nil && e.Revision > 0 {
		each(e)
	}
	return err
}
