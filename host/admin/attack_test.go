package admin

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/host/logs"
)

// known is a door through which everybody comes as ada.
type known struct{}

func (known) Enter(*http.Request, string, string) (string, error) { return "ada", nil }

// steered keeps by whom deploys and releases are said to be.
type steered struct {
	echo
	by *[]string
}

func (s steered) Deploy(_ context.Context, req DeployRequest, _ io.Reader, yield func(DeployEvent) error) error {
	*s.by = append(*s.by, req.By)
	return yield(DeployEvent{Result: []Deployed{{Function: "hello", Version: "v1"}}})
}

func (s steered) Release(_ context.Context, _ string, req ReleaseRequest) (Release, error) {
	*s.by = append(*s.by, req.By)
	return Release{}, nil
}

func TestNobodyDeploysInTheNameOfSomebodyElse(t *testing.T) {
	for _, test := range []struct {
		door Door
		want string
	}{{known{}, "ada"}, {nil, "root"}} {
		by := []string{}
		s := NewServer(steered{echo{hub: logs.NewHub(0)}, &by}, Options{Door: test.door, Logger: slog.New(slog.DiscardHandler)})
		defer s.Close()
		for _, request := range [][3]string{
			{"PUT", "/v1/deploys/0123456789abcdef?by=root", ""},
			{"POST", "/v1/functions/hello/release", `{"rollback":"previous","by":"root"}`},
		} {
			r := httptest.NewRequest(request[0], request[1], strings.NewReader(request[2]))
			r.Header.Set("Content-Type", bundleType)
			w := httptest.NewRecorder()
			if s.ServeHTTP(w, r); w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", request[1], w.Code, w.Body)
			}
		}
		if len(by) != 2 || by[0] != test.want || by[1] != test.want {
			t.Errorf("by %q, want %s", by, test.want)
		}
	}
}
