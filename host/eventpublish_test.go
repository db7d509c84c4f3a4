package host_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/trigger/event"
)

const publisherSource = `package publisher

import (
	"context"
	"errors"
	"strings"

	"github.com/fnhost/fnhost/functions"
)

type In struct {
	Subject string
	Size    int
}

func Handle(ctx context.Context, in In) error {
	err := functions.Publish(ctx, in.Subject, strings.Repeat("x", in.Size), functions.WithHeader("Fn-Depth", "-100"))
	var e *functions.Error
	if errors.As(err, &e) {
		return functions.Errorf(e.Code, "%v", err)
	}
	return err
}
`

func TestWhatAFunctionMayPublish(t *testing.T) {
	f := start(t, map[string]string{
		"free/f.go": publisherSource, "bound/f.go": publisherSource, "bound/function.yaml": "access: {subjects: [orders.*]}\n",
	}, nil)
	f.awaitState("free", host.Ready)
	f.awaitState("bound", host.Ready)
	sub, err := f.Conn().SubscribeSync("orders.>")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		function, subject string
		size              int
		want              *functions.Error
	}{
		{"free", "orders.a", 1, nil}, {"free", "orders.a", int(f.Conn().MaxPayload()), &functions.Error{Code: functions.TooLarge}}, {"free", "orders.a", 1 << 20, nil},
		{"free", "fn.free", 1, functions.ErrBadRequest}, {"free", "dead.free", 1, functions.ErrBadRequest}, {"free", "$JS.API.INFO", 1, functions.ErrBadRequest},
		{"free", "orders.*", 1, functions.ErrBadRequest}, {"free", "", 1, functions.ErrBadRequest},
		{"bound", "orders.a", 1, nil}, {"bound", "orders.a.b", 1, functions.ErrForbidden}, {"bound", "other", 1, functions.ErrForbidden},
	}
	for _, test := range tests {
		_, err := f.Invoke(t.Context(), test.function, fmt.Appendf(nil, `{"Subject":%q,"Size":%d}`, test.subject, test.size))
		if test.want == nil && err != nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s on %q: %v, want %v", test.function, test.subject, err, test.want)
		}
		if test.want != nil {
			continue
		}
		if m, err := sub.NextMsg(5 * time.Second); err != nil || len(m.Data) != test.size || m.Header.Get(event.HeaderDepth) != "1" {
			t.Errorf("%s on %q, %d bytes: %v", test.function, test.subject, test.size, err)
		}
	}
}

// A function that publishes what starts it does not do so for ever.
func TestAFunctionThatStartsItself(t *testing.T) {
	f := start(t, map[string]string{
		"again/again.go":      "package again\n\nimport (\n\t\"context\"\n\n\t\"github.com/fnhost/fnhost/functions\"\n)\n\nfunc Handle(ctx context.Context, e functions.Event) error { return functions.Publish(ctx, e.Subject, e.Data) }\n",
		"again/function.yaml": "triggers: {event: [{subject: again}]}\n",
	}, nil)
	f.awaitState("again", host.Ready)
	f.await("the trigger", func() bool { list := f.Triggers(t.Context()); return len(list) == 1 && list[0].Error == "" })
	f.send("again", "x")
	f.await("the end", func() bool { return len(f.letters()) == 1 })
	if l := f.letters()[0]; l.Code != "loop" || l.Sequence < 30 || l.Sequence > 40 {
		t.Errorf("letter %+v", l)
	}
	f.idle()
}

// A letter whose function is no more stays, and whoever asks for it is told.
func TestALetterOfAFunctionThatIsNoMore(t *testing.T) {
	f := shop(t)
	f.send("shop.order", "permanent")
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	if err := os.RemoveAll(filepath.Join(f.dir, "shop")); err != nil {
		t.Fatal(err)
	}
	f.await("it has gone", func() bool { return len(f.Functions()) == 0 })
	if err := f.Redrive(t.Context(), f.letters()[0].ID, ""); !errors.Is(err, functions.ErrNoFunction) || len(f.letters()) != 1 {
		t.Errorf("%v; %d letters", err, len(f.letters()))
	}
}
