package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/kv"
)

func (r *remote) wants(err error, code wire.Code, text string) {
	r.t.Helper()
	if !errors.Is(err, &wire.Error{Code: code}) || !strings.Contains(err.Error(), text) {
		r.t.Errorf("got %v, want %s with %q", err, code, text)
	}
}

func TestBucketsAreManaged(t *testing.T) {
	r := startRemote(t)
	c, ctx := r.client, t.Context()
	if list, err := c.Buckets(ctx); len(list) != 0 || err != nil {
		t.Errorf("at first: %+v, %v", list, err)
	}
	cfg := admin.BucketConfig{Name: "orders", Description: "of the shop", TTL: "1h", MaxValue: 1000, MaxBytes: 1 << 20, MaxKeys: 3}
	b, err := c.CreateBucket(ctx, cfg)
	if err != nil || b.Name != "orders" || b.Description != "of the shop" || b.TTL != "1h0m0s" || b.MaxKeys != 3 || b.MaxBytes != 1<<20 || b.History != 1 || b.MaxValue > 1000 {
		t.Fatalf("created %+v, %v", b, err)
	}
	_, err = c.CreateBucket(ctx, cfg)
	r.wants(err, wire.Conflict, "--update")
	bucket, err := r.Bucket(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := bucket.Put(ctx, fmt.Sprint("k", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err = c.PutKey(ctx, "orders", "k3", nil)
	r.wants(err, wire.Unprocessed, "fnhost bucket create orders --update")
	_, err = c.PutKey(ctx, "orders", "k0", make([]byte, 2000))
	r.wants(err, wire.TooLarge, "2000 bytes")
	if b, err = c.CreateBucket(ctx, admin.BucketConfig{Name: "orders", History: 5, Update: true}); err != nil || b.MaxKeys != 0 || b.History != 5 || b.Keys != 3 {
		t.Errorf("updated to %+v, %v", b, err)
	}
	if _, err := c.PutKey(ctx, "orders", "k3", make([]byte, 2000)); err != nil {
		t.Error(err)
	}
	list, err := c.Buckets(ctx)
	if err != nil || len(list) != 1 || list[0].Name != "orders" || list[0].Keys != 4 {
		t.Errorf("there are %+v, %v", list, err)
	}
	r.wants(c.DropBucket(ctx, "orders", false), wire.Conflict, "fnhost bucket rm orders --yes")
	if err := c.DropBucket(ctx, "orders", true); err != nil {
		t.Error(err)
	}
	_, err = c.Bucket(ctx, "orders")
	r.wants(err, wire.NotFound, "fnhost bucket create orders")
	if _, err := r.Bucket(ctx, "orders"); err != nil { // functions have it made
		t.Fatal(err)
	}
	if err := c.DropBucket(ctx, "orders", false); err != nil {
		t.Errorf("an empty one: %v", err)
	}
}

func TestBucketsThatCannotBeManaged(t *testing.T) {
	r := startRemote(t)
	c, ctx := r.client, t.Context()
	for _, test := range []struct {
		cfg  admin.BucketConfig
		code wire.Code
		text string
	}{
		{admin.BucketConfig{Name: "a.b"}, wire.BadRequest, "not a name"},
		{admin.BucketConfig{Name: "registry"}, wire.Forbidden, "the host's own"},
		{admin.BucketConfig{Name: "b", TTL: "1.5s"}, wire.BadRequest, "whole seconds"},
		{admin.BucketConfig{Name: "b", TTL: "soon"}, wire.BadRequest, "such as 10m"},
		{admin.BucketConfig{Name: "b", History: 100}, wire.Unprocessed, "from 1 to 64"},
		{admin.BucketConfig{Name: "b", MaxKeys: 5, History: 2}, wire.Unprocessed, "without history"},
		{admin.BucketConfig{Name: "b", Update: true}, wire.NotFound, "no bucket \"b\""},
	} {
		_, err := c.CreateBucket(ctx, test.cfg)
		r.wants(err, test.code, test.text)
	}
	for _, name := range []string{"registry", "config", "secrets", "artifacts", "sources"} {
		_, err := c.Bucket(ctx, name)
		r.wants(err, wire.Forbidden, "the host's own")
		_, err = c.PutKey(ctx, name, "k", nil)
		r.wants(err, wire.Forbidden, "the host's own")
		r.wants(c.DropBucket(ctx, name, true), wire.Forbidden, "the host's own")
	}
	_, err := c.PutKey(ctx, "none", "k", nil)
	r.wants(err, wire.NotFound, "fnhost bucket create none")
	r.wants(c.Keys(ctx, "none", kv.Query{}, nil), wire.NotFound, "no bucket")
	r.wants(c.WatchKeys(ctx, "none", kv.WatchOptions{}, nil), wire.NotFound, "no bucket")
	r.wants(c.DropBucket(ctx, "none", true), wire.NotFound, "no bucket")
}

func TestKeysOverTheAPI(t *testing.T) {
	r := startRemote(t)
	c, ctx := r.client, t.Context()
	if _, err := c.CreateBucket(ctx, admin.BucketConfig{Name: "b", History: 5}); err != nil {
		t.Fatal(err)
	}
	const key = "a/./b=-_"
	binary := []byte{0xff, 0, '\n'}
	first, err := c.PutKey(ctx, "b", key, binary, kv.IfAbsent(), kv.TTL(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	e, value, err := c.Key(ctx, "b", key)
	if err != nil || string(value) != string(binary) || e.Revision != first || e.Expires == nil || e.Expires.Sub(*e.Created) != time.Hour {
		t.Errorf("got %+v %q, %v", e, value, err)
	}
	_, err = c.PutKey(ctx, "b", key, nil, kv.IfAbsent())
	r.wants(err, wire.Conflict, "exists, at revision")
	_, err = c.PutKey(ctx, "b", key, nil, kv.IfRevision(first+7))
	r.wants(err, wire.Conflict, "has changed")
	r.wants(c.DeleteKey(ctx, "b", key, kv.IfRevision(first+7)), wire.Conflict, "has changed")
	_, err = c.PutKey(ctx, "b", "a..b", nil)
	r.wants(err, wire.BadRequest, "not a key")
	_, err = c.PutKey(ctx, "b", "k", nil, kv.TTL(time.Millisecond))
	r.wants(err, wire.BadRequest, "whole seconds")
	_, _, err = c.Key(ctx, "b", "none")
	r.wants(err, wire.NotFound, "fnhost kv ls b")
	_, err = c.AddKey(ctx, "b", key, 1)
	r.wants(err, wire.Unprocessed, "whole number")
	for _, delta := range []int64{5, -8} {
		if _, err := c.AddKey(ctx, "b", "n", delta); err != nil {
			t.Error(err)
		}
	}
	if sum, err := c.AddKey(ctx, "b", "n", 1, kv.TTL(time.Hour)); sum != -2 || err != nil {
		t.Errorf("the sum is %d, %v", sum, err)
	}
	if _, err := c.PutKey(ctx, "b", "text", []byte("ä")); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteKey(ctx, "b", "text"); err != nil {
		t.Fatal(err)
	}
	var got []string
	tell := func(e admin.KeyEntry) error {
		got = append(got, fmt.Sprintf("%s %s %q", e.Key, e.Op, e.Data()))
		return nil
	}
	steps := []struct {
		do   func() error
		want string
	}{
		{func() error { return c.Keys(ctx, "b", kv.Query{Values: true}, tell) }, key + ` put "\xff\x00\n", n put "-2"`},
		{func() error { return c.Keys(ctx, "b", kv.Query{Filter: kv.Glob("?")}, tell) }, `n  ""`},
		{func() error { return c.Keys(ctx, "b", kv.Query{Descending: true, Limit: 1}, tell) }, `n  ""`},
		{func() error { return c.Keys(ctx, "b", kv.Query{After: "a~"}, tell) }, `n  ""`},
		{func() error { return c.Keys(ctx, "b", kv.Query{Filter: kv.Prefix("x.")}, tell) }, ``},
		{func() error { return c.KeyHistory(ctx, "b", "text", tell) }, `text put "ä", text delete ""`},
		{func() error { return c.DeleteKey(ctx, "b", "text", kv.Purge()) }, ``},
		{func() error { return c.KeyHistory(ctx, "b", "text", tell) }, `text delete ""`},
	}
	for i, step := range steps {
		got = nil
		if err := step.do(); err != nil || strings.Join(got, ", ") != step.want {
			t.Errorf("%d: got %s, %v, want %s", i, strings.Join(got, ", "), err, step.want)
		}
	}
}

func TestKeysAreWatchedOverTheAPI(t *testing.T) {
	r := startRemote(t)
	c := r.client
	if _, err := c.CreateBucket(t.Context(), admin.BucketConfig{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	for i := range 2500 { // more than a page
		if _, err := c.PutKey(t.Context(), "b", fmt.Sprint("k", i), []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	listed := 0
	if err := c.Keys(t.Context(), "b", kv.Query{}, func(admin.KeyEntry) error { listed++; return nil }); listed != 2500 || err != nil {
		t.Errorf("listed %d, %v", listed, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	initial := 0
	err := c.WatchKeys(ctx, "b", kv.WatchOptions{Initial: true}, func(e admin.KeyEntry) error {
		switch {
		case e.Op == "ready":
			if initial != 2500 {
				t.Errorf("%d before ready", initial)
			}
			_, err := c.PutKey(ctx, "b", "new", []byte("2"))
			return err
		case e.Key == "new":
			cancel()
		default:
			initial++
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the watcher ended: %v", err)
	}
	_, err = r.client.PutKey(t.Context(), "b", "after", nil)
	if err != nil {
		t.Fatal(err)
	}
	// What a watcher follows ends with the host.
	started := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- c.WatchKeys(t.Context(), "b", kv.WatchOptions{Initial: true, Filter: kv.Key("none")}, func(admin.KeyEntry) error {
			close(started)
			return nil
		})
	}()
	<-started
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("it ended with %v", err)
	}
}

func TestParametersOfKeysThatAreNone(t *testing.T) {
	r := startRemote(t)
	if _, err := r.client.CreateBucket(t.Context(), admin.BucketConfig{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"keys?limit=0", "keys?values=maybe", "keys?glob=a..b", "watch?from=0", "watch?from=1&initial=true", "keys/k?ttl=1.5s", "keys/k/add?delta=x", "keys/k?ifRevision=-1"} {
		method := http.MethodGet
		if strings.HasPrefix(path, "keys/k?") {
			method = http.MethodPut
		} else if strings.Contains(path, "/add") {
			method = http.MethodPost
		}
		req, err := http.NewRequestWithContext(t.Context(), method, r.Info().Admin+"/v1/buckets/b/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+r.token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s %s: %s", method, path, resp.Status)
		}
	}
}
