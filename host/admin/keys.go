package admin

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/trigger/codec"
)

// KeyEntry is a key at a revision, or something that happened to it.
type KeyEntry struct {
	Key      string     `json:"key"`
	Op       string     `json:"op,omitempty"` // "put", "delete" or "expire"; of a watcher also "ready", without a key: what was there before is through
	Revision uint64     `json:"revision,omitempty"`
	Created  *time.Time `json:"created,omitempty"` // when this revision was written
	Expires  *time.Time `json:"expires,omitempty"`
	Value    *string    `json:"value,omitempty"`  // as text
	Base64   string     `json:"base64,omitempty"` // instead of Value, if that is no text
}

// Data returns the value, nil if there is none.
func (e *KeyEntry) Data() []byte {
	switch {
	case e.Base64 != "":
		b, _ := base64.StdEncoding.DecodeString(e.Base64)
		return b
	case e.Value != nil:
		return []byte(*e.Value)
	}
	return nil
}

// shownEntry is an entry as the API has it; one of a list of keys is a key and nothing else.
func shownEntry(e *kv.Entry) KeyEntry {
	v := KeyEntry{Key: e.Key, Revision: e.Revision}
	if e.Revision > 0 || e.Op == kv.OpReady {
		v.Op = e.Op.String()
	}
	if !e.Created.IsZero() {
		v.Created = &e.Created
	}
	if !e.Expires.IsZero() {
		v.Expires = &e.Expires
	}
	if e.Value == nil {
		return v
	}
	if utf8.Valid(e.Value) {
		text := string(e.Value)
		v.Value = &text
	} else {
		v.Base64 = base64.StdEncoding.EncodeToString(e.Value)
	}
	return v
}

// KeyWritten says where a write stands.
type KeyWritten struct {
	Revision uint64 `json:"revision"`
}

// KeySum is what a number has become.
type KeySum struct {
	Value int64 `json:"value"`
}

// Headers of an answer that is a value.
const (
	revisionHeader = "X-Kv-Revision"
	createdHeader  = "X-Kv-Created"
	expiresHeader  = "X-Kv-Expires"
)

const maxKeyValue = 64 << 20 // bytes; no bucket takes more

// opened is the bucket that a request names.
func (s *Server) opened(r *http.Request) (kv.Bucket, string, error) {
	name := r.PathValue("bucket")
	b, err := s.backend.OpenBucket(r.Context(), name)
	return b, r.PathValue("key"), bucketError(name, err)
}

// entries answers with lines. What breaks in the middle breaks the connection off, so that a part
// is not taken for the whole.
func (s *Server) entries(w http.ResponseWriter, bucket string, run func(yield func(*kv.Entry) error) error) error {
	begun := false
	w.Header().Set("Content-Type", "application/x-ndjson")
	err := run(func(e *kv.Entry) error {
		line, err := codec.Marshal(shownEntry(e))
		if err != nil {
			return err
		}
		begun = true
		_, err = w.Write(append(line, '\n'))
		return err
	})
	if err != nil && begun {
		panic(http.ErrAbortHandler)
	}
	return bucketError(bucket, err)
}

func (s *Server) keys(w http.ResponseWriter, r *http.Request) error {
	b, _, err := s.opened(r)
	if err != nil {
		return err
	}
	q, limit, err := keyQuery(r.URL.Query())
	if err != nil {
		return err
	}
	return s.entries(w, b.Name(), func(yield func(*kv.Entry) error) error {
		left := limit
		for {
			q.Limit = min(left, 1000)
			page, err := b.List(r.Context(), q)
			if err != nil {
				return err
			}
			for i := range page.Entries {
				if err := yield(&page.Entries[i]); err != nil {
					return err
				}
			}
			left -= len(page.Entries)
			if q.After = page.Next; left == 0 || page.Next == "" {
				return nil
			}
		}
	})
}

const maxListed = 1 << 40 // no limit

func keyQuery(v url.Values) (q kv.Query, limit int, err error) {
	q = kv.Query{Filter: keyFilter(v), After: v.Get("after")}
	var errs [3]error
	limit, errs[0] = number(v, "limit", maxListed, maxListed)
	q.Descending, errs[1] = flag(v, "descending")
	q.Values, errs[2] = flag(v, "values")
	return q, limit, errors.Join(errs[:]...)
}

func keyFilter(v url.Values) kv.Filter {
	return kv.Filter{Prefix: v.Get("prefix"), Suffix: v.Get("suffix"), Glob: v.Get("glob")}
}

