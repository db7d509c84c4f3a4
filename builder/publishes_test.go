package builder

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestPublishesAreFound(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.go": `package shop

import (
	"context"

	fn "github.com/fnhost/fnhost/functions"
)

const prefix, own = "orders.", prefix + "own"

func Handle(ctx context.Context, e fn.Event) error {
	subject := "variable"
	fn.Publish(ctx, subject, nil)
	fn.Publish(ctx, e.Subject, nil)
	other.Publish(ctx, "other", nil)
	fn.Publish(ctx, "plain", nil, fn.ID("x"))
	fn.Publish(ctx, "plain", 2)
	func() { _ = fn.Publish(ctx, (prefix)+"paid", nil) }()
	return fn.Publish(ctx, own, nil)
}
`,
		"b.go": "package shop\n\nimport (\n\t\"context\"\n\n\t. \"github.com/fnhost/fnhost/functions\"\n)\n\nfunc more(ctx context.Context) { Publish(ctx, cycle, nil); Publish(ctx, `raw`, nil); Publish(ctx) }\n\nconst cycle = cycle + \"x\"\n",
		"c.go": "package shop\n\nfunc Publish(a, b, c any) {}\n\nfunc third() { Publish(1, \"mine\", 2) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Detect(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []Publish{{"plain", "a.go", 16}, {"orders.paid", "a.go", 18}, {"orders.own", "a.go", 19}, {"raw", "b.go", 9}}
	if !reflect.DeepEqual(p.Publishes, want) {
		t.Errorf("got %+v, want %+v", p.Publishes, want)
	}
}
