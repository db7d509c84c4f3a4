package manifest

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/fnhost/fnhost/kv"
)

// MaxKV is how many kv triggers one function has at most.
const MaxKV = 64

// KV starts the function for each change of a bucket's keys, as an event does: at least
// once, again until it succeeds, and then as a dead letter. Of a key that changes more often than
// it is handled, values that the bucket no longer keeps may be left out; the latest
// never is. A delete or an expiry can be handled as long as the bucket keeps it.
type KV struct {
	// Bucket is that of the keys. The trigger waits for one that is not there. It is
	// none of the host's own; see [OwnBucket].
	Bucket string `json:"bucket"`
	// Keys says which of them, as a glob of package kv: * stands for any characters but
	// dots, ** for any, ? for one. Default "**": all.
	Keys string `json:"keys"`
	// On are the changes: "put", "delete" and "expire". Default nil: all of them.
	On []string `json:"on,omitzero"`
	// Endpoint, and all below, are as those of [Event]; its key is that of the bucket.
	Endpoint string `json:"endpoint,omitzero"`
	// Start says which changes there are to handle when the trigger is new: "new",
	// those after it; "all" that the bucket keeps, and so the values that are there; a revision; or a
	// time (RFC 3339). Default "new".
	Start      string        `json:"start"`
	Retries    int           `json:"retries"`
	Backoff    time.Duration `json:"backoff"`
	BackoffMax time.Duration `json:"backoffMax"`
	InFlight   int           `json:"inFlight"`
	Order      string        `json:"order"`
	PerKey     int           `json:"perKey,omitzero"`
	Rate       string        `json:"rate,omitzero"`
	Debounce   time.Duration `json:"debounce,omitzero"`
	Throttle   time.Duration `json:"throttle,omitzero"`
	Batch      *Batch        `json:"batch,omitzero"`
}

// Event returns how the changes are handled: an [Event] without subject and stream.
func (k *KV) Event() Event {
	return Event{
		Endpoint: k.Endpoint, Start: k.Start, Retries: k.Retries, Backoff: k.Backoff, BackoffMax: k.BackoffMax, InFlight: k.InFlight,
		Key: "subject", Order: k.Order, PerKey: k.PerKey, Rate: k.Rate, Debounce: k.Debounce, Throttle: k.Throttle, Batch: k.Batch,
	}
}

// Wants reports whether the trigger is for a change.
func (k *KV) Wants(op kv.Op) bool { return k.On == nil || slices.Contains(k.On, op.String()) }

// String returns the trigger as "bucket/keys".
func (k *KV) String() string { return k.Bucket + "/" + k.Keys }

// ownBuckets are the host's.
var ownBuckets = []string{"artifacts", "auth", "config", "registry", "secrets", "sources"}

// OwnBucket reports whether a bucket, or a store of blobs, of that name would be the
// host's own, so that nobody else gets it.
func OwnBucket(name string) bool { return slices.Contains(ownBuckets, name) }

var bucketName = regexp.MustCompile(fmt.Sprintf(`^[A-Za-z0-9_-]{1,%d}$`, kv.MaxName))

