package rules

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestPermissions(t *testing.T) {
	srv := "$SRV.INFO $SRV.INFO.> $SRV.PING $SRV.PING.> $SRV.STATS $SRV.STATS.>"
	read := "$JS.API.DIRECT.GET.KV_b $JS.API.DIRECT.GET.KV_b.$KV.b.> $JS.API.STREAM.INFO.KV_b $JS.API.STREAM.MSG.GET.KV_b"
	watch := "$JS.API.CONSUMER.CREATE.KV_b.* $JS.API.CONSUMER.CREATE.KV_b.*.$KV.b.> $JS.API.CONSUMER.DELETE.KV_b.* $JS.API.CONSUMER.INFO.KV_b.* $JS.FC.KV_b.*.*"
	tests := []struct {
		name      string
		rules     []string
		principal *Principal
		publish   string
		subscribe string
		watch     string
		dropped   string // "RESOURCE: WHY; …", of the reason only a part
	}{
		{name: "nothing", rules: []string{"ops grant >"}, principal: account("dev")},
		{name: "a function", rules: []string{"dev grant function:a"}, principal: account("dev"), publish: srv + " fn.a fn.a.>"},
		{name: "all functions", rules: []string{"dev grant function:>"}, principal: account("dev"), publish: srv + " fn.>"},
		{name: "an endpoint", rules: []string{"dev grant function:a:create"}, principal: account("dev"), publish: srv + " fn.a.create"},
		{name: "an endpoint of any", rules: []string{"dev grant function:*:create"}, principal: account("dev"), publish: srv + " fn.*.create"},
		{name: "endpoints without the function", rules: []string{"dev grant function:a:>"}, principal: account("dev"), dropped: "function:a:>: versions"},
		{name: "an endpoint like a version", rules: []string{"dev grant function:a:v1"}, principal: account("dev"), dropped: "function:a:v1: version"},
		{name: "nobody", rules: []string{"public grant function:a", "* grant function:b"}, publish: "fn.a fn.a.>"},
		{name: "a stranger", rules: []string{"public grant subject:publish:a", "dev grant >"}, principal: &Principal{Account: "eve", Namespace: "desk", Scopes: []string{"dev"}}, publish: "a"},
		{name: "malformed", rules: []string{"public grant >"}, principal: &Principal{Namespace: "shop"}},

		{name: "subjects", rules: []string{"dev grant subject:publish:a.>", "dev grant subject:subscribe:b.*.c"}, principal: account("dev"), publish: "a.>", subscribe: "b.*.c"},
		{name: "both ways", rules: []string{"dev grant subject:*:a.>"}, principal: account("dev"), publish: "a.>", subscribe: "a.>"},
		{name: "all subjects", rules: []string{"dev grant subject:>"}, principal: account("dev"), dropped: "subject:publish:>: first part; subject:subscribe:>: first part"},
		{name: "an open first part", rules: []string{"dev grant subject:subscribe:*.a"}, principal: account("dev"), dropped: "subject:subscribe:*.a: first part"},
		{name: "any way and subject", rules: []string{"dev grant subject:*:*"}, principal: account("dev"), dropped: "subject:publish:*: first part; subject:subscribe:*: first part"},

		{name: "a bucket to read", rules: []string{"dev grant bucket:b:read"}, principal: account("dev"), publish: read, watch: watch},
		{name: "a bucket to write", rules: []string{"dev grant bucket:b:write"}, principal: account("dev"), publish: "$KV.b.>"},
		{name: "a bucket", rules: []string{"dev grant bucket:b:>"}, principal: account("dev"), publish: read + " $KV.b.>", watch: watch},
		{name: "all buckets", rules: []string{"dev grant bucket:>"}, principal: account("dev"), publish: "$KV.*.>", dropped: "bucket:*:read: name the buckets"},
		{name: "blobs", rules: []string{"dev grant blob:b:read"}, principal: account("dev"), dropped: "blob:b:read: management API"},
		{name: "what NATS does not have", rules: []string{"dev grant secret:>", "dev grant config:>", "dev grant admin:>"}, principal: account("dev")},

		{name: "everything", rules: []string{"dev grant >", "dev grant blob:b:read"}, principal: account("dev"), publish: ">", subscribe: ">"},
		{name: "everything, with a deny below", rules: []string{"dev grant > 1", "dev deny secret:>"}, principal: account("dev"), publish: ">", subscribe: ">"},
		{name: "everything but something", rules: []string{"dev grant >", "dev deny secret:>"}, principal: account("dev"), publish: "$KV.*.> " + srv + " fn.>",
			dropped: "bucket:*:read: name; blob:*:read: API; blob:*:write: API; subject:publish:>: first; subject:subscribe:>: first"},
		{name: "everything for nobody", rules: []string{"public grant >"}, publish: "$KV.*.> fn.>",
			dropped: "bucket:*:read: name; blob:*:read: API; blob:*:write: API; subject:publish:>: first; subject:subscribe:>: first"},

		{name: "a deny of all of it", rules: []string{"dev grant function:a", "dev deny function:>"}, principal: account("dev"), dropped: "function:a: r1 denies function:>; function:a:>: r1 denies"},
		{name: "a deny of some of it", rules: []string{"dev grant function:a", "dev deny function:a:pay"}, principal: account("dev"), publish: srv + " fn.a", dropped: "function:a:>: r1 denies part of it (function:a:pay)"},
		{name: "a deny of something else", rules: []string{"dev grant function:a", "dev deny function:b"}, principal: account("dev"), publish: srv + " fn.a fn.a.>"},
		{name: "a deny for others", rules: []string{"dev grant function:a", "ops deny function:>"}, principal: account("dev"), publish: srv + " fn.a fn.a.>"},
		{name: "a deny below", rules: []string{"dev grant function:a 1", "dev deny function:>"}, principal: account("dev"), publish: srv + " fn.a fn.a.>"},
		{name: "a deny to write", rules: []string{"dev grant bucket:b:*", "dev deny bucket:>", "dev grant bucket:b:read 1"}, principal: account("dev"), publish: read, watch: watch, dropped: "bucket:b:read: r1 denies; bucket:b:write: r1 denies"},
		{name: "a deny of a part of subjects", rules: []string{"dev grant subject:publish:a.>", "dev deny subject:*:a.*.x"}, principal: account("dev"), dropped: "subject:publish:a.>: r1 denies part"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := compile(t, test.rules...).Permissions(test.principal, "shop")
			for _, list := range []struct {
				name, want string
				got        []string
			}{{"publish", test.publish, got.Publish}, {"subscribe", test.subscribe, got.Subscribe}, {"watch", test.watch, got.Watch}} {
				if text := strings.Join(list.got, " "); text != list.want || list.got == nil {
					t.Errorf("%s %q, want %q", list.name, text, list.want)
				}
			}
			var want []string
			if test.dropped != "" {
				want = strings.Split(test.dropped, "; ")
			}
			if len(want) != len(got.Dropped) {
				t.Fatalf("dropped %+v, want %q", got.Dropped, want)
			}
			for i, d := range got.Dropped {
				resource, why, _ := strings.Cut(want[i], ": ")
				if d.Resource != resource || !strings.Contains(d.Why, why) || d.Rule == "" {
					t.Errorf("dropped %+v, want %q", d, want[i])
				}
			}
		})
	}
}

