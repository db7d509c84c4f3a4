package jetkv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
)

const (
	opHeader = "KV-Operation"
	opDelete = "DEL"
	opPurge  = "PURGE"
)

// last returns the latest entry of a key, deletes and expiry too; one of revision 0 if
// there is none.
func (b *Bucket) last(ctx context.Context, key string) (kv.Entry, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if b.cfg.Replicas > 1 || !b.cfg.AllowDirect {
		return b.lastOfLeader(ctx, key)
	}
	m, err := b.conn.RequestWithContext(ctx, b.api+"DIRECT.GET."+b.stream+"."+b.prefix+key, nil)
	if err != nil {
		return kv.Entry{}, b.fail(ctx, key, err)
	}
	switch status := m.Header.Get("Status"); status {
	case "":
		return b.direct(m)
	case "404":
		return kv.Entry{Key: key, Op: kv.OpDelete}, nil
	default:
		return kv.Entry{}, fmt.Errorf("kv: bucket %q, key %q: %s %s", b.name, key, status, m.Header.Get("Description"))
	}
}

// lastOfLeader asks the leader of the stream, which knows of every write that has been
// acknowledged; a replica may not yet.
func (b *Bucket) lastOfLeader(ctx context.Context, key string) (kv.Entry, error) {
	return b.lastOn(ctx, b.prefix+key, key)
}

// lastOn is lastOfLeader for any subject, with the key that is meant, "" for none.
func (b *Bucket) lastOn(ctx context.Context, subject, key string) (kv.Entry, error) {
	question, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return kv.Entry{}, err
	}
	m, err := b.conn.RequestWithContext(ctx, b.api+"STREAM.MSG.GET."+b.stream, question)
	if err != nil {
		return kv.Entry{}, b.fail(ctx, key, err)
	}
	return b.ofLeader(ctx, key, m.Data)
}

// ofLeader returns the entry of its answer, one of revision 0 if there is none.
func (b *Bucket) ofLeader(ctx context.Context, key string, data []byte) (e kv.Entry, err error) {
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return kv.Entry{}, fmt.Errorf("kv: bucket %q, key %q: the server's answer: %w", b.name, key, err)
	}
	if answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		return kv.Entry{Key: key, Op: kv.OpDelete}, nil
	}
	if answer.Error != nil {
		return kv.Entry{}, b.fail(ctx, key, answer.Error)
	}
	var header nats.Header
	if len(answer.Message.Header) > 0 {
		if header, err = nats.DecodeHeadersMsg(answer.Message.Header); err != nil {
			return kv.Entry{}, fmt.Errorf("kv: bucket %q, key %q: the server's answer: %w", b.name, key, err)
		}
	}
	return b.entry(key, answer.Message.Sequence, answer.Message.Time, header, answer.Message.Data), nil
}

// direct returns the entry of an answer to a direct get.
func (b *Bucket) direct(m *nats.Msg) (kv.Entry, error) {
	seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	at, err2 := time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
	subject := m.Header.Get(jetstream.SubjectHeader)
	if err = errors.Join(err, err2); err != nil || len(subject) <= len(b.prefix) {
		return kv.Entry{}, fmt.Errorf("kv: bucket %q: the server's answer is of subject %q: %w", b.name, subject, err)
	}
	return b.entry(subject[len(b.prefix):], seq, at, m.Header, m.Data), nil
}

// Stream returns the name of a bucket's stream.
func Stream(bucket string) string { return streamPrefix + bucket }

// Entry returns what a message of a bucket's stream says; ok is false for one that is of
// no key. maxAge is that of the stream, 0 for none.
func Entry(bucket string, m *nats.Msg, seq uint64, at time.Time, maxAge time.Duration) (e kv.Entry, ok bool) {
	key, ok := strings.CutPrefix(m.Subject, subjectPrefix+bucket+".")
	if !ok {
		return e, false
	}
	return entry(maxAge, key, seq, at, m.Header, m.Data), true
}

func (b *Bucket) entry(key string, seq uint64, at time.Time, h nats.Header, data []byte) kv.Entry {
	return entry(b.cfg.MaxAge, key, seq, at, h, data)
}

// entry returns what a message says.
func entry(maxAge time.Duration, key string, seq uint64, at time.Time, h nats.Header, data []byte) kv.Entry {
	e := kv.Entry{Key: key, Revision: seq, Created: at, Op: op(h)}
	if e.Op != kv.OpPut {
		return e
	}
	e.Value = data
	if e.Value == nil {
		e.Value = []byte{}
	}
	ttl := MessageTTL(h)
	if maxAge > 0 && ttl >= 0 && (ttl == 0 || maxAge < ttl) {
		ttl = maxAge
	}
	if ttl > 0 {
		e.Expires = at.Add(ttl)
	}
	return e
}

func op(h nats.Header) kv.Op {
	if len(h) == 0 {
		return kv.OpPut
	}
	switch h.Get(opHeader) {
	case opDelete, opPurge:
		return kv.OpDelete
	}
	switch h.Get(jetstream.MarkerReasonHeader) {
	case "":
		return kv.OpPut
	case "MaxAge":
		return kv.OpExpire
	}
	return kv.OpDelete
}

// MessageTTL returns a message's TTL, 0 if it has none, -1 if it stays for ever,
// whatever the bucket says. A delete and an expiry have one, too, where they go by themselves.
func MessageTTL(h nats.Header) time.Duration {
	text := h.Get(jetstream.MsgTTLHeader)
	if text == "" {
		return 0
	}
	if text == "never" {
		return -1
	}
	if d, err := time.ParseDuration(text); err == nil {
		return d
	}
	seconds, _ := strconv.ParseInt(text, 10, 64)
	return time.Duration(seconds) * time.Second
}
