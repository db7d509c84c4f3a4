package jetkv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/kv"
)

const (
	pageBytes = 4 << 20 // of values in a page, and in one answer of the server
	chunk     = 256     // keys that are read at once; the server takes 1024
)

// List returns a page of keys. The server tells the subjects that match; which of them
// are keys and which are what a delete has left, only their messages say, of which it reads no
// more than the page takes.
func (b *Bucket) List(ctx context.Context, query kv.Query) (kv.Page, error) {
	if err := query.Validate(); err != nil {
		return kv.Page{}, err
	}
	left, err := b.rest(ctx, &query)
	if err != nil {
		return kv.Page{}, err
	}
	limit := query.Limit
	if limit == 0 {
		limit = 1000
	}
	step := int(min(chunk, max(pageBytes/max(left.size, 1), 1)))
	var page kv.Page
	bytes, keys := 0, left.keys
	for len(keys) > 0 && len(page.Entries) < limit && bytes < pageBytes {
		some := keys[:min(step, len(keys), limit-len(page.Entries))]
		found, err := b.read(ctx, some)
		if err != nil {
			return kv.Page{}, err
		}
		for _, key := range some {
			e, ok := found[key]
			if !ok || e.Op != kv.OpPut {
				continue
			}
			bytes += len(e.Value)
			if !query.Values {
				e = kv.Entry{Key: key}
			}
			page.Entries = append(page.Entries, e)
		}
		if keys = keys[len(some):]; len(keys) > 0 {
			page.Next = some[len(some)-1]
		} else {
			page.Next = ""
		}
	}
	if page.Next != "" {
		b.rests.keep(place{query.Filter, page.Next, query.Descending}, &rest{keys: keys, seq: left.seq, size: left.size})
	}
	return page, nil
}

// rest returns the keys that a query may choose, in its order and behind its After.
func (b *Bucket) rest(ctx context.Context, q *kv.Query) (*rest, error) {
	if left := b.rests.take(place{q.Filter, q.After, q.Descending}); left != nil && q.After != "" {
		if ok, err := b.refresh(ctx, q, left); ok || err != nil {
			return left, err
		}
	}
	part, err := b.subjects(ctx, b.subject(q.Filter))
	if err != nil {
		return nil, err
	}
	left := &rest{seq: part.State.Last, size: part.State.Bytes / max(part.State.Messages, 1)}
	add := func(key string) {
		if q.Match(key) && behind(q, key) {
			left.keys = append(left.keys, key)
		}
	}
	if part.Total > len(part.State.Subjects) { // the server would collect all of them for each part
		err = b.live(ctx, q.Filter, add)
	} else {
		for subject := range part.State.Subjects {
			add(subject[len(b.prefix):])
		}
	}
	left.keys = sorted(q, left.keys)
	return left, err
}

// subjects returns the stream's subjects that match a filter, at most 100,000.
func (b *Bucket) subjects(ctx context.Context, filter string) (*info, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	question, err := json.Marshal(map[string]string{"subjects_filter": filter})
	if err != nil {
		return nil, err
	}
	m, err := b.conn.RequestWithContext(ctx, b.api+"STREAM.INFO."+b.stream, question)
	if err != nil {
		return nil, b.fail(ctx, "", err)
	}
	part := &info{}
	if err := json.Unmarshal(m.Data, part); err != nil {
		return nil, fmt.Errorf("kv: bucket %q: the server's answer: %w", b.name, err)
	}
	if part.Error != nil {
		return nil, b.fail(ctx, "", part.Error)
	}
	return part, nil
}

func behind(q *kv.Query, key string) bool {
	switch {
	case q.After == "":
		return true
	case q.Descending:
		return key < q.After
	}
	return key > q.After
}