func TestPermissionsAreOfOneNamespace(t *testing.T) {
	root := &Principal{Account: "root", Namespace: "*", Scopes: []string{"admin"}}
	s, err := Compile(Builtin())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Permissions(root, "shop"); len(got.Publish) != 1 || got.Publish[0] != ">" {
		t.Errorf("in a namespace: %+v", got)
	}
	if got := s.Permissions(root, "*"); len(got.Publish)+len(got.Subscribe) != 0 || got.Publish == nil {
		t.Errorf("for the host as a whole: %+v", got)
	}
}

// onNATS returns the subjects by which somebody does something, and true for those
// to subscribe to.
func onNATS(resource string) (subjects []string, subscribe bool) {
	p := split(resource)
	switch p[0] + ":" + p[len(p)-1] {
	case "bucket:read":
		stream := "KV_" + p[1]
		return []string{"$JS.API.STREAM.INFO." + stream, "$JS.API.DIRECT.GET." + stream + ".$KV." + p[1] + ".k", "$JS.API.STREAM.MSG.GET." + stream, "$JS.API.CONSUMER.CREATE." + stream + ".x.$KV." + p[1] + ".>"}, false
	case "bucket:write":
		return []string{"$KV." + p[1] + ".k"}, false
	}
	switch p[0] {
	case "function":
		return []string{"fn." + strings.Join(p[1:], ".")}, false
	case "subject":
		return []string{strings.Join(p[2:], ".")}, p[1] == "subscribe"
	}
	return nil, false
}

