package rules

import (
	"fmt"
	"testing"
)

// shape is a set of rules with a question that is hard for it.
type shape struct {
	name  string
	scope func(i int) string
	rule  func(i int) string
	ask   string
}

var shapes = []shape{
	{"distinct", func(int) string { return "dev" }, func(i int) string { return fmt.Sprintf("function:f%d:create", i) }, "function:f77:create"},
	{"same", func(i int) string { return fmt.Sprintf("s%d", i) }, func(int) string { return "function:f" }, "function:f:create"},
	{"subjects", func(int) string { return "dev" }, func(i int) string { return fmt.Sprintf("subject:publish:orders.%d.*.created.>", i) }, "subject:publish:orders.77.a.created.b.c.d.e"},
	{"wildcards", func(i int) string { return fmt.Sprintf("s%d", i%100) }, func(i int) string {
		return []string{">", "bucket:>", "bucket:*:read", "bucket:*:*", "bucket:b:read", "bucket:b:*", "bucket:b:>"}[i%7]
	}, "bucket:b:read"},
	// 2 to the 10th rules that all match, each with other wildcards.
	{"worst", func(int) string { return "dev" }, func(i int) string {
		subject := "subject:publish:s"
		for bit := range 10 {
			subject += "." + string("*a"[i>>bit&1])
		}
		return fmt.Sprintf("%s.%d", subject, i>>10)
	}, "subject:publish:s.a.a.a.a.a.a.a.a.a.a.7"},
}

// set returns n rules of the shape, who asks, and what.
func (sh *shape) set(t testing.TB, n int) (*Set, *Principal, string) {
	t.Helper()
	list := Builtin()
	for i := range n {
		list = append(list, Rule{ID: fmt.Sprintf("r%d", i), Namespace: []string{"shop", "*"}[i%2], Resource: sh.rule(i), Scope: sh.scope(i), Access: Grant, Priority: i % 10})
	}
	s, err := Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	return s, account("dev", "s1", "s2", "s77", "developer"), sh.ask
}

func BenchmarkDecide(b *testing.B) {
	for _, sh := range shapes {
		b.Run(sh.name, func(b *testing.B) {
			s, p, resource := sh.set(b, 10_000)
			b.ReportAllocs()
			for b.Loop() {
				s.Decide(p, "shop", resource)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	list := Builtin()
	for i := range 10_000 {
		list = append(list, Rule{ID: fmt.Sprintf("r%d", i), Namespace: "shop", Resource: shapes[0].rule(i), Scope: "dev", Access: Grant})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(list); err != nil {
			b.Fatal(err)
		}
	}
}