// read returns the latest entries of keys, those that it finds.
func (b *Bucket) read(ctx context.Context, keys []string) (map[string]kv.Entry, error) {
	found := make(map[string]kv.Entry, len(keys))
	if !b.cfg.AllowDirect {
		for _, key := range keys {
			e, err := b.last(ctx, key)
			if err != nil {
				return nil, err
			}
			if e.Revision > 0 {
				found[key] = e
			}
		}
		return found, nil
	}
	for left := keys; len(left) > 0; {
		subjects := make([]string, len(left))
		for i, key := range left {
			subjects[i] = b.prefix + key
		}
		sort.Strings(subjects)
		n := len(found)
		complete, err := b.ask(ctx, map[string]any{"multi_last": subjects, "max_bytes": pageBytes}, func(e kv.Entry) { found[e.Key] = e })
		if err != nil {
			return nil, err
		}
		if complete || len(found) == n {
			break
		}
		left = slices.DeleteFunc(slices.Clone(left), func(key string) bool { return found[key].Revision > 0 })
	}
	return found, nil
}

// History returns what the bucket has kept of a key.
func (b *Bucket) History(ctx context.Context, key string) ([]kv.Entry, error) {
	if err := kv.ValidateKey(key); err != nil {
		return nil, err
	}
	if !b.cfg.AllowDirect {
		return nil, fmt.Errorf("bucket %q: its stream has no direct reads: %w", b.name, errors.ErrUnsupported)
	}
	var list []kv.Entry
	for from := uint64(1); ; {
		complete, err := b.ask(ctx, map[string]any{"next_by_subj": b.prefix + key, "seq": from, "batch": kv.MaxHistory, "max_bytes": pageBytes}, func(e kv.Entry) {
			list = append(list, e)
			from = e.Revision + 1
		})
		if err != nil {
			return nil, err
		}
		if complete {
			break
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: %q in bucket %q", kv.ErrNotFound, key, b.name)
	}
	return list, nil
}

// ask sends one direct get whose answer is several messages, and reports whether that was all.
func (b *Bucket) ask(ctx context.Context, question map[string]any, each func(kv.Entry)) (complete bool, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	body, err := json.Marshal(question)
	if err != nil {
		return false, err
	}
	inbox := b.conn.NewInbox()
	sub, err := b.conn.SubscribeSync(inbox)
	if err != nil {
		return false, b.fail(ctx, "", err)
	}
	defer sub.Unsubscribe()
	if err := b.conn.PublishRequest(b.api+"DIRECT.GET."+b.stream, inbox, body); err != nil {
		return false, b.fail(ctx, "", err)
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return false, b.fail(ctx, "", err)
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			e, err := b.direct(m)
			if err != nil {
				return false, err
			}
			each(e)
		case "204":
			return m.Header.Get("Nats-Num-Pending") == "0", nil
		case "404": // none at all
			return true, nil
		case "503":
			return false, b.fail(ctx, "", nats.ErrNoResponders)
		default:
			return false, fmt.Errorf("kv: bucket %q: %s %s", b.name, status, m.Header.Get("Description"))
		}
	}
}

// subject returns the narrowest subject that has all keys of a filter.
func (b *Bucket) subject(f kv.Filter) string { return Subject(b.name, f) }

// Subject returns the narrowest subject that has all keys of a bucket that a filter
// chooses; it may have others, too.
func Subject(bucket string, f kv.Filter) string {
	prefix := subjectPrefix + bucket + "."
	byPrefix := f.Prefix[:strings.LastIndexByte(f.Prefix, '.')+1] + ">"
	byGlob := ">"
	if f.Glob != "" {
		words := strings.Split(f.Glob, ".")
		for i, word := range words {
			if strings.Contains(word, "**") {
				words = append(words[:i], ">")
				break
			}
			if strings.ContainsAny(word, "*?") {
				words[i] = "*"
			}
		}
		byGlob = strings.Join(words, ".")
	}
	if fixed(byGlob) >= fixed(byPrefix) {
		return prefix + byGlob
	}
	return prefix + byPrefix
}

// fixed returns how much of a subject stands before its first wildcard.
func fixed(subject string) int {
	if i := strings.IndexAny(subject, "*>"); i >= 0 {
		return i
	}
	return len(subject)
}