var kvKeys = keys[KV]{
	fields: []field[KV]{
		required(key("bucket", text(schema{"pattern": bucketName.String(), "not": schema{"enum": ownBuckets}}, checkBucket),
			func(k *KV) *string { return &k.Bucket }, "Bucket of the keys.")),
		key("keys", text(schema{"maxLength": kv.MaxKey}, checkGlob), func(k *KV) *string { return &k.Keys },
			"Its keys: * stands for any characters but dots, ** for any, ? for one."),
		key("on", texts(oneOf("put", "delete", "expire")), func(k *KV) *[]string { return &k.On },
			"Changes: put, delete, expire. Default: all."),
		key("endpoint", text(schema{"pattern": namePattern.String(), "maxLength": MaxNameLength}, checkLabel),
			func(k *KV) *string { return &k.Endpoint }, "Endpoint that handles them. Default: the root."),
		key("start", startPoint(), func(k *KV) *string { return &k.Start },
			`Changes that a new trigger begins with: "new", "all" that is there, a revision or a time such as 2026-01-02T15:04:05Z.`),
		key("retries", integer(0, MaxRetries), func(k *KV) *int { return &k.Retries },
			"Retries of a change that failed, before it becomes a dead letter."),
		key("backoff", duration(MinBackoff, MaxBackoff), func(k *KV) *time.Duration { return &k.Backoff },
			"Time before the first retry; it doubles from one to the next."),
		key("backoffMax", duration(MinBackoff, MaxBackoff), func(k *KV) *time.Duration { return &k.BackoffMax },
			"The longest time before a retry."),
		key("inFlight", integer(1, MaxInFlight), func(k *KV) *int { return &k.InFlight },
			"Changes that a node handles at once. 1: one by one, in their order."),
		key("order", oneOf(OrderNone, OrderKey), func(k *KV) *string { return &k.Order },
			"key: changes of one key are handled one at a time, in their order."),
		key("perKey", integer(0, MaxInFlight), func(k *KV) *int { return &k.PerKey },
			"Changes of one key that a node handles at once. 0: no limit."),
		key("rate", text(schema{"pattern": ratePattern.String()}, checkRate), func(k *KV) *string { return &k.Rate },
			"Changes that a node begins in a time, such as 100/s, 100/m or 100/h. Default: no limit."),
		key("debounce", duration(MinQuiet, MaxQuiet), func(k *KV) *time.Duration { return &k.Debounce },
			"How long a key must be quiet before its latest change is handled: 10ms to 1h. Default: not at all."),
		key("throttle", duration(MinQuiet, MaxQuiet), func(k *KV) *time.Duration { return &k.Throttle },
			"The least time between two changes of one key that are handled, the first at once: 10ms to 1h. Default: none."),
		key("batch", optional(mapping(batchKeys)), func(k *KV) **Batch { return &k.Batch },
			"Several changes at once, for a handler that takes a slice. Default: one by one."),
	},
	init: func(k *KV) {
		e := defaultEvent()
		*k = KV{Keys: "**", Start: e.Start, Retries: e.Retries, Backoff: e.Backoff, BackoffMax: e.BackoffMax, InFlight: e.InFlight, Order: e.Order}
	},
	check: func(r *reader, n node, k *KV) {
		if on := n.child("on"); len(k.On) == 0 && on.Node != n.Node {
			r.bad(on, "remove the key for all", "must have at least one of put, delete and expire")
		}
		e := k.Event()
		checkBackoff(r, n, e.Backoff, e.BackoffMax)
		checkFlow(r, n, &e)
	},
}

func checkBucket(s string) *problem {
	if OwnBucket(s) {
		return &problem{fmt.Sprintf("must not be %s, which is the host's own", s), ""}
	}
	if !bucketName.MatchString(s) {
		return &problem{fmt.Sprintf("must be a bucket's name: 1 to %d letters, digits, _ and -, not %.80q", kv.MaxName, s), ""}
	}
	return nil
}

func checkGlob(s string) *problem {
	hint := "all keys: **; those below user: user.**"
	switch {
	case s == "":
		return &problem{"must not be empty", hint}
	case kv.Glob(s).Validate() != nil:
		if len(s) > 1 && s[len(s)-1] == '>' {
			hint = fmt.Sprintf("write %q", s[:len(s)-1]+"**")
		}
		return &problem{fmt.Sprintf("must be a pattern that keys can fit, such as user.* or user.**, not %.80q", s), hint}
	}
	return nil
}

// checkKVs reports triggers that would handle the same changes twice.
func checkKVs(r *reader, items []item[KV]) {
	seen := make(map[string]item[KV])
	for _, it := range items {
		id := it.value.String() + " " + it.value.Endpoint
		if other, ok := seen[id]; ok {
			r.bad(it.node.child("bucket"), "put what it has into one, with on for both", "repeats the trigger on %s", other.node.position())
			continue
		}
		seen[id] = it
	}
}
