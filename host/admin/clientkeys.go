package admin

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/trigger/codec"
)

// Keys calls yield with the keys of a query, whose Limit is how many there are in all, 0 for
// no limit.
func (c *Client) Keys(ctx context.Context, bucket string, q kv.Query, yield func(KeyEntry) error) error {
	v := filterQuery(q.Filter)
	set := func(name, value string, on bool) {
		if on {
			v.Set(name, value)
		}
	}
	set("after", q.After, q.After != "")
	set("limit", strconv.Itoa(q.Limit), q.Limit != 0)
	set("descending", "true", q.Descending)
	set("values", "true", q.Values)
	path, err := bucketPath(bucket)
	if err != nil {
		return err
	}
	return c.entries(ctx, path+"/keys?"+v.Encode(), yield)
}

func filterQuery(f kv.Filter) url.Values {
	v := make(url.Values)
	for name, text := range map[string]string{"prefix": f.Prefix, "suffix": f.Suffix, "glob": f.Glob} {
		if text != "" {
			v.Set(name, text)
		}
	}
	return v
}

// WatchKeys calls yield with changes of keys until ctx ends, yield returns an error, or
// the host goes away, which is no error or io.ErrUnexpectedEOF.
func (c *Client) WatchKeys(ctx context.Context, bucket string, o kv.WatchOptions, yield func(KeyEntry) error) error {
	v := filterQuery(o.Filter)
	if o.Initial {
		v.Set("initial", "true")
	}
	if o.KeysOnly {
		v.Set("keysOnly", "true")
	}
	if o.From > 0 {
		v.Set("from", strconv.FormatUint(o.From, 10))
	}
	path, err := bucketPath(bucket)
	if err != nil {
		return err
	}
	return c.entries(ctx, path+"/watch?"+v.Encode(), yield)
}

// KeyHistory calls yield with what a bucket keeps of a key, the oldest first.
func (c *Client) KeyHistory(ctx context.Context, bucket, key string, yield func(KeyEntry) error) error {
	path, err := keyPath(bucket, key)
	if err != nil {
		return err
	}
	return c.entries(ctx, path+"/history", yield)
}

// bucketPath returns the path of a bucket, or an error of code BadRequest for what is no
// name of one: it may not become another path.
func bucketPath(bucket string) (string, error) {
	return "/v1/buckets/" + url.PathEscape(bucket), bucketError(bucket, kv.ValidateBucket(bucket))
}

// keyPath is bucketPath for a key.
func keyPath(bucket, key string) (string, error) {
	path, err := bucketPath(bucket)
	if err == nil {
		err = bucketError(bucket, kv.ValidateKey(key))
	}
	return path + "/keys/" + url.PathEscape(key), err
}

// entries reads an answer of one entry a line.
func (c *Client) entries(ctx context.Context, path string, yield func(KeyEntry) error) error {
	resp, err := c.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("the host broke the answer off: %w", err)
		}
		var e KeyEntry
		if err := codec.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("the answer: %w", err)
		}
		if err := yield(e); err != nil {
			return err
		}
	}
}

// Key returns a key's entry and its value, which the entry has not. The error is of code
// NotFound if there is none.
func (c *Client) Key(ctx context.Context, bucket, key string) (KeyEntry, []byte, error) {
	e := KeyEntry{Key: key, Op: kv.OpPut.String()}
	path, err := keyPath(bucket, key)
	if err != nil {
		return e, nil, err
	}
	resp, err := c.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return e, nil, err
	}
	defer resp.Body.Close()
	value, err := io.ReadAll(resp.Body)
	if err != nil {
		return e, nil, fmt.Errorf("the host broke the answer off: %w", err)
	}
	e.Revision, _ = strconv.ParseUint(resp.Header.Get(revisionHeader), 10, 64)
	for name, to := range map[string]**time.Time{createdHeader: &e.Created, expiresHeader: &e.Expires} {
		if at, err := time.Parse(time.RFC3339Nano, resp.Header.Get(name)); err == nil {
			*to = &at
		}
	}
	return e, value, nil
}

// SetData fills in Value or Base64.
func (e *KeyEntry) SetData(data []byte) {
	shown := shownEntry(&kv.Entry{Value: append([]byte{}, data...)})
	e.Value, e.Base64 = shown.Value, shown.Base64
}

// PutKey writes a value and returns its revision. Options: kv.TTL, kv.IfAbsent and kv.IfRevision;
// the error is of code Conflict if a condition does not hold.
func (c *Client) PutKey(ctx context.Context, bucket, key string, value []byte, options ...kv.Option) (uint64, error) {
	path, err := keyPath(bucket, key)
	if err != nil {
		return 0, err
	}
	change := kv.Put(key, value, options...)
	resp, err := c.do(ctx, http.MethodPut, path+changeQuery(&change, nil), http.Header{"Content-Type": {"application/octet-stream"}}, bytes.NewReader(value))
	if err != nil {
		return 0, err
	}
	var v KeyWritten
	err = decode(resp, &v)
	return v.Revision, err
}

// DeleteKey removes a key. Options: kv.IfRevision and kv.Purge.
func (c *Client) DeleteKey(ctx context.Context, bucket, key string, options ...kv.Option) error {
	path, err := keyPath(bucket, key)
	if err != nil {
		return err
	}
	change := kv.Delete(key, options...)
	v := make(url.Values)
	if change.Action == kv.ActPurge {
		v.Set("purge", "true")
	}
	return c.send(ctx, http.MethodDelete, path+changeQuery(&change, v), nil, nil)
}

// AddKey adds to the number that a key holds, and returns the sum. Option: kv.TTL.
func (c *Client) AddKey(ctx context.Context, bucket, key string, delta int64, options ...kv.Option) (int64, error) {
	path, err := keyPath(bucket, key)
	if err != nil {
		return 0, err
	}
	change := kv.Put(key, nil, options...)
	var v KeySum
	err = c.send(ctx, http.MethodPost, path+"/add"+changeQuery(&change, url.Values{"delta": {strconv.FormatInt(delta, 10)}}), nil, &v)
	return v.Value, err
}

// changeQuery is what options say, as parameters.
func changeQuery(c *kv.Change, v url.Values) string {
	if v == nil {
		v = make(url.Values)
	}
	if c.TTL != 0 {
		v.Set("ttl", c.TTL.String())
	}
	if c.If {
		v.Set("ifRevision", strconv.FormatUint(c.Revision, 10))
	}
	return "?" + v.Encode()
}
