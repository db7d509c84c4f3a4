package manifest

import (
	"testing"
	"time"
)

func TestAsync(t *testing.T) {
	for _, test := range []struct {
		name, data string
		want       Async
	}{
		{"without the key", "", DefaultAsync()},
		{"an empty one", "async: {}", DefaultAsync()},
		{"all of it", "async: {retries: 0, backoff: 2s, backoffMax: 3s, inFlight: 1, keep: 1h}",
			Async{Backoff: 2 * time.Second, BackoffMax: 3 * time.Second, InFlight: 1, Keep: time.Hour}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := Parse(FileName, []byte(test.data))
			if err != nil || m.Async != test.want {
				t.Errorf("%+v, %v; want %+v", m, err, test.want)
			}
		})
	}
}

func TestAsyncMistakes(t *testing.T) {
	for _, test := range []struct{ name, data, want string }{
		{"an unknown key", "async:\n  retry: 3\n", `2:3: unknown key "retry" (the keys here are retries, backoff, backoffMax, inFlight, keep)`},
		{"too many retries", "async:\n  retries: 1001\n", "2:12: async.retries must be from 0 to 1000, not 1001"},
		{"a backoff beyond its end", "async:\n  backoff: 10m\n", "2:12: async.backoff must be at most backoffMax, which is 5m, not 10m"},
		{"an end before the backoff", "async:\n  backoffMax: 1ms\n", "2:15: async.backoffMax must be at least backoff, which is 1s, not 1ms"},
		{"none in flight", "async:\n  inFlight: 0\n", "2:13: async.inFlight must be from 1 to 10000, not 0"},
		{"kept for less than a second", "async:\n  keep: 500ms\n", "2:9: async.keep must be from 1s to 168h, not 500ms"},
		{"kept for days", "async:\n  keep: 30d\n", `2:9: async.keep has the unit d, and the units are ms, s, m and h (write "720h")`},
		{"no mapping", "async: yes\n", "1:8: async must be a mapping of keys, not \"yes\" (write key: value)"},
	} {
		t.Run(test.name, func(t *testing.T) { checkMistake(t, test.data, test.want) })
	}
}
