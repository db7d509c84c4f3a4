package host_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/kv"
)

// tenant is a function that tells all that it can reach, and notes the events it gets.
const tenant = `package tenant

import (
	"context"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context) (string, error) {
	c, err := functions.Config(ctx)
	if err != nil {
		return "", err
	}
	secret, err := functions.Secret(ctx, "key")
	if err != nil {
		return "", err
	}
	e, err := functions.KV(ctx, "state").Get(ctx, "who")
	if err != nil {
		return "", err
	}
	functions.Log(ctx).Info("told")
	return c.String("region", "none") + " " + secret[:3] + " " + string(e.Value), nil
}

func HandleEvent(ctx context.Context, e functions.Event) error {
	_, err := functions.KV(ctx, "state").Add(ctx, "events", 1)
	return err
}
`

const tenantManifest = "triggers:\n  event:\n    - subject: news.*\n      endpoint: event\n      start: all\n"

// settle gives a namespace a function, and data of its own.
func settle(t *testing.T, ns *host.Namespace) {
	t.Helper()
	name := ns.Name()
	if _, err := ns.SetConfig(t.Context(), host.ConfigLayer{}, "ada", "region", "of-"+name); err != nil {
		t.Fatal(err)
	}
	if _, err := ns.SetSecret(t.Context(), "key", []byte(name+"-secret"), "ada"); err != nil {
		t.Fatal(err)
	}
	b, err := ns.Bucket(t.Context(), "state")
	if err == nil {
		_, err = b.Put(t.Context(), "who", []byte("bucket of "+name))
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := tree(t, map[string]string{"tenant/tenant.go": tenant, "tenant/function.yaml": tenantManifest})
	if _, err := ns.Deploy(t.Context(), dir, host.DeployOptions{}); err != nil {
		t.Fatal(err)
	}
}

// tells checks that the function of a namespace has what is that one's alone.
func tells(t *testing.T, ns *host.Namespace) {
	t.Helper()
	name := ns.Name()
	want := fmt.Sprintf("of-%s %s bucket of %s", name, name[:3], name)
	if got, err := ns.Invoke(t.Context(), "tenant", nil); err != nil || string(got) != want {
		t.Errorf("%s says %s, %v; want %s", name, got, err, want)
	}
	m, err := ns.Conn().Request("fn.tenant", nil, 10*time.Second)
	if err != nil || string(m.Data) != want {
		t.Errorf("over NATS %s says %v, %v; want %s", name, m, err, want)
	}
}

func counted(t *testing.T, ns *host.Namespace) string {
	t.Helper()
	b, err := ns.Bucket(t.Context(), "state")
	if err != nil {
		t.Fatal(err)
	}
	e, err := b.Get(t.Context(), "events")
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		t.Fatal(err)
	}
	return string(e.Value)
}

func (f *fixture) make(name string, l host.Limits) *host.Namespace {
	f.t.Helper()
	ns, err := f.CreateNamespace(f.t.Context(), name, l)
	if err != nil {
		f.t.Fatal(err)
	}
	return ns
}

