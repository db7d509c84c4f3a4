package host_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fnhost/fnhost/host/logs"
)

func TestFailedInvocationsLeaveALine(t *testing.T) {
	f := start(t, map[string]string{"shop/s.go": `package shop

import (
	"errors"
	"net/http"

	"github.com/fnhost/fnhost/functions"
)

func Handle() string { return "fine" }

func HandleBroken() error { return errors.New("no\n table") }

func HandleWrong() error { return functions.Errorf(functions.BadRequest, "wrong") }

func HandleAway() error { return functions.Errorf(functions.Unavailable, "away") }

func HandlePanic() { panic("p") }

func HandleWeb(w http.ResponseWriter, r *http.Request) { http.Error(w, "no upstream", 502) }

func HandleAbsent(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
`}, nil)
	noted := func(invocation string) (list []string) {
		f.Logs().Read(context.Background(), logs.Query{Function: "shop", Invocation: invocation}, func(r logs.Record) error {
			if r.Source == logs.Host {
				list = append(list, r.Level.String()+" "+r.Message)
			}
			return nil
		})
		return list
	}
	for _, test := range []struct{ endpoint, want string }{
		{"", ""}, {"wrong", ""}, {"absent", ""},
		{"broken", "WARN shop/broken answered 500 internal: no table"},
		{"away", "WARN shop/away answered 503 unavailable: away"},
		{"web", "WARN shop/web answered 502: no upstream"},
	} {
		_, _, h := f.do("POST", "/shop/"+test.endpoint, "")
		id := h.Get("X-Fn-Invocation")
		if got := strings.Join(noted(id), "|"); got != test.want || id == "" {
			t.Errorf("%q, invocation %q: %s, want %s", test.endpoint, id, got, test.want)
		}
	}
	_, _, h := f.do("POST", "/shop/panic", "")
	if got := noted(h.Get("X-Fn-Invocation")); len(got) != 1 || !strings.HasPrefix(got[0], "ERROR panic: p") {
		t.Errorf("a panic: %q", got)
	}
}

func TestManyFailedInvocationsAreCounted(t *testing.T) {
	f := start(t, map[string]string{"bad/b.go": "package bad\n\nimport \"errors\"\n\nfunc Handle() error { return errors.New(\"no\") }\n"}, nil)
	f.awaitState("bad", "ready")
	const calls = 300
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() { f.Invoke(t.Context(), "bad", nil) })
	}
	wg.Wait()
	f.await("all are told of", func() bool {
		told := 0
		for _, r := range f.KeptRecords("bad") {
			var more int
			if _, err := fmt.Sscanf(r.Message, "%d more invocations failed", &more); err == nil {
				told += more
			} else if r.Message == "bad answered 500 internal: no" {
				told++
			}
		}
		return told == calls
	})
	each := slices.DeleteFunc(f.KeptRecords("bad"), func(r logs.Record) bool { return !strings.Contains(r.Message, "answered") })
	if len(each) < 20 {
		t.Errorf("%d have a line of their own", len(each))
	}
}
