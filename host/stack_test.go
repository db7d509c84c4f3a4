package host_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
)

// lastRecord returns the message of a function's latest record.
func (f *fixture) lastRecord(name string) string {
	list := f.KeptRecords(name)
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1].Message
}

func TestTheStackOfAPanicIsTheFunctions(t *testing.T) {
	bare := `package pan

import "strings"

type in struct{ m map[string]*in }

func (i *in) set() { i.m["x"] = i }

func Handle() string {
	strings.Map(func(r rune) rune { new(in).set(); return r }, "a")
	return ""
}
`
	http := "package web\n\nimport (\n\t\"net/http\"\n\n\t\"example.com/m/lib\"\n)\n\nfunc Handle(w http.ResponseWriter, r *http.Request) { lib.Fall(nil) }\n"
	f := start(t, map[string]string{
		"pan/t.go": bare,
		"m/go.mod": "module example.com/m\n\ngo 1.26\n", "m/lib/l.go": "package lib\n\nfunc Fall(p *int) int { return *p }\n",
		"m/web/w.go": http, "m/web/function.yaml": "name: web\n",
	}, nil)
	own := func(rel string) string { return "\n\t" + filepath.Join(f.dir, rel) }
	tests := []struct{ name, want string }{
		{"pan", "panic: assignment to entry in nil map\npan.(*in).set(...)" + own("pan/t.go:7") + "\npan.Handle.func1(...)" + own("pan/t.go:10") +
			"\nstrings.Map(...)\n\tstrings/strings.go:LINE\npan.Handle(...)" + own("pan/t.go:10")},
		{"web", "panic: runtime error: invalid memory address or nil pointer dereference\nexample.com/m/lib.Fall(...)" + own("m/lib/l.go:3") +
			"\nexample.com/m/web.Handle(...)" + own("m/web/w.go:9")},
	}
	for _, test := range tests {
		if _, err := f.Invoke(t.Context(), test.name, nil); !errors.Is(err, functions.ErrPanicked) {
			t.Fatal(err)
		}
		got := f.lastRecord(test.name)
		if before, rest, ok := strings.Cut(got, "strings.go:"); ok {
			_, rest, _ = strings.Cut(rest, "\n")
			got = before + "strings.go:LINE\n" + rest
		}
		if got != test.want {
			t.Errorf("%s:\n%s\nwant:\n%s", test.name, got, test.want)
		}
	}
	if err := f.Handle("own", func() string { panic("own") }); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Invoke(t.Context(), "own", nil); !errors.Is(err, functions.ErrPanicked) {
		t.Fatal(err)
	}
	if got := f.lastRecord("own"); !strings.Contains(got, "stack_test.go:") || strings.Contains(got, "reflect") || strings.HasSuffix(got, "\n") {
		t.Errorf("of this program:\n%s", got)
	}
}

func TestTheStackOfAPanicInADeployedFunction(t *testing.T) {
	f := server(t)
	source := tree(t, map[string]string{"fns/pan/t.go": "package p\n\nfunc Handle() string { panic(\"boom\") }\n"})
	if _, err := f.Deploy(t.Context(), source, host.DeployOptions{Dir: "fns"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Invoke(t.Context(), "pan", nil); !errors.Is(err, functions.ErrPanicked) {
		t.Fatal(err)
	}
	if got, want := f.lastRecord("pan"), "panic: boom\npan.Handle(...)\n\tpan/t.go:3"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
