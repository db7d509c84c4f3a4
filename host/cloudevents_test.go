package host_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	cenats "github.com/cloudevents/sdk-go/protocol/nats/v2"
	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/host"
)

// clouds tells what it gets of a CloudEvent, and publishes what it is told to.
const clouds = `package clouds

import (
	"context"
	"encoding/json"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	return functions.Publish(ctx, "seen", map[string]any{"ID": e.ID, "Source": e.Source, "Type": e.Type, "Data": string(e.Data),
		"Time": e.Header["ce-time"], "Subject": e.Header["ce-subject"], "Color": e.Header["ce-color"], "ContentType": e.Header["Content-Type"]})
}

func HandleOut(ctx context.Context, what string) error {
	with := functions.CloudEvent
	if what == "structured" {
		with = functions.StructuredCloudEvent
	}
	return functions.Publish(ctx, "out", json.RawMessage(` + "`{\"N\":3}`" + `), with("com.example.out"), functions.WithHeader("ce-subject", "s7"), functions.WithHeader("ce-color", "blue"))
}
`

const cloudsManifest = `triggers:
  http:
    - {path: "/in/{kind}", event: "cloud.{kind}"}
  event:
    - subject: cloud.*
  subscribe:
    - subject: plain.*
`

func startClouds(t *testing.T) *fixture {
	f := start(t, map[string]string{"clouds/f.go": clouds, "clouds/function.yaml": cloudsManifest}, nil)
	f.awaitState("clouds", host.Ready)
	f.await("the trigger", func() bool {
		list := f.Triggers(t.Context())
		return len(list) == 2 && list[0].Error == "" && list[0].Stream != "" // and the subscription
	})
	return f
}

// received are the messages of a subject.
func received(t *testing.T, f *fixture, subject string) func() []*nats.Msg {
	t.Helper()
	var mu sync.Mutex
	var list []*nats.Msg
	if _, err := f.Conn().Subscribe(subject, func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, m)
	}); err != nil {
		t.Fatal(err)
	}
	return func() []*nats.Msg {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}

// The reference implementation of CloudEvents sends, and a function gets the same
// attributes whichever way they come.
func TestCloudEventsOfTheReferenceImplementation(t *testing.T) {
	f := startClouds(t)
	seen := received(t, f, "seen")
	e := cloudevents.NewEvent()
	e.SetID("7")
	e.SetSource("/peer")
	e.SetType("com.example.in")
	e.SetSubject("s7")
	e.SetTime(time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC))
	e.SetExtension("color", "blue")
	if err := e.SetData(cloudevents.ApplicationJSON, map[string]int{"N": 3}); err != nil {
		t.Fatal(err)
	}
	overHTTP := func(mode binding.Encoding, path string) func(t *testing.T) {
		return func(t *testing.T) {
			c, err := cloudevents.NewClientHTTP(cloudevents.WithTarget(f.url+path), cehttp.WithRoundTripper(http.DefaultTransport))
			if err != nil {
				t.Fatal(err)
			}
			ctx := binding.WithForceStructured(t.Context())
			if mode == binding.EncodingBinary {
				ctx = binding.WithForceBinary(t.Context())
			}
			if result := c.Send(ctx, e); !cloudevents.IsACK(result) {
				t.Fatalf("%v", result)
			}
		}
	}
	overNATS := func(subject string) func(t *testing.T) {
		return func(t *testing.T) {
			sender, err := cenats.NewSenderFromConn(f.Conn(), subject)
			if err != nil {
				t.Fatal(err)
			}
			if err := sender.Send(t.Context(), binding.ToMessage(&e)); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name string
		send func(t *testing.T)
	}{
		{"HTTP to a route, binary", overHTTP(binding.EncodingBinary, "/in/binary")},
		{"HTTP to a function, binary", overHTTP(binding.EncodingBinary, "/clouds")},
		{"HTTP to a function, structured", overHTTP(binding.EncodingStructured, "/clouds")},
		{"NATS to a stream", overNATS("cloud.nats")},
		{"NATS to who listens", overNATS("plain.nats")},
	}
	want := `{"Color":["blue"],"ContentType":["application/json"],"Data":"{\"N\":3}","ID":"7","Source":"/peer","Subject":["s7"],"Time":["2026-01-02T15:04:05Z"],"Type":"com.example.in"}`
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.send(t)
			f.await("the function has it", func() bool { return len(seen()) == i+1 })
			if got := string(seen()[i].Data); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
	e.SetID("8") // the route has stored the other one
	t.Run("HTTP to a route, structured", func(t *testing.T) {
		overHTTP(binding.EncodingStructured, "/in/structured")(t)
		f.await("the function has it", func() bool { return len(seen()) == len(tests)+1 })
		if got := string(seen()[len(tests)].Data); got != strings.Replace(want, `"ID":"7"`, `"ID":"8"`, 1) {
			t.Errorf("got %s", got)
		}
	})
}

