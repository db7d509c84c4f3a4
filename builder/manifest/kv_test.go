package manifest

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/kv"
)

func TestParseKV(t *testing.T) {
	def := func(change func(*KV)) KV {
		k := KV{Bucket: "sessions", Keys: "**", Start: "new", Retries: 5, Backoff: time.Second, BackoffMax: 5 * time.Minute, InFlight: 32, Order: OrderNone}
		change(&k)
		return k
	}
	for _, test := range []struct {
		name, kv string
		want     KV
	}{
		{"the defaults", `bucket: sessions`, def(func(*KV) {})},
		{"what it is on", `{bucket: sessions, keys: "user.**", on: [put, expire], endpoint: changed}`,
			def(func(k *KV) { k.Keys, k.On, k.Endpoint = "user.**", []string{"put", "expire"}, "changed" })},
		{"how it is handled", `{bucket: sessions, start: all, retries: 0, backoff: 1ms, backoffMax: 1s, inFlight: 7, order: key, rate: 10/s}`,
			def(func(k *KV) {
				k.Start, k.Retries, k.Backoff, k.BackoffMax, k.InFlight, k.Order, k.Rate = "all", 0, time.Millisecond, time.Second, 7, OrderKey, "10/s"
			})},
		{"debounce", `{bucket: sessions, debounce: 1s, start: 17}`, def(func(k *KV) { k.Debounce, k.Start = time.Second, "17" })},
		{"throttle", `{bucket: sessions, throttle: 1s}`, def(func(k *KV) { k.Throttle = time.Second })},
		{"a limit a key", `{bucket: sessions, perKey: 2}`, def(func(k *KV) { k.PerKey = 2 })},
		{"a batch", `{bucket: sessions, batch: {size: 3}}`, def(func(k *KV) { k.Batch = &Batch{Size: 3, Window: 100 * time.Millisecond} })},
		{"a bucket that begins like the host's", `bucket: configs`, def(func(k *KV) { k.Bucket = "configs" })},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := Parse(FileName, []byte("triggers:\n  kv:\n    - "+test.kv+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			if want := with(func(m *Manifest) { m.Triggers.KV = []KV{test.want} }); !reflect.DeepEqual(m, want) {
				t.Errorf("Parse:\n got %s\nwant %s", toJSON(t, m), toJSON(t, want))
			}
		})
	}
}

// The errors are those of the second trigger of two, whose item begins in column 5.
var kvMistakes = []struct{ name, kv, want string }{
	{"no bucket", `keys: a`, `4:5: triggers.kv[1] needs the key "bucket"`},
	{"an unknown key", `{bucket: b, key: a}`, `4:17: unknown key "key" (did you mean "keys"?)`},
	{"a key of events", `{bucket: b, filter: {data: {a: b}}}`, `4:17: unknown key "filter" (the keys here are bucket, keys, on, endpoint, start, retries, backoff, backoffMax, inFlight, order, perKey, rate, debounce, throttle, batch)`},
	{"the host's configuration", `bucket: config`, `4:13: triggers.kv[1].bucket must not be config, which is the host's own`},
	{"the host's secrets", `bucket: secrets`, `4:13: triggers.kv[1].bucket must not be secrets, which is the host's own`},
	{"the host's registry", `bucket: registry`, `4:13: triggers.kv[1].bucket must not be registry, which is the host's own`},
	{"the host's programs", `bucket: artifacts`, `4:13: triggers.kv[1].bucket must not be artifacts, which is the host's own`},
	{"a bucket with a dot", `bucket: a.b`, `4:13: triggers.kv[1].bucket must be a bucket's name: 1 to 64 letters, digits, _ and -, not "a.b"`},
	{"a bucket of any", `bucket: "*"`, `4:13: triggers.kv[1].bucket must be a bucket's name: 1 to 64 letters, digits, _ and -, not "*"`},
	{"keys as a subject", `{bucket: b, keys: "user.>"}`, `4:23: triggers.kv[1].keys must be a pattern that keys can fit, such as user.* or user.**, not "user.>" (write "user.**")`},
	{"keys that no key fits", `{bucket: b, keys: user..a}`, `4:23: triggers.kv[1].keys must be a pattern that keys can fit, such as user.* or user.**, not "user..a" (all keys: **; those below user: user.**)`},
	{"no keys", `{bucket: b, keys: ""}`, `4:23: triggers.kv[1].keys must not be empty (all keys: **; those below user: user.**)`},
	{"another change", `{bucket: b, on: [put, update]}`, `4:27: triggers.kv[1].on[1] must be put or delete or expire, not "update"`},
	{"a change twice", `{bucket: b, on: [put, put]}`, `4:27: triggers.kv[1].on[1] repeats "put"`},
	{"no change", `{bucket: b, on: []}`, `4:21: triggers.kv[1].on must have at least one of put, delete and expire (remove the key for all)`},
	{"a change that is no list", `{bucket: b, on: put}`, `4:21: triggers.kv[1].on must be a list, not "put" (write [put])`},
	{"a backoff beyond its end", `{bucket: b, backoff: 10m}`, `4:26: triggers.kv[1].backoff must be at most backoffMax, which is 5m, not 10m`},
	{"debounce and an order", `{bucket: b, debounce: 1s, order: key}`, `4:27: triggers.kv[1].debounce cannot stand beside order: key (remove one of the two)`},
	{"a start of nothing", `{bucket: b, start: latest}`, `4:24: triggers.kv[1].start must be new, all, a sequence number from 1, or a time such as 2026-01-02T15:04:05Z, not "latest"`},
	{"the same trigger again", `{bucket: sessions, on: [put]}`, `4:14: triggers.kv[1].bucket repeats the trigger on line 3 (put what it has into one, with on for both)`},
}

func TestKVMistakes(t *testing.T) {
	for _, test := range kvMistakes {
		t.Run(test.name, func(t *testing.T) {
			checkMistake(t, "triggers:\n  kv:\n  - bucket: sessions\n  - "+test.kv+"\n", test.want)
		})
	}
}

func TestWhatATriggerWants(t *testing.T) {
	all, some := KV{}, KV{Bucket: "b", Keys: "a.*", On: []string{"delete"}}
	if !all.Wants(kv.OpPut) || !all.Wants(kv.OpExpire) || some.Wants(kv.OpPut) || !some.Wants(kv.OpDelete) || some.String() != "b/a.*" {
		t.Errorf("%v, %v", all, some)
	}
	if _, err := Parse(FileName, []byte("triggers:\n  kv:\n"+strings.Repeat("  - bucket: a\n", MaxKV+1))); err == nil || !strings.Contains(err.Error(), "must have at most 64 items, not 65") {
		t.Error(err)
	}
}
