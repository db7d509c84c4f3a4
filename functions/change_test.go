package functions

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

// changeOf returns the headers of a change of the key "user.1".
func changeOf(change string) wire.Header {
	return fields(wire.KeySubject, "$KV.b.user.1", wire.KeyStream, "KV_b", wire.KeySequence, "7", wire.KeyAttempt, "2",
		wire.KeyBucket, "b", wire.KeyKey, "user.1", wire.KeyChange, change).AddInt(wire.KeyTime, 5)
}

func TestAnEventOfAChange(t *testing.T) {
	var got Event
	handler := func(e Event) error { got = e; return nil }
	for _, test := range []struct {
		header wire.Header
		body   string
		want   kv.Entry
	}{
		{changeOf("put").AddInt(wire.KeyExpires, 9), "x", kv.Entry{Key: "user.1", Value: []byte("x"), Revision: 7, Created: time.Unix(0, 5), Expires: time.Unix(0, 9)}},
		{changeOf("put"), "", kv.Entry{Key: "user.1", Value: []byte{}, Revision: 7, Created: time.Unix(0, 5)}},
		{changeOf("delete"), "", kv.Entry{Key: "user.1", Revision: 7, Created: time.Unix(0, 5), Op: kv.OpDelete}},
		{changeOf("expire"), "", kv.Entry{Key: "user.1", Revision: 7, Created: time.Unix(0, 5), Op: kv.OpExpire}},
	} {
		if _, err := run(t, handler, test.header, test.body); err != nil || got.Bucket != "b" || got.Attempt != 2 || got.Entry == nil || !reflect.DeepEqual(*got.Entry, test.want) {
			t.Errorf("%v: got %+v of bucket %q, want %+v", err, got.Entry, got.Bucket, test.want)
		}
		if string(got.Data) != test.body {
			t.Errorf("the data are %q", got.Data)
		}
	}
	if _, err := run(t, handler, fields(wire.KeySubject, "a"), "x"); err != nil || got.Entry != nil || got.Bucket != "" {
		t.Errorf("%v: another event: %+v", err, got)
	}
}

// A handler that takes a value gets none that there is not.
func TestAHandlerThatTakesTheValueOfAChange(t *testing.T) {
	got := ""
	handlers := map[string]any{
		"a type of its own": func(v struct{ N string }) error { got = v.N; return nil },
		"bytes":             func(b []byte) error { got = string(b); return nil },
		"bytes and bytes":   func(_ context.Context, b []byte) ([]byte, error) { got = string(b); return nil, nil },
		"text":              func(s string) error { got = s; return nil },
		"a batch":           func(list []struct{ N string }) error { got = list[0].N; return nil },
	}
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) {
			for _, change := range []string{"put", "delete", "expire"} {
				h, body := changeOf(change), ""
				if change == "put" {
					body = `{"N":"x"}`
				}
				if name == "a batch" {
					h, body = fields(wire.KeyBatch, "1"), string(wire.AppendMessage(nil, h, []byte(body)))
				}
				got = "-"
				_, err := run(t, handler, h, body)
				switch e := wire.AsError(err); {
				case change == "put" && (err != nil || !strings.Contains(got, "x")):
					t.Errorf("put: %q, %v", got, err)
				case change != "put" && (e == nil || e.Retry >= 0 || !errors.Is(err, ErrBadRequest) || got != "-"):
					t.Errorf("%s: %q, %v", change, got, err)
				}
			}
		})
	}
	if _, err := run(t, func() error { got = "ran"; return nil }, changeOf("delete"), ""); err != nil || got != "ran" {
		t.Errorf("a handler of nothing: %q, %v", got, err)
	}
}