func TestNamespacesShareNothing(t *testing.T) {
	f := server(t)
	acme, globex := f.make("acme", host.Limits{}), f.make("globex", host.Limits{})
	first, err := f.Namespace("")
	if err != nil {
		t.Fatal(err)
	}
	all := []*host.Namespace{first, acme, globex}
	for _, ns := range all {
		settle(t, ns)
	}
	for _, ns := range all {
		tells(t, ns)
	}
	if _, err := acme.Publish(t.Context(), &nats.Msg{Subject: "news.one", Data: []byte("hi")}); err != nil {
		t.Fatal(err)
	}
	f.await("the event of acme", func() bool { return counted(t, acme) == "1" })
	if g, d := counted(t, globex), counted(t, first); g != "" || d != "" {
		t.Errorf("an event of acme was seen elsewhere: %q, %q", g, d)
	}
	for _, ns := range all {
		n := 0
		f.Logs().Read(t.Context(), logs.Query{Namespace: ns.Name(), Function: "tenant"}, func(r logs.Record) error {
			if r.Message == "told" {
				n++
			}
			return nil
		})
		if n != 2 {
			t.Errorf("%s has %d records of its two invocations", ns.Name(), n)
		}
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	f.open(serves)
	for _, name := range []string{"default", "acme", "globex"} {
		ns, err := f.Namespace(name)
		if err != nil {
			t.Fatal(err)
		}
		tells(t, ns)
	}
	if done, err := f.RotateMasterKey(t.Context()); err != nil || done.Rewrapped != 3 {
		t.Errorf("%+v, %v", done, err)
	}
	for _, name := range []string{"acme", "globex"} {
		ns, err := f.Namespace(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ns.SetSecret(t.Context(), "key", []byte(name+"-other"), "ada"); err != nil {
			t.Error(err)
		}
		tells(t, ns)
	}
}

func TestARemovedNamespaceLeavesNothing(t *testing.T) {
	f := server(t)
	acme := f.make("acme", host.Limits{})
	settle(t, acme)
	f.make("globex", host.Limits{})
	before := f.stored(t)
	if err := f.RemoveNamespace(t.Context(), "acme", false); !errors.Is(err, functions.ErrConflict) || !strings.Contains(err.Error(), "tenant") {
		t.Errorf("a namespace with functions: %v", err)
	}
	if err := f.RemoveNamespace(t.Context(), "acme", true); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Namespace("acme"); !errors.Is(err, host.ErrNoNamespace) || !errors.Is(err, functions.ErrNotFound) {
		t.Errorf("it is there: %v", err)
	}
	if _, err := acme.Invoke(t.Context(), "tenant", nil); !errors.Is(err, host.ErrClosed) {
		t.Errorf("it runs: %v", err)
	}
	for _, subject := range f.stored(t) {
		if strings.Contains(subject, "acme") {
			t.Errorf("%s is still there, of %v", subject, before)
		}
	}
	for _, dir := range []string{"jetstream/acme", "namespaces/acme"} {
		if _, err := os.Stat(filepath.Join(f.data, dir)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	acme = f.make("acme", host.Limits{})
	if list := acme.Functions(); len(list) != 0 {
		t.Errorf("the next one has %v", list)
	}
	if list, err := acme.Secrets(); err != nil || len(list) != 0 {
		t.Errorf("the next one has secrets: %v, %v", list, err)
	}
	if c, err := acme.Config(t.Context(), host.ConfigLayer{}); err != nil || len(c.Values) != 0 {
		t.Errorf("the next one has configuration: %v, %v", c, err)
	}
	js, err := jetstream.New(acme.Conn())
	if err != nil {
		t.Fatal(err)
	}
	names := js.StreamNames(t.Context())
	for name := range names.Name() {
		t.Errorf("the next one has the stream %s", name)
	}
	settle(t, acme)
	tells(t, acme)
}

// stored lists the subjects of all that the host keeps for itself.
func (f *fixture) stored(t *testing.T) (list []string) {
	t.Helper()
	js, err := jetstream.New(f.Bus().Control())
	if err != nil {
		t.Fatal(err)
	}
	streams := js.ListStreams(t.Context())
	for s := range streams.Info() {
		stream, err := js.Stream(t.Context(), s.Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(">"))
		if err != nil {
			t.Fatal(err)
		}
		for subject := range info.State.Subjects {
			if strings.HasPrefix(subject, "$KV.namespaces.") {
				if m, err := stream.GetLastMsgForSubject(t.Context(), subject); err == nil && len(m.Data) == 0 {
					continue // the sign that it was removed
				}
			}
			list = append(list, subject)
		}
	}
	return list
}

func TestNamesOfNamespaces(t *testing.T) {
	f := server(t)
	f.make("acme", host.Limits{})
	for _, test := range []struct {
		name string
		want error
	}{
		{"", functions.ErrBadRequest}, {"default", functions.ErrBadRequest}, {"fnhost", functions.ErrBadRequest}, {"Acme", functions.ErrBadRequest},
		{"a.b", functions.ErrBadRequest}, {"a*", functions.ErrBadRequest}, {"1a", functions.ErrBadRequest}, {strings.Repeat("a", 33), functions.ErrBadRequest},
		{"../x", functions.ErrBadRequest}, {"acme", functions.ErrConflict},
	} {
		if _, err := f.CreateNamespace(t.Context(), test.name, host.Limits{}); !errors.Is(err, test.want) {
			t.Errorf("%q: %v", test.name, err)
		}
	}
	if _, err := f.Namespace("acm"); !errors.Is(err, host.ErrNoNamespace) || !strings.Contains(err.Error(), `"acme"`) {
		t.Errorf("%v does not name the nearest", err)
	}
	if err := f.RemoveNamespace(t.Context(), "globex", true); !errors.Is(err, host.ErrNoNamespace) {
		t.Error(err)
	}
	if err := f.RemoveNamespace(t.Context(), "default", true); !errors.Is(err, functions.ErrBadRequest) {
		t.Error(err)
	}
	if err := f.SetLimits(t.Context(), "globex", host.Limits{}); !errors.Is(err, host.ErrNoNamespace) {
		t.Error(err)
	}
	list := f.Namespaces()
	if len(list) != 2 || list[0].Name != "acme" || list[0].Created == nil || list[1].Name != "default" {
		t.Errorf("%+v", list)
	}
}

func TestLimitsOfANamespace(t *testing.T) {
	f := server(t)
	acme := f.make("acme", host.Limits{Functions: 1, Storage: 1 << 20})
	if _, err := f.CreateNamespace(t.Context(), "globex", host.Limits{Memory: 1 << 60}); !errors.Is(err, &functions.Error{Code: functions.Unprocessed}) {
		t.Errorf("more than there is: %v", err)
	}
	if _, err := f.Namespace("globex"); !errors.Is(err, host.ErrNoNamespace) {
		f.await("globex is gone", func() bool { _, err := f.Namespace("globex"); return errors.Is(err, host.ErrNoNamespace) })
	}
	settle(t, acme)
	dir := tree(t, map[string]string{"other/other.go": constant("other", "hi")})
	if _, err := acme.Deploy(t.Context(), dir, host.DeployOptions{}); !errors.Is(err, &functions.Error{Code: functions.TooMany}) {
		t.Errorf("a second function: %v", err)
	}
	if list := acme.Functions(); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	settle(t, acme) // the one that it has may be deployed again
	b, err := acme.Bucket(t.Context(), "state")
	if err != nil {
		t.Fatal(err)
	}
	fill := func() (err error) {
		for i := 0; i < 40 && err == nil; i++ {
			_, err = b.Put(t.Context(), fmt.Sprint("fill", i), make([]byte, 64<<10))
		}
		return err
	}
	if err := fill(); err == nil {
		t.Error("more was stored than the limit")
	}
	if err := f.SetLimits(t.Context(), "acme", host.Limits{Functions: 2, Storage: 8 << 20, Requests: 3}); err != nil {
		t.Fatal(err)
	}
	if err := fill(); err != nil {
		t.Errorf("after the limit was raised: %v", err)
	}
	if _, err := acme.Deploy(t.Context(), dir, host.DeployOptions{}); err != nil {
		t.Error(err)
	}
	refused := 0
	for range 200 {
		if status, body, _ := f.do("GET", "/other", "", "X-Fn-Namespace", "acme"); status == 429 {
			refused++
		} else if status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	if refused == 0 {
		t.Error("no request was one too many")
	}
	if _, err := acme.Invoke(t.Context(), "other", nil); err != nil {
		t.Errorf("the program's own: %v", err)
	}
}

func TestANamespaceThatWasBeingRemovedGoesAtTheNextStart(t *testing.T) {
	f := server(t)
	settle(t, f.make("acme", host.Limits{}))
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	b, err := bus.Start(bus.Config{StoreDir: f.data, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(b.Control())
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.KeyValue(t.Context(), "namespaces")
	if err == nil {
		_, err = bucket.PutString(t.Context(), "acme", `{"created":"2026-01-02T15:04:05Z","limits":{},"removing":true}`)
	}
	if err = errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	f.open(serves)
	f.await("it is gone", func() bool { _, err := f.Namespace("acme"); return errors.Is(err, host.ErrNoNamespace) })
	for _, subject := range f.stored(t) {
		if strings.Contains(subject, "acme") {
			t.Errorf("%s is still there", subject)
		}
	}
	settle(t, f.make("acme", host.Limits{}))
}
