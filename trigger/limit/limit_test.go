package limit

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func keyed(l Limit, keys int) (*Keyed, *time.Time) {
	now := time.Unix(1_000_000, 0)
	k := NewKeyed(l, keys)
	k.now = func() time.Time { return now }
	return k, &now
}

func TestEachKeyHasItsOwnLimit(t *testing.T) {
	k, now := keyed(Limit{Events: 2, Per: time.Second}, 0)
	for i, want := range []bool{true, true, false, false} {
		d := k.Take("a")
		if d.OK != want {
			t.Errorf("%d of a: %+v", i, d)
		}
		if !d.OK && (d.Retry != 500*time.Millisecond || d.Remaining != 0 || d.Reset != time.Second) {
			t.Errorf("%d of a: %+v", i, d)
		}
	}
	if d := k.Take("b"); !d.OK || d.Remaining != 1 {
		t.Errorf("b: %+v", d)
	}
	*now = now.Add(500 * time.Millisecond)
	if d := k.Take("a"); !d.OK {
		t.Errorf("a, after Retry: %+v", d)
	}
	if d := k.Take("a"); d.OK {
		t.Errorf("a, at once again: %+v", d)
	}
}

func TestABurstIsWhatMayHappenAtOnce(t *testing.T) {
	for _, test := range []struct {
		l    Limit
		want int
	}{{Limit{1, time.Hour, 5}, 5}, {Limit{100, time.Minute, 0}, 100}, {Limit{100, time.Second, 1}, 1}} {
		k, _ := keyed(test.l, 0)
		n := 0
		for k.Take("a").OK {
			n++
		}
		if n != test.want {
			t.Errorf("%+v: %d at once, want %d", test.l, n, test.want)
		}
	}
}

func TestAPeekCountsNothing(t *testing.T) {
	k, _ := keyed(Limit{Events: 1, Per: time.Minute}, 0)
	for range 3 {
		if d := k.Peek("a"); !d.OK || d.Remaining != 1 {
			t.Errorf("before: %+v", d)
		}
	}
	k.Take("a")
	if d := k.Peek("a"); d.OK || d.Retry != time.Minute {
		t.Errorf("after: %+v", d)
	}
	k.Forget("a")
	if d := k.Peek("a"); !d.OK {
		t.Errorf("forgotten: %+v", d)
	}
}

func TestTheKeysAreBounded(t *testing.T) {
	k, _ := keyed(Limit{Events: 1, Per: time.Hour}, 3)
	k.Take("a")
	for i := range 100 {
		k.Take(fmt.Sprint(i))
		if d := k.Take("a"); d.OK {
			t.Fatalf("after %d others, the one that is asked for most is forgotten", i)
		}
	}
	if len(k.keys) != 3 || k.recent.Len() != 3 {
		t.Errorf("%d keys, %d in the list", len(k.keys), k.recent.Len())
	}
	if d := k.Take("0"); !d.OK {
		t.Error("one that was not asked for is still known")
	}
}

func TestManyAtOnceGetNoMoreThanTheLimit(t *testing.T) {
	k, _ := keyed(Limit{Events: 50, Per: time.Hour}, 2)
	var got atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if k.Take("a").OK {
					got.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got.Load() != 50 {
		t.Errorf("%d, want 50", got.Load())
	}
}

func TestTheClientIsWhomTheLastTrustedProxyNames(t *testing.T) {
	trusted, bad := ParseProxies([]string{"10.0.0.0/8", "192.0.2.1", "fd00::/8"})
	if bad != "" {
		t.Fatal(bad)
	}
	tests := []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"no proxy", "198.51.100.7:1234", nil, "198.51.100.7"},
		{"a header that nobody trusted has written", "198.51.100.7:1234", []string{"1.2.3.4"}, "198.51.100.7"},
		{"a proxy", "10.1.1.1:1", []string{"198.51.100.7"}, "198.51.100.7"},
		{"two proxies", "10.1.1.1:1", []string{"198.51.100.7, 192.0.2.1"}, "198.51.100.7"},
		{"a client that writes one itself", "10.1.1.1:1", []string{"1.2.3.4, 198.51.100.7"}, "198.51.100.7"},
		{"a client that names a proxy", "10.1.1.1:1", []string{"10.9.9.9, 198.51.100.7"}, "198.51.100.7"},
		{"two headers", "10.1.1.1:1", []string{"1.2.3.4", "198.51.100.7"}, "198.51.100.7"},
		{"a proxy without the header", "10.1.1.1:1", nil, "10.1.1.1"},
		{"nonsense", "10.1.1.1:1", []string{"198.51.100.7, unknown"}, "10.1.1.1"},
		{"proxies alone", "10.1.1.1:1", []string{"10.2.2.2"}, "10.2.2.2"},
		{"with a port", "10.1.1.1:1", []string{"198.51.100.7:99"}, "198.51.100.7"},
		{"IPv6", "[fd00::1]:1", []string{"[2001:db8::1]:5"}, "2001:db8::1"},
		{"an IPv4 address in IPv6", "[::ffff:10.1.1.1]:1", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"no address", "@", []string{"1.2.3.4"}, "invalid IP"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: test.remote, Header: http.Header{"X-Forwarded-For": test.forwarded}}
			if got := ClientAddr(r, trusted).String(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	if _, bad := ParseProxies([]string{"10.0.0.0/8", "proxy.example.com"}); bad != "proxy.example.com" {
		t.Errorf("bad is %q", bad)
	}
}

func TestOneClientIsOneKey(t *testing.T) {
	for addr, want := range map[string]string{
		"198.51.100.7": "198.51.100.7", "::ffff:198.51.100.7": "198.51.100.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::9": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := AddrKey(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is %s, want %s", addr, got, want)
		}
	}
}
