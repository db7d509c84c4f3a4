package host_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
)

func TestAHostWithoutGoServesWhatWasBuilt(t *testing.T) {
	f := start(t, map[string]string{"f/f.go": constant("f", t.Name())}, nil)
	f.do("GET", "/f", "")
	f.deploy("deployed", host.DeployOptions{})
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	var log buffer
	f.open(func(c *host.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	if _, body, _ := f.do("GET", "/f", ""); body != t.Name() {
		t.Errorf("body = %q", body)
	}
	f.answers("", "deployed")
	f.deploy("deployed", host.DeployOptions{})
	fresh := time.Now().String()
	f.write("g/g.go", constant("g", fresh))
	f.awaitState("g", host.Failed)
	if e, _ := f.event("g", host.Failed); !errors.Is(e.Err, builder.ErrNoGo) {
		t.Errorf("error = %v", e.Err)
	}
	_, err := f.Deploy(t.Context(), tree(t, map[string]string{"g.go": constant("g", fresh)}), host.DeployOptions{Name: "other"})
	if !errors.Is(err, functions.ErrUnavailable) || !strings.Contains(err.Error(), "no go command") {
		t.Errorf("Deploy: %v", err)
	}
	if n := strings.Count(log.String(), "no go command"); n != 1 {
		t.Errorf("the warning came %d times:\n%s", n, log.String())
	}
}
