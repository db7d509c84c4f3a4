package runs

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/trigger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) *Store {
	t.Helper()
	b, err := bus.Start(bus.Config{StoreDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	s, err := New(Config{Conn: b.Conn(), Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestTheLatestStateWins(t *testing.T) {
	s := open(t)
	if _, err := s.Get(t.Context(), "*", "a"); !errors.Is(err, &wire.Error{Code: wire.NotFound}) {
		t.Errorf("before there is any: %v", err)
	}
	run := &trigger.Run{ID: "a", Function: "shop", State: trigger.RunRunning, Trigger: trigger.Async, Error: "two\nlines: ü"}
	if err := s.Put(t.Context(), run, 0); err != nil {
		t.Fatal(err)
	}
	other := *run
	run.State, run.Header, run.Output, run.Data = trigger.RunDone, wire.Header(nil).Add("Content-Type", "text/plain"), []byte("out"), []byte("in")
	if err := s.Put(t.Context(), run, time.Hour); err != nil {
		t.Fatal(err)
	}
	other.State = trigger.RunCanceled
	if err := s.Put(t.Context(), &other, time.Hour); !errors.Is(err, &wire.Error{Code: wire.Conflict}) {
		t.Errorf("of an old revision: %v", err)
	}
	for _, function := range []string{"shop", "*"} {
		got, err := s.Get(t.Context(), function, "a")
		if err != nil || got.State != trigger.RunDone || string(got.Output) != "out" || string(got.Data) != "in" ||
			got.Header.Get("Content-Type") != "text/plain" || got.Error != run.Error || got.Revision != run.Revision {
			t.Errorf("%+v %v", got, err)
		}
	}
	if _, err := s.Get(t.Context(), "other", "a"); !errors.Is(err, &wire.Error{Code: wire.NotFound}) {
		t.Errorf("of another function: %v", err)
	}
}

func TestALongInputGivesWayToALongAnswer(t *testing.T) {
	s := open(t)
	run := &trigger.Run{ID: "a", Function: "shop", State: trigger.RunFailed, Output: make([]byte, 1<<20), Data: make([]byte, 8<<20-1000)}
	if err := s.Put(t.Context(), run, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "shop", "a"); err != nil || len(got.Output) != 1<<20 || got.Data != nil {
		t.Errorf("%d bytes of output, %d of input, %v", len(got.Output), len(got.Data), err)
	}
}

func TestAttemptsAtEventsAreKeptToANumber(t *testing.T) {
	s := open(t)
	const more = 50
	for i := range PerFunc + more {
		s.Record(&trigger.Run{Function: "shop", Trigger: trigger.Event, State: trigger.RunFailed, Started: time.Unix(int64(i), 0), Attempts: i})
	}
	s.Record(&trigger.Run{Function: "other", Trigger: trigger.Event, State: trigger.RunDone, Started: time.Unix(5000, 0)})
	var list []*trigger.Run
	for deadline := time.Now().Add(20 * time.Second); len(list) == 0; time.Sleep(5 * time.Millisecond) {
		var err error
		if list, err = s.List(t.Context(), Query{Function: "other", Limit: 10}); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("they are not stored")
		}
	}
	list, err := s.List(t.Context(), Query{Function: "shop", Limit: 5000})
	if err != nil || len(list) != PerFunc || list[0].Attempts != PerFunc+more-1 || list[PerFunc-1].Attempts != more {
		t.Fatalf("%d are kept, %v", len(list), err)
	}
	if list, err = s.List(t.Context(), Query{Limit: 3}); err != nil || len(list) != 3 || list[0].Function != "other" {
		t.Errorf("of all functions: %+v %v", list, err)
	}
	if list, err = s.List(t.Context(), Query{State: trigger.RunDone, Limit: 3}); err != nil || len(list) != 1 {
		t.Errorf("of one state: %+v %v", list, err)
	}
	run, err := s.Event(t.Context(), list[0].ID)
	if err != nil || run.Function != "other" || run.ID != fmt.Sprint(EventID, PerFunc+more+1) {
		t.Errorf("%+v %v", run, err)
	}
	for _, id := range []string{"@0", "@1", "@x", "@", "@99999"} {
		if _, err := s.Event(t.Context(), id); !errors.Is(err, &wire.Error{Code: wire.NotFound}) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestSuccessesAreRecordedToARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{}
		count := func(function string) (n int) {
			for range 1000 {
				if s.Wants(function) {
					n++
				}
			}
			return n
		}
		if n := count("shop"); n != Successes {
			t.Errorf("%d at once", n)
		}
		if n := count("other"); n != Successes {
			t.Errorf("%d of another function", n)
		}
		time.Sleep(time.Second / 2)
		if n := count("shop"); n != Successes/2 {
			t.Errorf("%d after half a second", n)
		}
	})
}

func TestTheKeyOfCallbacksStays(t *testing.T) {
	dir := t.TempDir()
	first, err := loadSecret(dir)
	if err != nil || len(first) < 52 {
		t.Fatalf("%q %v", first, err)
	}
	if again, err := loadSecret(dir); err != nil || again != first {
		t.Errorf("then %q %v", again, err)
	}
	if got, want := Sign("key", time.Unix(1700000000, 0), http.Header{}, []byte("body")), "t=1700000000,v1="; !strings.HasPrefix(got, want) || len(got) != len(want)+64 {
		t.Errorf("signature %s", got)
	}
}
