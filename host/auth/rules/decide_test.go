package rules

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// compile makes a set of rules in short: "[NAMESPACE/]SCOPE ACCESS RESOURCE [PRIORITY]".
func compile(t testing.TB, lines ...string) *Set {
	t.Helper()
	var list []Rule
	for i, line := range lines {
		r := Rule{ID: fmt.Sprintf("r%d", i), Namespace: "shop"}
		if namespace, rest, ok := strings.Cut(line, "/"); ok {
			r.Namespace, line = namespace, rest
		}
		fields := strings.Fields(line)
		r.Scope, r.Access, r.Resource = fields[0], Access(fields[1]), fields[2]
		if len(fields) > 3 {
			fmt.Sscan(fields[3], &r.Priority)
		}
		list = append(list, r)
	}
	s, err := Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// account returns a principal of the namespace shop.
func account(scopes ...string) *Principal {
	return &Principal{Account: "ada", Namespace: "shop", Scopes: scopes}
}

func TestDecide(t *testing.T) {
	stranger := &Principal{Account: "eve", Namespace: "desk", Scopes: []string{"dev", "admin"}}
	root := &Principal{Account: "root", Namespace: "*", Scopes: []string{"dev"}}
	tests := []struct {
		name      string
		rules     []string
		principal *Principal
		namespace string // default: shop
		resource  string
		want      string // "grant", "deny" or "", and the rule
	}{
		{"no rule", nil, account("dev"), "", "function:orders", ""},
		{"a grant", []string{"dev grant function:orders"}, account("dev"), "", "function:orders", "grant r0"},
		{"another scope", []string{"dev grant function:orders"}, account("ops"), "", "function:orders", ""},
		{"another function", []string{"dev grant function:orders"}, account("dev"), "", "function:orders2", ""},
		{"a function has its endpoints", []string{"dev grant function:orders"}, account("dev"), "", "function:orders:create", "grant r0"},
		{"all functions have theirs", []string{"dev grant function:*"}, account("dev"), "", "function:orders:create", "grant r0"},
		{"one endpoint is not the function", []string{"dev grant function:orders:create"}, account("dev"), "", "function:orders", ""},
		{"endpoints are not the function", []string{"dev grant function:orders:>"}, account("dev"), "", "function:orders", ""},
		{"an endpoint of any", []string{"dev grant function:*:create"}, account("dev"), "", "function:orders:create", "grant r0"},
		{"everything", []string{"dev grant >"}, account("dev"), "", "secret:a.b:read", "grant r0"},
		{"read is not write", []string{"dev grant bucket:a:read"}, account("dev"), "", "bucket:a:write", ""},
		{"read and write", []string{"dev grant bucket:a:*"}, account("dev"), "", "bucket:a:write", "grant r0"},
		{"dots are parts of subjects", []string{"dev grant subject:publish:a.*"}, account("dev"), "", "subject:publish:a.b", "grant r0"},
		{"* is one part", []string{"dev grant subject:publish:a.*"}, account("dev"), "", "subject:publish:a.b.c", ""},
		{"> is one part or more", []string{"dev grant subject:publish:a.>"}, account("dev"), "", "subject:publish:a", ""},
		{"> is many parts", []string{"dev grant subject:publish:a.>"}, account("dev"), "", "subject:publish:a.b.c", "grant r0"},
		{"dots are no parts of secrets", []string{"dev grant secret:*:read"}, account("dev"), "", "secret:a.b.c:read", "grant r0"},

		{"a deny of the same priority", []string{"dev grant >", "dev deny function:orders"}, account("dev"), "", "function:orders:x", "deny r1"},
		{"a grant above a deny", []string{"dev grant function:orders:x 1", "dev deny >"}, account("dev"), "", "function:orders:x", "grant r0"},
		{"a deny below a grant", []string{"dev grant > 5", "dev deny > 4", "dev grant > 3"}, account("dev"), "", "admin:read", "grant r0"},
		{"a deny of another scope", []string{"dev grant >", "ops deny >"}, account("dev"), "", "admin:read", "grant r0"},
		{"a deny of one of the scopes", []string{"dev grant >", "ops deny >"}, account("dev", "ops"), "", "admin:read", "deny r1"},
		{"the narrower rule has no priority", []string{"dev deny >", "dev grant function:orders:x"}, account("dev"), "", "function:orders:x", "deny r0"},
		{"the first id of equal ones", []string{"dev grant function:a", "dev grant function:>", "* grant >"}, account("dev"), "", "function:a", "grant r0"},
		{"a deny of everybody", []string{"dev grant >", "public deny function:a"}, account("dev"), "", "function:a", "deny r1"},

		{"nobody", []string{"dev grant >", "* grant >"}, nil, "", "function:a", ""},
		{"nobody meets the public", []string{"public grant function:a"}, nil, "", "function:a", "grant r0"},
		{"an account meets the public", []string{"public grant function:a"}, account(), "", "function:a", "grant r0"},
		{"any account", []string{"* grant function:a"}, account(), "", "function:a", "grant r0"},
		{"a scope called * or public", []string{"dev grant function:a"}, account("*", "public", ">", ""), "", "function:a", ""},
		{"no account's name", []string{"public grant >"}, &Principal{Namespace: "shop"}, "", "function:a", ""},
		{"no principal's namespace", []string{"public grant >"}, &Principal{Account: "ada"}, "", "function:a", ""},

		{"a stranger has no scopes here", []string{"dev grant >", "* grant >", "*/admin grant >"}, stranger, "", "function:a", ""},
		{"a stranger meets the public", []string{"dev deny >", "public grant function:a"}, stranger, "", "function:a", "grant r1"},
		{"a stranger meets a public deny", []string{"public grant >", "public deny function:a"}, stranger, "", "function:a", "deny r1"},
		{"a rule of another namespace", []string{"desk/dev grant >"}, account("dev"), "", "function:a", ""},
		{"a rule of all", []string{"*/dev grant >"}, account("dev"), "", "function:a", "grant r0"},
		{"a rule of all below one of here", []string{"*/dev grant >", "dev deny > 1"}, account("dev"), "", "function:a", "deny r1"},
		{"who belongs to all", []string{"dev grant >"}, root, "", "function:a", "grant r0"},

		{"the host as a whole", []string{"*/dev grant >"}, root, "*", "admin:backup", "grant r0"},
		{"not by a namespace's rule", []string{"dev grant >"}, root, "*", "admin:backup", ""},
		{"not for a namespace's account", []string{"*/dev grant >", "*/* grant >", "*/public grant >"}, account("dev"), "*", "admin:backup", ""},
		{"not for nobody", []string{"*/public grant >"}, nil, "*", "admin:backup", ""},
		{"no namespace", []string{"*/public grant >"}, nil, "-", "function:a", ""},

		{"a wildcard is not asked", []string{"dev grant >"}, account("dev"), "", "function:>", ""},
		{"what is malformed is not granted", []string{"dev grant >"}, account("dev"), "", "function:a:b:c", ""},
		{"the server's subjects are not", []string{"dev grant >"}, account("dev"), "", "subject:publish:$JS.API.INFO", ""},
		{"a function's subject is not", []string{"dev grant >"}, account("dev"), "", "subject:publish:fn.orders", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			namespace := map[string]string{"": "shop", "-": ""}
			where, ok := namespace[test.namespace]
			if !ok {
				where = test.namespace
			}
			s := compile(t, test.rules...)
			v := s.Decide(test.principal, where, test.resource)
			if got := told(v); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
			if e := s.Explain(test.principal, where, test.resource); told(e.Verdict) != test.want || e.Why == "" {
				t.Errorf("Explain: %+v", e)
			}
		})
	}
}

