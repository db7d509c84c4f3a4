package rules

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestResourcesOfRules(t *testing.T) {
	for _, resource := range []string{
		">", "function:>", "function:*", "function:orders", "function:orders:*", "function:*:create", "function:orders:>",
		"bucket:>", "bucket:*:read", "bucket:Sessions_1:write", "bucket:sessions:*", "bucket:sessions:>", "blob:images:read",
		"secret:*:write", "secret:db/password.main=:read", "config:limits.rate:read",
		"subject:>", "subject:publish:>", "subject:subscribe:orders.*.created", "subject:*:orders.>", "subject:publish:größe", "subject:publish:*.fn",
		"admin:>", "admin:*", "admin:deploy",
	} {
		if err := CheckResource(resource); err != nil {
			t.Errorf("CheckResource(%q): %v", resource, err)
		}
		err := CheckTarget(resource)
		if wild := strings.ContainsAny(resource, "*>"); (err != nil) != wild {
			t.Errorf("CheckTarget(%q): %v", resource, err)
		}
	}
}

func TestMistakesInResourcesAreExplained(t *testing.T) {
	tests := []struct{ resource, want string }{
		{"", "is empty"},
		{"subject:orders.>", "did you mean subject:publish:orders.> or subject:subscribe:orders.>?"},
		{"subject:pub:orders.>", "did you mean subject:publish:orders.>?"},
		{"subject:subscribes:orders", "did you mean subject:subscribe:orders?"},
		{"subject:publish", "too few parts: want subject:publish:SUBJECT"},
		{"subject:publish:orders..x", "empty part"},
		{"subject:publish:orders.>.x", "it is the last part"},
		{"subject:publish:orders x", "not made of visible characters"},
		{"subject:publish:$JS.API.>", "begin with $ are the server's own"},
		{"subject:subscribe:_INBOX.>", "begin with _ are the server's own"},
		{"subject:publish:fn.orders", "want function:NAME"},
		{"subject:publish:later.x", "the host's own"},
		{"bucket:sessions", "did you mean bucket:sessions:read, bucket:sessions:write, or bucket:sessions:* for both?"},
		{"bucket:sessions:Write", "did you mean write"},
		{"bucket:sessions:delete", `"delete" is not one of read, write`},
		{"bucket:sessions:read:more", "has 4 parts, at most 3"},
		{"bucket:sessions:read:>", "has 4 parts, at most 3"},
		{"bucket:a.b:read", "not made of letters"},
		{"bucket", "names a kind alone"},
		{"functions:orders", "did you mean function:NAME"},
		{"kv:sessions:read", "did you mean bucket:NAME:read"},
		{"function:order-*", "whole parts"},
		{"function:Orders", "lower-case"},
		{"function:-a", "no name of a function"},
		{"function:orders:create:x", "has 4 parts"},
		{"function:", "empty part"},
		{"function:>:x", "it is the last part"},
		{"*:orders", "no kind of resource"},
		{">:orders", "no kind of resource"},
		{"*", "want > for everything"},
		{"admin:deployments", "did you mean deploy"},
		{"admin:everything", "is not one of read, logs"},
		{"secret:a b:read", "not made of"},
		{"secret:" + strings.Repeat("x", 600) + ":read", "at most 512"},
		{"subject:publish:\xff", "UTF-8"},
	}
	for _, test := range tests {
		err := CheckResource(test.resource)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("CheckResource(%q): %v, want %q", test.resource, err, test.want)
		}
		if CheckTarget(test.resource) == nil {
			t.Errorf("CheckTarget(%q) is nil", test.resource)
		}
	}
}