func allows(list []string, subject string) bool {
	for _, pattern := range list {
		if covers(strings.Split(pattern, "."), strings.Split(subject, ".")) {
			return true
		}
	}
	return false
}

func TestPermissionsAllowWhatTheRulesGrantAndNothingElse(t *testing.T) {
	allowed, missing := 0, 0
	for seed := range uint64(400) {
		w := world{rand.New(rand.NewPCG(seed, 3))}
		list := w.rules(1 + w.IntN(12))
		s, err := Compile(list)
		if err != nil {
			t.Fatal(err)
		}
		p, namespace := w.principal(), w.of("x", "y")
		got := s.Permissions(p, namespace)
		for range 60 {
			resource := w.resource(false)
			subjects, subscribe := onNATS(resource)
			may := s.Decide(p, namespace, resource).Allowed
			for _, subject := range subjects {
				where := append(append([]string{}, got.Publish...), got.Watch...)
				if subscribe {
					where = got.Subscribe
				}
				can := allows(where, subject)
				if can && !may {
					t.Fatalf("seed %d: %+v gets %s in %s without %s: %+v of\n%+v", seed, p, subject, namespace, resource, got, list)
				}
				if can {
					allowed++
				} else if may {
					missing++
					if len(got.Dropped) == 0 {
						t.Fatalf("seed %d: %+v does not get %s in %s for %s, and nothing says so: of\n%+v", seed, p, subject, namespace, resource, list)
					}
				}
			}
		}
		for _, of := range []string{"$SYS.REQ.SERVER.PING", "$JS.API.STREAM.DELETE.KV_a", "$JS.API.STREAM.CREATE.x", "$JS.API.STREAM.NAMES", "$JS.API.INFO", "$JS.ACK.KV_a.x.1.1.1.1.1", "$FN.call.x", "_INBOX.x", "dead.x", "schedule.x"} {
			everything := len(got.Publish) == 1 && got.Publish[0] == ">"
			if !everything && (allows(got.Publish, of) || allows(got.Subscribe, of) || allows(got.Watch, of)) {
				t.Fatalf("seed %d: %+v gets %s: %+v of\n%+v", seed, p, of, got, list)
			}
		}
	}
	if allowed < 500 || missing < 100 {
		t.Errorf("%d were allowed, %d dropped: the test asks for nothing", allowed, missing)
	}
}

// Half of 10,000 rules deny, and all are for who asks.
func BenchmarkPermissions(b *testing.B) {
	list := Builtin()
	for i := range 10_000 {
		list = append(list, Rule{ID: fmt.Sprintf("r%d", i), Namespace: "shop", Resource: fmt.Sprintf("function:f%d", i), Scope: fmt.Sprintf("s%d", i%4), Access: []Access{Grant, Deny}[i%2]})
	}
	s, err := Compile(list)
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range []*Principal{account("s0", "viewer"), account("s0", "s1", "s2", "s3", "invoker")} {
		b.Run(fmt.Sprint(len(p.Scopes)), func(b *testing.B) {
			for b.Loop() {
				s.Permissions(p, "shop")
			}
		})
	}
}
