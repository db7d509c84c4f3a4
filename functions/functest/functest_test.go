package functest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/functest"
	"github.com/fnhost/fnhost/functions/httpfn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type order struct {
	Item  string
	Count int
}

type receipt struct{ Total int }

// buy is a function that calls another and logs.
func buy(ctx context.Context, in order) (receipt, error) {
	var price int
	if err := functions.Call(ctx, "prices/of", in.Item, &price); err != nil {
		return receipt{}, err
	}
	functions.Log(ctx).Info("sold", "item", in.Item)
	return receipt{Total: price * in.Count}, nil
}

func Example() {
	host := &functest.Host{Functions: map[string]any{
		"prices/of": func(item string) (int, error) { return 10 * len(item), nil },
	}}
	var out receipt
	err := host.Invoke(context.Background(), buy, order{Item: "tea", Count: 2}, &out)
	fmt.Println(out.Total, err)
	fmt.Println(host.Logs()[0].Message, host.Logs()[0].Attrs)
	// Output:
	// 60 <nil>
	// sold map[item:tea]
}

func ExampleHost_Send() {
	paid := func(ctx context.Context, e functions.Event) error {
		if e.Type != "order.paid" {
			return functions.Permanent(errors.New("no such type"))
		}
		return functions.Publish(ctx, "parcels.wanted", e.Data, functions.ID(e.ID), functions.WithHeader("X-Attempt", fmt.Sprint(e.Attempt)))
	}
	var host functest.Host
	err := host.Send(context.Background(), paid, functions.Event{Subject: "orders.paid", Data: []byte("7"), ID: "a", Type: "order.paid"})
	m := host.Published()[0]
	fmt.Println(m.Subject, string(m.Data), m.ID, m.Header["X-Attempt"], err)

	var e *functions.Error
	err = host.Send(context.Background(), paid, functions.Event{Subject: "orders.paid"})
	fmt.Println(err, errors.As(err, &e) && e.Retry < 0)
	// Output:
	// parcels.wanted 7 a [1] <nil>
	// no such type true
}

