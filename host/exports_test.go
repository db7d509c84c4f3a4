package host_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
)

// Of what is exported a function, an endpoint or a subject is had elsewhere, also after a
// restart, and nothing else is.
func TestExportsBetweenNamespaces(t *testing.T) {
	f := server(t)
	acme, globex := f.make("acme", host.Limits{}), f.make("globex", host.Limits{})
	call := func(ns *host.Namespace, target string) (string, error) {
		t.Helper()
		err := ns.Handle("caller", func(ctx context.Context) (said string, err error) {
			err = functions.Call(ctx, target, map[string]string{"As": "!"}, &said)
			return said, err
		})
		if err != nil {
			t.Fatal(err)
		}
		b, err := ns.Invoke(t.Context(), "caller", nil)
		return string(b), err
	}
	named(t, acme)
	if _, err := call(globex, "@acme/who"); !errors.Is(err, functions.ErrForbidden) {
		t.Errorf("what is not exported: %v", err)
	}
	if _, err := call(globex, "@nobody/who"); !errors.Is(err, functions.ErrForbidden) {
		t.Errorf("of nobody: %v", err)
	}
	function := host.Export{From: "acme", To: "globex", Function: "who"}
	subject := host.Export{From: "acme", To: "globex", Subject: "news.>"}
	for _, e := range []host.Export{function, subject, function} { // twice is as once
		if err := f.Export(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if list := f.Exports(); len(list) != 2 {
		t.Errorf("%v", list)
	}
	for _, test := range []struct {
		e    host.Export
		want error
	}{
		{host.Export{From: "acme", To: "acme", Function: "who"}, functions.ErrBadRequest},
		{host.Export{From: "acme", To: "globex"}, functions.ErrBadRequest},
		{host.Export{From: "acme", To: "globex", Function: "who", Subject: "a"}, functions.ErrBadRequest},
		{host.Export{From: "acme", To: "globex", Function: "a.b"}, functions.ErrBadRequest},
		{host.Export{From: "acme", To: "nobody", Function: "who"}, functions.ErrNotFound},
		{host.Export{From: "acme", To: "globex", Subject: ">"}, &functions.Error{Code: functions.Unprocessed}},
		{host.Export{From: "globex", To: "acme", Subject: "news.a"}, &functions.Error{Code: functions.Unprocessed}},
	} {
		if err := f.Export(t.Context(), test.e); !errors.Is(err, test.want) {
			t.Errorf("%v: %v, want %v", test.e, err, test.want)
		}
	}
	for range 2 {
		if said, err := call(globex, "@acme/who"); err != nil || said != "acme!" {
			t.Errorf("%s, %v", said, err)
		}
		if _, err := call(f.first(), "@acme/who"); !errors.Is(err, functions.ErrForbidden) {
			t.Errorf("from a namespace that it is not exported to: %v", err)
		}
		f.reaches(acme, globex, "news.one", true)
		f.reaches(globex, acme, "news.one", false)
		f.reaches(acme, globex, "other", false)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		f.open(serves)
		var err1, err2 error
		acme, err1 = f.Namespace("acme")
		globex, err2 = f.Namespace("globex")
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		named(t, acme)
	}
	for _, e := range []host.Export{function, subject} {
		if err := f.Unexport(t.Context(), e); err != nil {
			t.Error(err)
		}
		if err := f.Unexport(t.Context(), e); !errors.Is(err, functions.ErrNotFound) {
			t.Error(err)
		}
	}
	if _, err := call(globex, "@acme/who"); !errors.Is(err, functions.ErrForbidden) {
		t.Errorf("after its end: %v", err)
	}
	f.reaches(acme, globex, "news.one", false)
	for _, e := range []host.Export{function, {From: "globex", To: "acme", Function: "caller"}} {
		if err := f.Export(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.RemoveNamespace(t.Context(), "acme", true); err != nil {
		t.Fatal(err)
	}
	if list := f.Exports(); len(list) != 0 {
		t.Errorf("exports of what was removed: %v", list)
	}
	named(t, f.make("acme", host.Limits{}))
	if _, err := call(globex, "@acme/who"); !errors.Is(err, functions.ErrForbidden) {
		t.Errorf("of the next one of that name: %v", err)
	}
}

func (f *fixture) first() *host.Namespace {
	ns, err := f.Namespace("")
	if err != nil {
		f.t.Fatal(err)
	}
	return ns
}

// reaches checks whether what is published in one namespace is had in another one.
func (f *fixture) reaches(from, to *host.Namespace, subject string, want bool) {
	f.t.Helper()
	sub, err := to.Conn().SubscribeSync(subject)
	if err != nil {
		f.t.Fatal(err)
	}
	defer sub.Unsubscribe()
	if err := to.Conn().Flush(); err != nil {
		f.t.Fatal(err)
	}
	if err := from.Conn().Publish(subject, []byte("hi")); err != nil {
		f.t.Fatal(err)
	}
	limit := 10 * time.Second
	if !want { // what comes does so with the answer of the server
		if err := errors.Join(from.Conn().Flush(), to.Conn().Flush()); err != nil {
			f.t.Fatal(err)
		}
		limit = time.Millisecond
	}
	if _, err := sub.NextMsg(limit); (err == nil) != want || err != nil && !errors.Is(err, nats.ErrTimeout) {
		f.t.Errorf("%s from %s to %s: %v", subject, from.Name(), to.Name(), err)
	}
}