// A function publishes, and the reference implementation reads it.
func TestTheReferenceImplementationReadsWhatFunctionsPublish(t *testing.T) {
	f := startClouds(t)
	out := received(t, f, "out")
	for i, mode := range []string{"binary", "structured"} {
		if _, err := f.Invoke(t.Context(), "clouds/out", []byte(mode)); err != nil {
			t.Fatal(err)
		}
		f.await("a message", func() bool { return len(out()) == i+1 })
		m := out()[i]
		var message binding.Message = cenats.NewMessage(m)
		if mode == "binary" { // which its NATS binding does not read
			h := make(http.Header)
			for key, values := range m.Header {
				h[http.CanonicalHeaderKey(key)] = values
			}
			message = cehttp.NewMessage(h, nil)
		}
		e, err := binding.ToEvent(t.Context(), message)
		if err != nil {
			t.Fatalf("%s: %v, %v", mode, err, m)
		}
		if mode == "binary" {
			e.DataEncoded = m.Data
		}
		var data struct{ N int }
		if err := e.Validate(); err != nil || e.DataAs(&data) != nil || data.N != 3 {
			t.Errorf("%s: %v: %v", mode, err, e)
		}
		if e.Source() != "/functions/clouds" || e.Type() != "com.example.out" || e.Subject() != "s7" || e.Extensions()["color"] != "blue" ||
			e.DataContentType() != "application/json" || time.Since(e.Time()) > time.Hour || m.Header.Get(jetstream.MsgIDHeader) != e.ID() {
			t.Errorf("%s: %v", mode, e)
		}
	}
}

// A route stores, and what is stored starts functions; who knows nothing of the host
// but its NATS server does the same.
func TestEventsFromOutside(t *testing.T) {
	f := startClouds(t)
	seen := received(t, f, "seen")
	status, body, _ := f.do("POST", "/in/web", "hello", "Content-Type", "text/plain", "Idempotency-Key", "k")
	var receipt struct {
		Stream    string
		Sequence  uint64
		Duplicate bool
	}
	if err := json.Unmarshal([]byte(body), &receipt); status != 202 || err != nil || receipt.Stream != "events" || receipt.Sequence != 1 || receipt.Duplicate {
		t.Errorf("%d %s", status, body)
	}
	if status, body, _ := f.do("POST", "/in/web", "again", "Idempotency-Key", "k"); status != 202 || !strings.Contains(body, `"duplicate":true`) {
		t.Errorf("again: %d %s", status, body)
	}
	conn, err := nats.Connect(f.Info().NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "cloud.bare", []byte("bare")); err != nil {
		t.Fatal(err)
	}
	f.await("both are handled", func() bool { return len(seen()) == 2 })
	got := map[string]bool{}
	for _, m := range seen() {
		var v struct{ Data string }
		if err := json.Unmarshal(m.Data, &v); err != nil {
			t.Error(err)
		}
		got[v.Data] = true
	}
	if want := map[string]bool{"hello": true, "bare": true}; !reflect.DeepEqual(got, want) {
		t.Errorf("handled %v", got)
	}
	for path, want := range map[string]int{"/in/a.b": 400, "/in/a%20b": 400} {
		if status, body, _ := f.do("POST", path, "x"); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	// The limit of a message is below that of a body.
	f.write("clouds/function.yaml", cloudsManifest+"body: 64MiB\n")
	f.await("the larger limit", func() bool { s, err := f.Function("clouds"); return err == nil && s.Version == "v2" })
	if status, body, _ := f.do("POST", "/in/large", strings.Repeat("x", int(f.Conn().MaxPayload()))); status != 413 {
		t.Errorf("too large: %d %s", status, body)
	}
	// A route whose events nothing takes stores none, and sends none either.
	f.write("clouds/function.yaml", strings.ReplaceAll(cloudsManifest, `"cloud.{kind}"`, `"nobody.{kind}"`))
	heard := received(t, f, "nobody.*")
	f.await("a route to nowhere", func() bool { status, _, _ := f.do("POST", "/in/x", "x"); return status == 503 })
	status, body, _ = f.do("POST", "/in/x", "x")
	if status != 503 || !strings.Contains(body, `no stream takes \"nobody.x\"`) || len(heard()) != 0 {
		t.Errorf("%d %s, %d heard", status, body, len(heard()))
	}
}

// A route of events is served where no worker of its function ever was, or could be.
func TestARouteOfEventsNeedsNoWorker(t *testing.T) {
	f := start(t, map[string]string{
		"broken/f.go": "package broken\n\nfunc Handle() string { return 1 }\n", "broken/function.yaml": "triggers:\n  http:\n    - {path: /b, event: cloud.b}\n",
		"clouds/f.go": clouds, "clouds/function.yaml": cloudsManifest,
	}, nil)
	f.awaitState("broken", host.Failed)
	f.awaitState("clouds", host.Ready)
	f.await("it is stored", func() bool { status, _, _ := f.do("POST", "/b", "x"); return status == 202 })
}
