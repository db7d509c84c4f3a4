package host_test

import (
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const bookedSource = `package booked

import (
	"context"
	"time"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, id string) (string, error) {
	time.Sleep(5 * time.Millisecond)
	return "booked " + id, functions.Publish(ctx, "seen", id)
}
`

// submit sends numbered calls until there are so many, or the host is killed, and
// keeps those that it has accepted.
func (k *killable) submit(accepted *[]string, most int) {
	for i := len(*accepted); i < most; i++ {
		id := fmt.Sprint("call-", i)
		req, err := http.NewRequest("POST", "http://"+k.http+"/booked", strings.NewReader(id))
		if err != nil {
			k.t.Fatal(err)
		}
		req.Header.Set("Prefer", "respond-async")
		if i%2 == 0 {
			req.Header.Set("X-Call-Id", id) // the others are given one, which goes with the answer
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return
		}
		resp.Body.Close()
		if resp.StatusCode != 202 {
			return
		}
		*accepted = append(*accepted, resp.Header.Get("Location"))
	}
}

func TestAHostKilledDuringAsynchronousCallsLosesNone(t *testing.T) {
	const calls, kills = 600, 4
	k := &killable{t: t, dir: benchDir(t, map[string]string{"booked/booked.go": bookedSource, "booked/function.yaml": "async: {retries: 1000, backoff: 10ms, backoffMax: 100ms}\n", "echo/echo.go": echoSource})}
	makeStreams(t, filepath.Join(k.dir, "data"), "work", 2*time.Minute)
	t.Cleanup(func() { k.kill(); http.DefaultClient.CloseIdleConnections() })
	k.start()
	var accepted []string
	k.submit(&accepted, 1) // waits for the first build
	for i := range kills {
		timer := time.AfterFunc(time.Duration(100+mathrand.IntN(400))*time.Millisecond, func() { k.cmd.Process.Kill() })
		k.submit(&accepted, calls*(i+1)/(kills+1))
		timer.Stop()
		k.kill()
		k.start()
	}
	k.submit(&accepted, calls)
	k.kill()
	k.start()
	lost := 0
	for _, location := range accepted {
		if status := k.awaitRun(location); status != 200 {
			lost++
			t.Errorf("%s: status %d", location, status)
		}
	}
	counts, _, _ := k.observed()
	again := 0
	for _, n := range counts {
		again += n - 1
	}
	t.Logf("%d calls accepted, %d kills: %d lost, %d handled more than once", len(accepted), kills+1, lost, again)
	if len(accepted) < calls || len(counts) < calls {
		t.Errorf("%d calls were accepted, and %d handled", len(accepted), len(counts))
	}
}

// awaitRun returns the status of a run when it has ended.
func (k *killable) awaitRun(location string) (status int) {
	for deadline := time.Now().Add(time.Minute); ; {
		resp, err := http.Get("http://" + k.http + location + "?wait=10s")
		if err != nil {
			k.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 202 || time.Now().After(deadline) {
			return resp.StatusCode
		}
	}
}