func TestMistakesInRulesAreExplained(t *testing.T) {
	good := Rule{ID: "a-1", Namespace: "shop", Resource: "function:>", Scope: "https://example.com/auth:read", Access: Grant, Priority: 1000}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		change func(*Rule)
		want   string
	}{
		{func(r *Rule) { r.ID = "" }, "id:"},
		{func(r *Rule) { r.ID = "A" }, "id:"},
		{func(r *Rule) { r.ID = strings.Repeat("a", 65) }, "id:"},
		{func(r *Rule) { r.Namespace = "" }, "namespace:"},
		{func(r *Rule) { r.Namespace = "a.b" }, "namespace:"},
		{func(r *Rule) { r.Namespace = "-" }, "namespace:"},
		{func(r *Rule) { r.Namespace = ">" }, "namespace:"},
		{func(r *Rule) { r.Resource = "all" }, "resource:"},
		{func(r *Rule) { r.Scope = "" }, "scope:"},
		{func(r *Rule) { r.Scope = "Public" }, "did you mean public"},
		{func(r *Rule) { r.Scope = "a b" }, "one rule is for one scope"},
		{func(r *Rule) { r.Scope = "orders.*" }, "no wildcards"},
		{func(r *Rule) { r.Scope = ">" }, "no wildcards"},
		{func(r *Rule) { r.Scope = strings.Repeat("a", 129) }, "at most 128"},
		{func(r *Rule) { r.Access = "allow" }, `want "grant" or "deny"`},
		{func(r *Rule) { r.Access = "" }, `want "grant" or "deny"`},
		{func(r *Rule) { r.Priority = 1001 }, "priority:"},
		{func(r *Rule) { r.Priority = -1001 }, "priority:"},
		{func(r *Rule) { r.Note = strings.Repeat("a", 1001) }, "note:"},
	}
	for _, test := range tests {
		r := good
		test.change(&r)
		err := r.Validate()
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", r, err, test.want)
		}
		if _, err := Compile([]Rule{good, r}); err == nil {
			t.Errorf("Compile takes %+v", r)
		}
	}
	if _, err := Compile([]Rule{good, good}); err == nil || !strings.Contains(err.Error(), "two of this id") {
		t.Errorf("Compile of two rules of one id: %v", err)
	}
	other := good
	other.Namespace = "desk"
	if _, err := Compile([]Rule{good, other}); err != nil {
		t.Errorf("one id in two namespaces: %v", err)
	}
}

func TestBuiltinRulesAreValid(t *testing.T) {
	list := Builtin()
	if _, err := Compile(list); err != nil {
		t.Error(err)
	}
	for _, r := range list {
		if !strings.HasPrefix(r.ID, "builtin-") || r.Priority != -MaxPriority || r.Namespace != Everywhere {
			t.Errorf("%+v", r)
		}
	}
}

func TestRulesAreKeptAsJSON(t *testing.T) {
	r := Rule{ID: "a", Namespace: "*", Resource: "function:>", Scope: "public", Access: Deny}
	data, err := json.Marshal(r)
	if want := `{"id":"a","namespace":"*","resource":"function:\u003e","scope":"public","access":"deny","priority":0}`; err != nil || string(data) != want {
		t.Errorf("%s, %v, want %s", data, err, want)
	}
}

// FuzzValidate holds that Validate returns, with an error that is short and on one line, and
// that what it takes compiles.
func FuzzValidate(f *testing.F) {
	f.Add("a", "*", "function:>", "public")
	f.Add("b", "shop", "subject:publish:orders.*", "*")
	f.Add("c", "shop", "bucket:a:read:>", "a b")
	f.Fuzz(func(t *testing.T, id, namespace, resource, scope string) {
		r := Rule{ID: id, Namespace: namespace, Resource: resource, Scope: scope, Access: Grant}
		err := r.Validate()
		if err == nil {
			if _, err := Compile([]Rule{r}); err != nil {
				t.Errorf("Compile of what is valid: %v", err)
			}
			return
		}
		if text := err.Error(); len(text) > 8<<10 || strings.ContainsAny(text, "\n\x00") {
			t.Errorf("error %q", text)
		}
	})
}
