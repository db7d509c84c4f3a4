package host_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/host"
)

const batchSource = `package shop

import (
	"context"
	"errors"
	"fmt"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, list []functions.Event) error {
	failed := make(functions.BatchError)
	for i, e := range list {
		if string(e.Data) == "7" && e.Attempt == 1 {
			failed[i] = errors.New("not yet")
			continue
		}
		if err := functions.Publish(ctx, "seen", fmt.Sprintf("%s %d", e.Data, e.Attempt)); err != nil {
			return err
		}
	}
	if err := functions.Publish(ctx, "seen", fmt.Sprintf("batch of %d", len(list))); err != nil {
		return err
	}
	if len(failed) > 0 {
		return failed
	}
	return nil
}
`

func TestAFunctionTakesEventsInBatches(t *testing.T) {
	f := start(t, map[string]string{
		"shop/shop.go":       batchSource,
		"shop/function.yaml": "triggers:\n  event:\n    - {subject: orders, start: all, backoff: 10ms, backoffMax: 10ms, batch: {size: 20, window: 1s}}\n",
	}, nil)
	s := f.listen()
	f.awaitState("shop", host.Ready)
	for i := range 20 {
		f.send("orders", fmt.Sprint(i))
	}
	f.await("the one that failed, alone", func() bool { return s.count("7 2") == 1 && s.count("batch of 1") > 0 })
	for i := range 20 {
		if n := s.count(fmt.Sprintf("%d 1", i)); n != 1 && i != 7 {
			t.Errorf("event %d was handled %d times", i, n)
		}
	}
	runs := make(map[string]*host.Run)
	f.await("all attempts are recorded", func() bool {
		list, err := f.Runs(t.Context(), host.RunQuery{Function: "shop", Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range list {
			runs[fmt.Sprint(run.Input.Sequence, " ", run.State, " ", run.Attempts)] = run
		}
		return runs["8 failed 1"] != nil && runs["8 done 2"] != nil
	})
	for name, want := range map[string]string{"8 failed 1": "not yet", "8 done 2": ""} {
		if run := runs[name]; run.Error != want || run.Invocation == "" || run.Version != "v1" || run.Input.Subject != "orders" || run.Input.Size != 1 {
			t.Errorf("%s: %+v", name, run)
		}
	}
	if s.count("7 1") != 0 {
		t.Error("what failed was published")
	}
}

func TestBatchesForAHandlerOfOne(t *testing.T) {
	manifest := "triggers:\n  event:\n    - {subject: orders, batch: {size: 20}}\n"
	f := start(t, map[string]string{
		"bytes/f.go": "package bytes\n\nfunc Handle(b []byte) ([]byte, error) { return b, nil }\n", "bytes/function.yaml": manifest,
		"single/f.go":          "package single\n\nimport \"github.com/fnhost/fnhost/functions\"\n\nfunc Handle(functions.Event) {}\n",
		"single/function.yaml": manifest,
	}, nil)
	for _, name := range []string{"bytes", "single"} {
		f.awaitState(name, host.Failed)
		if s, err := f.Function(name); err != nil || !strings.Contains(s.Error, "the event trigger of orders has batches, for which its handler must take a slice") {
			t.Errorf("%q, %v", s.Error, err)
		}
	}
}