func ExampleHost_Do() {
	search := func(in struct {
		Shop, Query string
		Limit       int
	}) string {
		return fmt.Sprintf("%d of %s in %s", in.Limit, in.Query, in.Shop)
	}
	var host functest.Host
	r, err := host.Do(context.Background(), search, functest.Request{
		Method: "GET", Path: "/?query=tea&limit=3", Values: map[string]string{"shop": "berlin"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d %s\n", r.Status, r.Body)
	// Output: 200 3 of tea in berlin
}

func TestErrorsAreThoseOfAHost(t *testing.T) {
	host := &functest.Host{Functions: map[string]any{
		"panics": func() { panic("oh") },
		"bad":    func(a, b int) {},
	}}
	host.Functions["loop"] = func(ctx context.Context) error { return functions.Call(ctx, "loop", nil, nil) }
	call := func(name string) func(context.Context) error {
		return func(ctx context.Context) error { return functions.Call(ctx, name, nil, nil) }
	}
	tests := []struct {
		name    string
		handler any
		want    error
	}{
		{"of the handler", func() error { return functions.Errorf(functions.Conflict, "taken") }, functions.ErrConflict},
		{"panic", func() { panic("oh") }, functions.ErrPanicked},
		{"unknown function", call("nobody"), functions.ErrNoFunction},
		{"panic of a called function", call("panics"), functions.ErrPanicked},
		{"endless calls", call("loop"), functions.ErrLoop},
		{"bad input", func(in order) {}, functions.ErrBadRequest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := host.Invoke(t.Context(), test.handler, "{", nil); !errors.Is(err, test.want) {
				t.Errorf("Invoke = %v, want one of code %s", err, test.want)
			}
		})
	}
	if err := host.Invoke(t.Context(), call("bad"), nil, nil); err == nil || !strings.Contains(err.Error(), "is not a handler") {
		t.Errorf("a function of no accepted shape: %v", err)
	}
	if err := host.Invoke(t.Context(), 5, nil, nil); err == nil || !strings.Contains(err.Error(), "is not a function") {
		t.Errorf("no function: %v", err)
	}
}

func TestInvokeTakesAndGivesEveryType(t *testing.T) {
	var host functest.Host
	var text string
	if err := host.Invoke(t.Context(), func(in []byte) string { return string(in) + "!" }, []byte("a"), &text); err != nil || text != "a!" {
		t.Errorf("text: %q, %v", text, err)
	}
	var raw []byte
	if err := host.Invoke(t.Context(), func(in io.Reader) io.Reader { return in }, strings.NewReader("streamed"), &raw); err != nil || string(raw) != "streamed" {
		t.Errorf("raw: %q, %v", raw, err)
	}
	if err := host.Invoke(t.Context(), func() {}, nil, &raw); err != nil || len(raw) != 0 {
		t.Errorf("nothing: %q, %v", raw, err)
	}
	n := 7
	if err := host.Invoke(t.Context(), func() {}, nil, &n); err != nil || n != 7 {
		t.Errorf("nothing for a number: %d, %v", n, err)
	}
}

func TestDoRunsHTTPHandlers(t *testing.T) {
	var host functest.Host
	e := httpfn.HandleFunc("", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("X-Seen", r.Method+" "+r.URL.Path+" "+r.URL.Query().Get("q")+" "+r.Header.Get("X-In")+" "+r.Host)
		w.WriteHeader(http.StatusTeapot)
		io.Copy(w, r.Body)
	})
	r, err := host.Do(t.Context(), e, functest.Request{
		Method: "PUT", Path: "a/b?q=1", Host: "shop.test", Header: http.Header{"X-In": {"yes"}}, Body: strings.NewReader(strings.Repeat("x", 100_000)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := http.Header(r.Header).Get("X-Seen"), "PUT /a/b 1 yes shop.test"; got != want {
		t.Errorf("handler saw %q, want %q", got, want)
	}
	if r.Status != http.StatusTeapot || len(r.Body) != 100_000 {
		t.Errorf("status %d, %d bytes", r.Status, len(r.Body))
	}
}

func TestStreams(t *testing.T) {
	var host functest.Host
	ctx, cancel := context.WithCancel(t.Context())
	endless := func() iter.Seq[int] {
		return func(yield func(int) bool) {
			for i := 0; yield(i); i++ {
				if i == 2 {
					cancel()
				}
			}
		}
	}
	r, err := host.Do(ctx, endless, functest.Request{})
	if !errors.Is(err, &functions.Error{Code: "canceled"}) || r == nil || !bytes.Equal(r.Body, []byte("0\n1\n2\n")) {
		t.Errorf("Do = %+v, %v; want what came before the end, and that", r, err)
	}
}

func TestLogsTellWhoLogged(t *testing.T) {
	host := &functest.Host{Name: "front", Functions: map[string]any{
		"back": func(ctx context.Context) { functions.Log(ctx).Warn("hello") },
	}}
	err := host.Invoke(t.Context(), func(ctx context.Context) error {
		i := functions.InvocationFrom(ctx)
		functions.Log(ctx).Debug("at", "id", i.ID, "trigger", i.Trigger)
		return functions.Call(ctx, "back", nil, nil)
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	logs := host.Logs()
	if len(logs) != 2 {
		t.Fatalf("%d records, want 2: %+v", len(logs), logs)
	}
	if l := logs[0]; l.Function != "front" || l.Level != slog.LevelDebug || l.Attrs["id"] != l.Invocation || l.Attrs["trigger"] != "http" {
		t.Errorf("first record: %+v", l)
	}
	if l := logs[1]; l.Function != "back" || l.Level != slog.LevelWarn || l.Invocation == logs[0].Invocation {
		t.Errorf("second record: %+v", l)
	}
}

func TestWhatIsSaidOfAMessage(t *testing.T) {
	host := &functest.Host{}
	publish := func(ctx context.Context) error {
		return functions.Publish(ctx, "a", "x", functions.Delay(time.Hour), functions.TTL(time.Minute), functions.CloudEvent("t"), functions.ID("1"))
	}
	if err := host.Invoke(t.Context(), publish, nil, nil); err != nil {
		t.Fatal(err)
	}
	m := host.Published()[0]
	if m.ID != "1" || m.Header["ce-id"][0] != "1" || m.Header["ce-source"][0] != "/functions/"+m.Function || m.Header["Nats-TTL"][0] != "1m0s" || len(m.Header["Nats-Schedule"]) != 1 {
		t.Errorf("%+v", m)
	}
}

func TestConfig(t *testing.T) {
	host := functest.Host{Config: map[string]any{"limits": map[string]any{"rate": 10}}}
	handler := func(ctx context.Context) (string, error) {
		c, err := functions.Config(ctx)
		return fmt.Sprint(c.Int("limits.rate", 1)), err
	}
	for _, want := range []string{"10", "20", "1"} {
		var got string
		if err := host.Invoke(t.Context(), handler, nil, &got); err != nil || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
		next := map[string]any{"limits": map[string]any{"rate": 20}}
		if want == "20" {
			next = nil
		}
		if err := host.SetConfig(next); err != nil {
			t.Fatal(err)
		}
	}
	wrong := functest.Host{Config: map[string]any{"f": func() {}}}
	if err := wrong.Invoke(t.Context(), handler, nil, nil); err == nil {
		t.Error("a function is configuration")
	}
}

func TestAnEventThatComesAgainHasItsEffectsOnce(t *testing.T) {
	var host functest.Host
	ran, fail := 0, false
	handle := func(ctx context.Context, e functions.Event) error {
		for _, subject := range []string{"first", "second"} {
			err := functions.Atomically(ctx, func(ctx context.Context) error {
				ran++
				if _, err := functions.KV(ctx, "totals").Add(ctx, subject, 1); err != nil {
					return err
				}
				return functions.Publish(ctx, subject, e.Data)
			})
			if err != nil {
				return err
			}
			if fail {
				return errors.New("after the first")
			}
		}
		return nil
	}
	steps := []struct {
		name      string
		event     functions.Event
		fail      bool
		ran, want int
	}{
		{"the first half", functions.Event{Stream: "S", Sequence: 7}, true, 1, 1},
		{"again", functions.Event{Stream: "S", Sequence: 7, Attempt: 2}, false, 2, 2},
		{"once more, as if it were the first time", functions.Event{Stream: "S", Sequence: 7}, false, 4, 2},
		{"another one", functions.Event{Stream: "S", Sequence: 8}, false, 6, 4},
		{"of another stream", functions.Event{Stream: "T", Sequence: 7}, false, 8, 6},
		{"replayed", functions.Event{Stream: "S", Sequence: 7, Replayed: true}, false, 10, 8},
		{"without a sequence", functions.Event{Stream: "S"}, false, 12, 10},
		{"again without one", functions.Event{Stream: "S"}, false, 14, 12},
	}
	for _, step := range steps {
		fail = step.fail
		if err := host.Send(t.Context(), handle, step.event); (err != nil) != fail {
			t.Errorf("%s: %v", step.name, err)
		}
		if len(host.Published()) != step.want || ran != step.ran {
			t.Errorf("%s: ran %d times with %d effects, want %d with %d", step.name, ran, len(host.Published()), step.ran, step.want)
		}
	}
	if e, err := host.Bucket("totals").Get(t.Context(), "first"); err != nil || string(e.Value) != "6" {
		t.Errorf("total %q, %v", e.Value, err)
	}
}