func (s *Server) keyHistory(w http.ResponseWriter, r *http.Request) error {
	b, key, err := s.opened(r)
	if err != nil {
		return err
	}
	return s.entries(w, b.Name(), func(yield func(*kv.Entry) error) error {
		list, err := b.History(r.Context(), key)
		for i := range list {
			if err := yield(&list[i]); err != nil {
				return err
			}
		}
		return err
	})
}

func (s *Server) watchKeys(w http.ResponseWriter, r *http.Request) error {
	b, _, err := s.opened(r)
	if err != nil {
		return err
	}
	v := r.URL.Query()
	o := kv.WatchOptions{Filter: keyFilter(v)}
	var errs [3]error
	o.Initial, errs[0] = flag(v, "initial")
	o.KeysOnly, errs[1] = flag(v, "keysOnly")
	if text := v.Get("from"); text != "" {
		if o.From, err = strconv.ParseUint(text, 10, 64); err != nil || o.From == 0 {
			errs[2] = wire.Errorf(wire.BadRequest, "from=%.40s: want a revision, from 1 on", text)
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	watcher, err := b.Watch(ctx, o)
	if err != nil {
		return bucketError(b.Name(), err)
	}
	defer watcher.Close()
	w.Header().Set("Content-Type", "application/x-ndjson")
	rc := http.NewResponseController(w)
	if err := rc.Flush(); err != nil { // the client knows that it watches
		return err
	}
	return s.entries(w, b.Name(), func(yield func(*kv.Entry) error) error {
		for {
			e, err := watcher.Next(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			if err := yield(&e); err != nil {
				return err
			}
			if err := rc.Flush(); err != nil {
				return err
			}
		}
	})
}

func (s *Server) getKey(w http.ResponseWriter, r *http.Request) error {
	b, key, err := s.opened(r)
	if err != nil {
		return err
	}
	e, err := b.Get(r.Context(), key)
	if err != nil {
		return bucketError(b.Name(), err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(len(e.Value)))
	h.Set(revisionHeader, strconv.FormatUint(e.Revision, 10))
	h.Set(createdHeader, e.Created.Format(time.RFC3339Nano))
	if !e.Expires.IsZero() {
		h.Set(expiresHeader, e.Expires.Format(time.RFC3339Nano))
	}
	_, err = w.Write(e.Value)
	return err
}

// writeOptions are those that parameters of a URL ask for.
func writeOptions(v url.Values) (options []kv.Option, err error) {
	if text := v.Get("ttl"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Second || kv.ValidateTTL(d) != nil {
			return nil, wire.Errorf(wire.BadRequest, "ttl=%.40s: want a duration of whole seconds, from 1s on", text)
		}
		options = append(options, kv.TTL(d))
	}
	if text := v.Get("ifRevision"); text != "" {
		revision, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, wire.Errorf(wire.BadRequest, "ifRevision=%.40s: want a revision, 0 for a key that is not there", text)
		}
		options = append(options, kv.IfRevision(revision))
	}
	return options, nil
}

func (s *Server) putKey(w http.ResponseWriter, r *http.Request) error {
	b, key, err := s.opened(r)
	if err != nil {
		return err
	}
	options, err := writeOptions(r.URL.Query())
	if err != nil {
		return err
	}
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxKeyValue))
	if err != nil {
		return wire.Errorf(wire.TooLarge, "the value: %v", err)
	}
	revision, err := b.Put(r.Context(), key, value, options...)
	return replyOr(w, KeyWritten{revision}, bucketError(b.Name(), err))
}

func (s *Server) deleteKey(w http.ResponseWriter, r *http.Request) error {
	b, key, err := s.opened(r)
	if err != nil {
		return err
	}
	v := r.URL.Query()
	v.Del("ttl")
	options, err := writeOptions(v)
	if err != nil {
		return err
	}
	purge, err := flag(v, "purge")
	if err != nil {
		return err
	}
	if purge {
		options = append(options, kv.Purge())
	}
	return noContent(w, bucketError(b.Name(), b.Delete(r.Context(), key, options...)))
}

func (s *Server) addKey(w http.ResponseWriter, r *http.Request) error {
	b, key, err := s.opened(r)
	if err != nil {
		return err
	}
	v := r.URL.Query()
	v.Del("ifRevision")
	options, err := writeOptions(v)
	if err != nil {
		return err
	}
	delta := int64(1)
	if text := v.Get("delta"); text != "" {
		if delta, err = strconv.ParseInt(text, 10, 64); err != nil {
			return wire.Errorf(wire.BadRequest, "delta=%.40s: want a whole number", text)
		}
	}
	sum, err := b.Add(r.Context(), key, delta, options...)
	return replyOr(w, KeySum{sum}, bucketError(b.Name(), err))
}
