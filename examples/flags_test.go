package examples_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/host"
)

func testFeatureFlags(t *testing.T, r *running) {
	flags := host.ConfigLayer{Function: "feature-flags"}
	set := func(l host.ConfigLayer, path string, value any) {
		t.Helper()
		if _, err := r.SetConfig(t.Context(), l, "test", path, value); err != nil {
			t.Fatal(err)
		}
	}
	awaitPage := func(user, want string) {
		t.Helper()
		await(t, user+" sees "+want, func() bool {
			a := r.http(t, "GET", "/feature-flags?user="+user, nil)
			return a.status == 200 && string(a.body) == want
		})
	}
	awaitPage("ada", `{"checkout":"new"}`)
	awaitPage("bob", `{"checkout":"old"}`)
	set(flags, "checkout.percent", 100)
	awaitPage("bob", `{"checkout":"new"}`)
	set(flags, "checkout.users", []string{})
	set(flags, "checkout.percent", json.Number("0"))
	set(host.ConfigLayer{}, "banner", "Free shipping today")
	awaitPage("ada", `{"checkout":"old","banner":"Free shipping today"}`)
	if _, err := r.SetConfig(t.Context(), flags, "test", "checkout.percent", 150); err == nil || !strings.Contains(err.Error(), "checkout.percent must be at most 100, not 150") {
		t.Errorf("a share of 150%%: %v", err)
	}
	if _, err := r.RemoveConfig(t.Context(), flags, "test", ""); err != nil {
		t.Fatal(err)
	}
	awaitPage("ada", `{"checkout":"new","banner":"Free shipping today"}`)
}
