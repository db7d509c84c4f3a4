package rules

import (
	"fmt"
	"slices"
	"strings"
)

// Permissions are allow-lists for a NATS client that comes from outside.
//
// They say where a client may publish, and not where the answers go: who publishes names a reply
// subject, and the server, like the host, answers there with rights of its own. An
// answer without a body to $JS.API.STREAM.DELETE.X deletes the stream X, and any at all to the
// subject of a function calls it. So they hold what they promise only behind a door where
// answers come to the client and nowhere else: one that refuses reply subjects outside of the
// client's own inbox, or that has clients in an account of the server's which imports
// what is here as services, so that answers stay in that account.
type Permissions struct {
	// Publish and Subscribe are subjects, sorted, wildcards allowed. The client's own inbox is
	// not among them. They are never nil, which NATS takes for everything: an empty list allows nothing.
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
	// Watch are more subjects to publish on, by which KV clients watch and list the
	// keys of the buckets that they may read. They are apart because a request there names in its
	// body where the server is to deliver, which may be the subject of any function, and a
	// name, which may be that of another's consumer. They are safe to allow only
	// where the door reads those requests, and lets nothing through but a delivery to
	// the client's own inbox, and the end of consumers that the client itself has made.
	Watch []string `json:"watch"`
	// Dropped are grants, or parts of them, that the lists do not have.
	Dropped []Dropped `json:"dropped"`
}

// Dropped is a grant that cannot be told to NATS.
type Dropped struct {
	Rule     string `json:"rule"`     // its ID
	Resource string `json:"resource"` // what of it is missing
	Why      string `json:"why"`      // and what to do
}

// Permissions returns what the rules grant p in a namespace, as far as NATS can be told.
// Secrets, configuration and what steers the host are not to be had over
// NATS, and are not mentioned. For what belongs to the host as a whole, and for a
// malformed principal, the lists are empty. It goes through all rules: once for
// each connection.
//
//   - A function is called on its subject fn.NAME, an endpoint on fn.NAME.ENDPOINT. Who
//     is known and may call any may ask who is there ($SRV), which tells the names of all.
//   - To read a bucket are the requests for its state and for its values by key or
//     revision, and in Watch those for consumers. To write it is to publish values; nats.go
//     opens only a bucket that one may read as well.
//   - An account that may do everything, and is denied nothing at that priority or above,
//     gets everything, JetStream's API included; nobody else gets any other part of that.
//
// A deny narrows a list only by what it covers whole. Where it covers part of a
// grant of no higher priority, the grant is dropped: NATS's own denies do not hold.
func (s *Set) Permissions(p *Principal, namespace string) Permissions {
	l := lists{denies: new(node), Permissions: Permissions{Publish: []string{}, Subscribe: []string{}, Watch: []string{}, Dropped: []Dropped{}}}
	q, ok := ask(p, namespace)
	if !ok || namespace == Everywhere {
		return l.Permissions
	}
	grants := s.meant(&q, namespace, Grant)
	for _, d := range s.meant(&q, namespace, Deny) {
		l.denies.add(d)
	}
	for _, r := range grants {
		if r.Resource == ">" && q.account && l.denied(r, []string{">"}) == "" {
			return Permissions{Publish: []string{">"}, Subscribe: []string{">"}, Watch: []string{}, Dropped: []Dropped{}}
		}
		for _, pattern := range natsPatterns(r.Resource) {
			l.add(r, pattern)
		}
	}
	if q.account && slices.ContainsFunc(l.Publish, func(s string) bool { return strings.HasPrefix(s, "fn.") }) {
		for _, verb := range []string{"PING", "INFO", "STATS"} {
			l.Publish = append(l.Publish, "$SRV."+verb, "$SRV."+verb+".>")
		}
	}
	for _, list := range []*[]string{&l.Publish, &l.Subscribe, &l.Watch} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return l.Permissions
}

// meant returns the rules of an access that are for who asks.
func (s *Set) meant(q *question, namespace string, access Access) []*Rule {
	var list []*Rule
	for i := range s.rules {
		r := &s.rules[i]
		if r.Access == access && (r.Namespace == namespace || r.Namespace == Everywhere) && q.meant(r) {
			list = append(list, r)
		}
	}
	return list
}

// natsPatterns returns what of a resource is to be had over NATS, so that reading is apart
// from writing, and publishing from subscribing.
func natsPatterns(resource string) [][]string {
	if resource == ">" {
		return slices.Concat(natsPatterns("function:>"), natsPatterns("bucket:>"), natsPatterns("blob:>"), natsPatterns("subject:>"))
	}
	var list [][]string
	for _, p := range patterns(resource) {
		switch {
		case p[0] == "function":
			list = append(list, p)
		case p[0] == "subject" && p[1] == ">":
			list = append(list, []string{p[0], "publish", ">"}, []string{p[0], "subscribe", ">"})
		case p[0] == "subject" && p[1] == "*":
			list = append(list, slices.Concat([]string{p[0], "publish"}, p[2:]), slices.Concat([]string{p[0], "subscribe"}, p[2:]))
		case p[0] == "subject":
			list = append(list, p)
		case p[0] != "bucket" && p[0] != "blob":
		case p[1] == ">":
			list = append(list, []string{p[0], "*", "read"}, []string{p[0], "*", "write"})
		case p[2] == "*" || p[2] == ">":
			list = append(list, []string{p[0], p[1], "read"}, []string{p[0], p[1], "write"})
		default:
			list = append(list, p)
		}
	}
	return list
}

