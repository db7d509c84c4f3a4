package host_test

import (
	"errors"
	"testing"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
)

// What a function publishes later comes once, though the host is another one by then.
func TestAFunctionPublishesLater(t *testing.T) {
	f := start(t, map[string]string{
		"later/f.go": `package later

import (
	"context"
	"errors"
	"time"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, what string) error {
	options := map[string][]functions.PublishOption{
		"delay":       {functions.Delay(2 * time.Second), functions.ID("1"), functions.TTL(time.Hour)},
		"short":       {functions.Delay(100 * time.Millisecond)},
		"past":        {functions.At(time.Now().Add(-time.Hour))},
		"both":        {functions.Delay(time.Hour), functions.At(time.Now())},
		"zero":        {functions.At(time.Time{})},
		"far":         {functions.Delay(1000 * time.Hour)},
		"fraction":    {functions.TTL(1500 * time.Millisecond)},
		"brief":       {functions.TTL(time.Millisecond)},
		"first":       {functions.ExpectLast(0)},
		"expect":      {functions.ExpectLast(99)},
		"expectlater": {functions.ExpectLast(0), functions.Delay(time.Hour)},
		"twice":       {functions.ID("a"), functions.ID("b")},
	}[what]
	err := functions.Publish(ctx, "done."+what, what, options...)
	var e *functions.Error
	if errors.As(err, &e) {
		return functions.Errorf(e.Code, "%v", err)
	}
	return err
}

func HandleDone(ctx context.Context, what string) error { return functions.Publish(ctx, "seen", what) }
`,
		"later/function.yaml": "triggers:\n  event:\n    - {subject: done.*, endpoint: done}\n",
	}, nil)
	f.awaitState("later", host.Ready)
	f.await("the trigger", func() bool {
		list := f.Triggers(t.Context())
		return len(list) == 1 && list[0].Error == "" && list[0].Stream != ""
	})
	s := f.listen()
	for what, want := range map[string]string{
		"delay": "", "short": "", "past": "", "first": "", "both": "bad_request", "zero": "bad_request", "far": "bad_request", "fraction": "bad_request", "brief": "bad_request",
		"expect": "conflict", "expectlater": "bad_request", "twice": "bad_request",
	} {
		_, err := f.Invoke(t.Context(), "later", []byte(what))
		if got := codeOf(err); got != want {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	for _, what := range []string{"short", "past", "first"} {
		f.await(what, func() bool { return s.count(what) == 1 })
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	f.open(nil)
	s2 := f.listen()
	f.await("what was delayed", func() bool { return s.count("delay")+s2.count("delay") > 0 })
	f.idle()
	if n := s.count("delay") + s2.count("delay"); n != 1 {
		t.Errorf("it came %d times", n)
	}
}

func codeOf(err error) string {
	var e *functions.Error
	if err != nil && !errors.As(err, &e) {
		return err.Error()
	}
	if e == nil {
		return ""
	}
	return string(e.Code)
}
