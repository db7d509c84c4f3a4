package host_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
)

func TestHandleReplacesAWatchedFunction(t *testing.T) {
	f := start(t, map[string]string{"taken/t.go": constant("taken", "watched")}, nil)
	f.awaitState("taken", host.Ready)
	if err := f.Handle("taken", func() string { return "own" }); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if out, err := f.Invoke(t.Context(), "taken", nil); err != nil || string(out) != "own" {
			t.Fatalf("%q %v", out, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	s, err := f.Function("taken")
	if err != nil || s.State != string(host.Ready) || s.Kind != "in process" {
		t.Errorf("%+v %v", s, err)
	}
	f.write("taken/t.go", constant("taken", "saved again"))
	if err := f.Handle("taken", func() string { return "own, too" }); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	if out, err := f.Invoke(t.Context(), "taken", nil); err != nil || string(out) != "own, too" {
		t.Errorf("%q %v", out, err)
	}
}

func TestHandleReplacesAFunctionThatIsBeingBuilt(t *testing.T) {
	f := start(t, map[string]string{"taken/t.go": constant("taken", time.Now().String())}, nil)
	answer := make(chan string, 1)
	go func() {
		out, err := f.Invoke(t.Context(), "taken", nil)
		if err != nil {
			out = []byte(err.Error())
		}
		answer <- string(out)
	}()
	time.Sleep(20 * time.Millisecond) // it waits for the build
	if err := f.Handle("taken", func() string { return "own" }); err != nil {
		t.Fatal(err)
	}
	if got := <-answer; got != "own" {
		t.Errorf("who waited got %s", got)
	}
}

func TestHandleConflictsWithADeployedFunction(t *testing.T) {
	f := server(t)
	f.deploy("deployed", host.DeployOptions{})
	err := f.Handle("hello", func() string { return "own" })
	if !errors.Is(err, functions.ErrConflict) || !strings.Contains(err.Error(), "deployed") {
		t.Errorf("Handle: %v", err)
	}
	f.answers("", "deployed")
}