// told says what a verdict is, and fails for one that contradicts itself.
func told(v Verdict) string {
	switch {
	case v.Decided != (v.Rule != nil) || v.Allowed && v.Rule.Access != Grant || v.Decided && !v.Allowed && v.Rule.Access != Deny:
		return fmt.Sprintf("contradiction: %+v", v)
	case !v.Decided:
		return ""
	}
	return string(v.Rule.Access) + " " + v.Rule.ID
}

func TestRoles(t *testing.T) {
	s, err := Compile(Builtin())
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"admin:read", "admin:deploy", "admin:auth", "function:a:b", "bucket:a:write", "blob:a:read", "config:a:write", "secret:a:read", "secret:a:write", "subject:publish:a.b"}
	may := map[string]string{
		"admin":     strings.Join(all, " "),
		"developer": "admin:read admin:deploy function:a:b bucket:a:write blob:a:read config:a:write secret:a:write subject:publish:a.b",
		"viewer":    "admin:read",
		"invoker":   "function:a:b",
		"other":     "",
	}
	for scope, want := range may {
		var got []string
		for _, resource := range all {
			if s.Decide(account(scope), "shop", resource).Allowed {
				got = append(got, resource)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s may %q, want %q", scope, got, want)
		}
	}
}

func TestExplainSaysWhyEachRuleAppliesOrNot(t *testing.T) {
	s := compile(t, "dev grant function:orders 5", "dev deny function:> 5", "dev grant > 1", "ops grant function:* 9", "*/public grant function:orders", "desk/dev grant >", "dev grant bucket:>")
	got := s.Explain(account("dev"), "shop", "function:orders:create").String()
	want := `refused: "ada" may not use function:orders:create in namespace shop, by rule r1: it denies function:> to scope dev; a grant needs a priority above 5
      9 grant function:* to scope ops (r3, namespace shop): does not apply: ada has no scope ops
      5 deny  function:> to scope dev (r1, namespace shop): decides
      5 grant function:orders to scope dev (r0, namespace shop): applies, but r1 of the same priority denies
      1 grant > to scope dev (r2, namespace shop): applies, but r1 has a higher priority (5)
      0 grant function:orders to anybody (r4, namespace *): applies, but r1 has a higher priority (5)
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, test := range []struct {
		p                         *Principal
		namespace, resource, want string
	}{
		{nil, "shop", "function:orders", `allowed: nobody in particular may use function:orders in namespace shop, by rule r4`},
		{nil, "shop", "function:orders", `nobody has proved to be one`},
		{nil, "*", "function:orders", `only for accounts of all namespaces`},
		{account("dev"), "*", "function:orders", `ada is of shop`},
		{account("dev"), "desk", "function:orders", `ada is of namespace shop, and only rules of scope public hold for it in desk`},
		{account("dev"), "shop", "admin:audits", `did you mean audit`},
		{account("dev"), "shop", "function:*", `has a wildcard`},
		{account("ops"), "shop", "bucket:a:read", `none is for "ada"`},
		{account("ops"), "north", "bucket:a:read", `no rule in namespace north is about bucket:a:read`},
		{&Principal{}, "shop", "bucket:a:read", `who asks has no account`},
		{account("dev"), "", "function:orders", `no namespace was named`},
	} {
		if text := s.Explain(test.p, test.namespace, test.resource).String(); !strings.Contains(text, test.want) {
			t.Errorf("%v %s %s:\n%swant %q", test.p, test.namespace, test.resource, text, test.want)
		}
	}
}

// reference decides as the package's text says it, and in no clever way.
func reference(list []Rule, p *Principal, namespace, resource string) string {
	if namespace == "" || CheckTarget(resource) != nil || p != nil && (p.Account == "" || p.Namespace == "") {
		return ""
	}
	member := p != nil && (p.Namespace == "*" || p.Namespace == namespace)
	if namespace == "*" && !member {
		return ""
	}
	var best *Rule
	for i := range list {
		r := &list[i]
		holds := r.Namespace == "*" || r.Namespace == namespace
		meant := r.Scope == "public" || member && (r.Scope == "*" || slices.Contains(p.Scopes, r.Scope))
		if !holds || !meant || !matchesReference(r.Resource, resource) {
			continue
		}
		if best == nil || r.Priority > best.Priority ||
			r.Priority == best.Priority && (r.Access == Deny && best.Access == Grant || r.Access == best.Access && r.ID < best.ID) {
			best = r
		}
	}
	if best == nil {
		return ""
	}
	return string(best.Access) + " " + best.ID
}

func matchesReference(pattern, resource string) bool {
	part := "[^:]+"
	if strings.HasPrefix(resource, "subject:") {
		part = "[^:.]+"
	}
	expr := strings.NewReplacer(`\*`, part, ">", ".+").Replace(regexp.QuoteMeta(pattern))
	if strings.HasPrefix(pattern, "function:") && strings.Count(pattern, ":") == 1 {
		expr += "(:.+)?"
	}
	return regexp.MustCompile("^(" + expr + ")$").MatchString(resource)
}

// world makes rules, principals and resources of few names, so that they meet.
type world struct{ *rand.Rand }

func (w world) of(list ...string) string { return list[w.IntN(len(list))] }

func (w world) resource(wild bool) string {
	name := func() string {
		if wild && w.IntN(3) == 0 {
			return "*"
		}
		return w.of("a", "b", "c")
	}
	last := func(words ...string) string {
		if wild && w.IntN(4) == 0 {
			return w.of("*", ">")
		}
		return w.of(words...)
	}
	switch n := w.IntN(10); {
	case wild && n == 0:
		return ">"
	case n < 3:
		resource := "function:" + last("a", "b", "c")
		if w.IntN(2) == 0 && resource[len(resource)-1] != '>' {
			resource += ":" + last("a", "b", "c")
		}
		return resource
	case n < 5:
		return w.of("bucket", "blob", "secret", "config") + ":" + name() + ":" + last("read", "write")
	case n < 6:
		return "admin:" + last("read", "logs", "deploy")
	}
	resource := "subject:" + w.of("publish", "subscribe")
	if wild && w.IntN(5) == 0 {
		resource = "subject:*"
	}
	resource += ":"
	for range w.IntN(4) {
		resource += name() + "."
	}
	return resource + last("a", "b")
}

func (w world) rules(n int) []Rule {
	list := make([]Rule, n)
	for i := range list {
		list[i] = Rule{
			ID: fmt.Sprintf("r%d", i), Namespace: w.of("x", "y", "*"), Resource: w.resource(true),
			Scope: w.of("public", "*", "s", "t", "u"), Access: Access(w.of("grant", "deny")), Priority: w.IntN(4) - 1,
		}
	}
	return list
}

func (w world) principal() *Principal {
	p := &Principal{Account: w.of("ada", "ada", "ada", ""), Namespace: w.of("x", "y", "*")}
	for _, scope := range []string{"s", "t", "u", "*", "public"} {
		if w.IntN(3) == 0 {
			p.Scopes = append(p.Scopes, scope)
		}
	}
	if w.IntN(6) == 0 {
		return nil
	}
	return p
}

func TestDecideIsWhatTheRulesSay(t *testing.T) {
	decided := 0
	for seed := range uint64(300) {
		w := world{rand.New(rand.NewPCG(seed, 1))}
		list := w.rules(w.IntN(40))
		s, err := Compile(list)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			p, namespace, resource := w.principal(), w.of("x", "y", "z", "*"), w.resource(w.IntN(20) == 0)
			want := reference(list, p, namespace, resource)
			if got := told(s.Decide(p, namespace, resource)); got != want {
				t.Fatalf("seed %d: %+v in %s, %s: %q, want %q, of\n%+v", seed, p, namespace, resource, got, want, list)
			}
			applies := ""
			for _, x := range s.Explain(p, namespace, resource).Rules {
				if x.Applies && applies == "" {
					applies = string(x.Rule.Access) + " " + x.Rule.ID
				}
			}
			if applies != want {
				t.Fatalf("seed %d: Explain says %q, want %q", seed, applies, want)
			}
			if want != "" {
				decided++
			}
		}
	}
	if decided < 3000 {
		t.Errorf("only %d of 15000 were decided: the test asks for nothing", decided)
	}
}

// against says what a rule about a has in common with b.
func against(a, b []string) (some, all bool) {
	root := new(node)
	root.add(&Rule{Resource: join(a)})
	root.against(b, true, func(b *bests, whole bool) {
		some = some || b != nil
		all = all || b != nil && whole
	})
	return some, all
}

// join is the other way of split.
func join(list []string) string {
	if list[0] == "subject" && len(list) > 3 {
		list = append(slices.Clone(list[:2]), strings.Join(list[2:], "."))
	}
	return strings.Join(list, ":")
}

func TestWhatPatternsHaveInCommon(t *testing.T) {
	w := world{rand.New(rand.NewPCG(7, 7))}
	var targets [][]string
	for range 1000 {
		targets = append(targets, split(w.resource(false)))
	}
	for range 1000 {
		a, b := split(w.resource(true)), split(w.resource(true))
		every, any := true, false
		for _, target := range targets {
			if covers(b, target) {
				matched := slices.ContainsFunc(patterns(join(a)), func(p []string) bool { return covers(p, target) })
				every, any = every && matched, any || matched
			}
		}
		// What has no example among the targets may still be.
		some, all := against(a, b)
		if all && !every || covers(a, b) && !all {
			t.Errorf("%q covers %q: %v", a, b, all)
		}
		if any && !some || all && !some {
			t.Errorf("%q and %q have something in common: %v", a, b, some)
		}
	}
}

// FuzzDecide holds that a question of any kind is answered as by the reference.
func FuzzDecide(f *testing.F) {
	f.Add(uint64(1), "ada", "x", "s", "x", "function:a:b")
	f.Add(uint64(2), "", "*", "*", "*", "subject:publish:a.b")
	f.Fuzz(func(t *testing.T, seed uint64, name, home, scope, namespace, resource string) {
		list := world{rand.New(rand.NewPCG(seed, 2))}.rules(30)
		s, err := Compile(list)
		if err != nil {
			t.Fatal(err)
		}
		p := &Principal{Account: name, Namespace: home, Scopes: []string{scope}}
		if got, want := told(s.Decide(p, namespace, resource)), reference(list, p, namespace, resource); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if s.Explain(p, namespace, resource).String() == "" {
			t.Error("nothing explained")
		}
		s.Permissions(p, namespace)
	})
}

func TestDecideAllocatesNothing(t *testing.T) {
	for _, shape := range shapes {
		s, p, resource := shape.set(t, 1000)
		if n := testing.AllocsPerRun(100, func() { s.Decide(p, "shop", resource) }); n != 0 {
			t.Errorf("%s: %v allocations", shape.name, n)
		}
	}
}