// lists are Permissions under way.
type lists struct {
	Permissions
	denies *node // the rules that deny, of those for who asks
}

// add adds what a rule grants with one of its patterns.
func (l *lists) add(r *Rule, pattern []string) {
	if why := l.denied(r, pattern); why != "" {
		l.drop(r, pattern, why)
		return
	}
	switch {
	case pattern[0] == "function":
		l.addFunction(r, pattern)
	case pattern[0] == "subject":
		l.addSubject(r, pattern)
	case pattern[0] == "blob":
		l.drop(r, pattern, "NATS's object stores need more than allow-lists can give for one alone: use the management API")
	case pattern[2] == "read":
		l.addReader(r, pattern)
	default: // * as a name is one token, and covers all buckets
		l.Publish = append(l.Publish, "$KV."+pattern[1]+".>")
	}
}

// denied says which deny stands against a pattern of a grant, "" for none.
func (l *lists) denied(r *Rule, pattern []string) string {
	var all, part *Rule
	l.denies.against(pattern, true, func(b *bests, whole bool) {
		d := b.highest()
		switch {
		case d == nil || d.Priority < r.Priority:
		case whole:
			all = first(all, d)
		default:
			part = first(part, d)
		}
	})
	switch {
	case all != nil:
		return fmt.Sprintf("rule %s denies %s", all.ID, all.Resource)
	case part != nil:
		return fmt.Sprintf("rule %s denies part of it (%s), which NATS cannot be told: grant what remains by name, or give the grant a priority above %d", part.ID, part.Resource, part.Priority)
	}
	return ""
}

func (l *lists) drop(r *Rule, pattern []string, why string) {
	resource := strings.Join(pattern, ":")
	if pattern[0] == "subject" {
		resource = "subject:" + pattern[1] + ":" + strings.Join(pattern[2:], ".")
	}
	l.Dropped = append(l.Dropped, Dropped{Rule: r.ID, Resource: resource, Why: why})
}

// addFunction adds the subjects of a function. A version is called where endpoints are
// (fn.orders.v3), so that a subject that covers endpoints covers the function itself.
func (l *lists) addFunction(r *Rule, pattern []string) {
	if len(pattern) == 3 {
		name, endpoint := pattern[1], pattern[2]
		switch {
		case isVersion(endpoint):
			l.drop(r, pattern, fmt.Sprintf("fn.%s.%s may be a version of the function on NATS, and not the endpoint", name, endpoint))
			return
		case (endpoint == "*" || endpoint == ">") && len(split(r.Resource)) == 3:
			l.drop(r, pattern, fmt.Sprintf("fn.%s.%s on NATS has the function's versions as well (fn.%s.v1): grant function:%s, or its endpoints by name", name, endpoint, name, name))
			return
		}
	}
	l.Publish = append(l.Publish, "fn."+strings.Join(pattern[1:], "."))
}

// isVersion is true for what names a version in a subject.
func isVersion(part string) bool {
	return len(part) > 1 && part[0] == 'v' && madeOf(part[1:], func(c byte) bool { return c >= '0' && c <= '9' })
}

// addSubject adds a subject of the user's own. With a wildcard as its first part it would
// be also those of the server, of functions and of other clients' inboxes.
func (l *lists) addSubject(r *Rule, pattern []string) {
	if pattern[2] == "*" || pattern[2] == ">" {
		l.drop(r, pattern, "on NATS it would cover the server's subjects and the inboxes of others: name the first part, as in orders.>")
		return
	}
	subject := strings.Join(pattern[2:], ".")
	if pattern[1] == "publish" {
		l.Publish = append(l.Publish, subject)
	} else {
		l.Subscribe = append(l.Subscribe, subject)
	}
}

// addReader adds what nats.go asks of a bucket: its state, values by key and, without the key
// in the subject, by revision; and what it asks to watch.
//
// What is not there: CONSUMER.DURABLE.CREATE and CONSUMER.CREATE without a name, which it does not
// need; CONSUMER.MSG.NEXT and $JS.ACK, by which one would take changes from
// the kv triggers of functions; STREAM.PURGE, which PurgeDeletes wants, and which is
// more than to write.
func (l *lists) addReader(r *Rule, pattern []string) {
	name := pattern[1]
	if name == "*" {
		l.drop(r, pattern, "a bucket's name is part of a token on NATS (KV_NAME), where * cannot stand for it: name the buckets")
		return
	}
	stream, keys := "KV_"+name, "$KV."+name+".>"
	l.Publish = append(l.Publish,
		"$JS.API.STREAM.INFO."+stream,
		"$JS.API.STREAM.MSG.GET."+stream,
		"$JS.API.DIRECT.GET."+stream,
		"$JS.API.DIRECT.GET."+stream+"."+keys,
	)
	l.Watch = append(l.Watch,
		"$JS.API.CONSUMER.CREATE."+stream+".*",       // several filters, which are in the body
		"$JS.API.CONSUMER.CREATE."+stream+".*."+keys, // one filter
		"$JS.API.CONSUMER.INFO."+stream+".*",         // after a reconnect
		"$JS.API.CONSUMER.DELETE."+stream+".*",       // Stop
		"$JS.FC."+stream+".*.*",                      // flow control
	)
}
