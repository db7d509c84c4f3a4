package functest_test

import (
	"context"
	"testing"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/functest"
)

func TestCallerIsWhoAsksAlsoOfWhatIsCalled(t *testing.T) {
	who := func(ctx context.Context) string {
		c := functions.Caller(ctx)
		if c.Has("billing") {
			return c.Account + " may bill"
		}
		return c.Account
	}
	h := functest.Host{Caller: functions.Identity{Account: "ada", Scopes: []string{"billing"}}, Functions: map[string]any{"who": who}}
	relay := func(ctx context.Context) (string, error) {
		var out string
		err := functions.Call(ctx, "who", nil, &out)
		return out, err
	}
	for name, handler := range map[string]any{"asked": who, "called": relay} {
		var out string
		if err := h.Invoke(t.Context(), handler, nil, &out); err != nil || out != "ada may bill" {
			t.Errorf("%s by %q, %v", name, out, err)
		}
	}
	var nobody functest.Host
	none := "?"
	if err := nobody.Invoke(t.Context(), who, nil, &none); err != nil || none != "" {
		t.Errorf("asked by %q, %v", none, err)
	}
}
