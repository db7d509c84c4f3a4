package host_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/builder/bundle"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
)

// remote is a host that wants its token, and a client that has it.
type remote struct {
	*fixture
	client *admin.Client
	token  string
}

func startRemote(t *testing.T) *remote {
	t.Helper()
	f := start(t, nil, func(c *host.Config) {
		c.Watch, c.Admin, c.Auth, c.GitPush = nil, "127.0.0.1:0", true, true
		c.Public = true
	})
	r := &remote{fixture: f, token: f.FreshToken()}
	var err error
	if r.client, err = admin.NewClient(f.Info().Admin, admin.ClientOptions{Token: r.token}); err != nil {
		t.Fatal(err)
	}
	return r
}

// packed returns the bundle of a source tree.
func packed(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := bundle.Pack(t.Context(), tree(t, files), &b, bundle.Limits{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func hello(text string) map[string]string {
	return map[string]string{"hello/hello.go": constant("hello", text)}
}

// slowStart is a function whose workers take long to start.
func slowStart(text string) map[string]string {
	source := constant("hello", text) + "\nfunc init() { time.Sleep(3 * time.Second) }\n"
	return map[string]string{"hello/hello.go": strings.Replace(source, "package hello", "package hello\n\nimport \"time\"", 1)}
}

// nothingLeft checks that no source of a deploy lies in the data directory.
func (r *remote) nothingLeft() {
	r.t.Helper()
	var left []string
	r.await("deploys clean up", func() bool {
		var err error
		if left, err = filepath.Glob(filepath.Join(r.data, "run", "deploy-*")); err != nil {
			r.t.Fatal(err)
		}
		return len(left) == 0
	})
}

func TestOneIDIsOneDeploy(t *testing.T) {
	r := startRemote(t)
	body := packed(t, hello("one"))
	req := admin.DeployRequest{ID: rand.Text(), By: "me", Message: "the first"}
	var wg sync.WaitGroup
	var mu sync.Mutex
	streams := make(map[string]int)
	deploy := func() {
		var seen strings.Builder
		list, err := r.client.Deploy(t.Context(), req, bytes.NewReader(body), func(e admin.DeployEvent) { io.WriteString(&seen, e.Time.String()+e.Step+" ") })
		if err != nil || len(list) != 1 || list[0].Version != "v1" || list[0].Unchanged {
			t.Errorf("%+v, %v", list, err)
		}
		mu.Lock()
		defer mu.Unlock()
		streams[seen.String()]++
	}
	for range 4 {
		wg.Go(deploy)
	}
	wg.Wait()
	deploy()
	var seen strings.Builder
	list, err := r.client.FollowDeploy(t.Context(), req.ID, func(e admin.DeployEvent) { io.WriteString(&seen, e.Time.String()+e.Step+" ") })
	if err != nil || len(list) != 1 || list[0].Version != "v1" {
		t.Errorf("FollowDeploy = %+v, %v", list, err)
	}
	if len(streams) != 1 || streams[seen.String()] != 5 || !strings.Contains(seen.String(), admin.StepRelease) {
		t.Errorf("events differ: %v", streams)
	}
	versions, err := r.client.Versions(t.Context(), "hello")
	if err != nil || len(versions) != 1 || versions[0].Source.Author != "root" || versions[0].Source.Message != "the first" || versions[0].Weight != 100 {
		t.Errorf("versions %+v, %v", versions, err)
	}
	deploys, err := r.client.Deploys(t.Context())
	if err != nil || len(deploys) != 1 || deploys[0].ID != req.ID || deploys[0].Ended == nil || deploys[0].Error != "" || !slices.Equal(deploys[0].Functions, []string{"hello"}) {
		t.Errorf("deploys %+v, %v", deploys, err)
	}
	v, err := r.client.Version(t.Context(), "hello", "v1")
	if err != nil || !strings.Contains(v.Log, "hello build") {
		t.Errorf("the log of v1: %q, %v", v.Log, err)
	}
	r.nothingLeft()
}

// archive makes a bundle by hand.
func archive(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 1<<20 {
			break // what it says is enough
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHostileBundles(t *testing.T) {
	r := startRemote(t)
	good := packed(t, hello("one"))
	file := func(name string, size int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644}
	}
	const bundleType = "application/vnd.fnhost.bundle"
	tests := []struct {
		name, contentType string
		body              []byte
		status            int
		code, detail      string
	}{
		{"traversal", bundleType, archive(t, file("../../../escaped.go", 1)), 400, "bad_request", "escaped.go"},
		{"absolute", bundleType, archive(t, file("/tmp/escaped.go", 1)), 400, "bad_request", "escaped.go"},
		{"link out", bundleType, archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "hello", Linkname: "/etc"}), 400, "bad_request", "hello"},
		{"device", bundleType, archive(t, tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}), 400, "bad_request", "null"},
		{"bomb", bundleType, archive(t, file("a/a.go", 1), file("a/zeros", 1<<30)), 413, "too_large", "zeros"},
		{"truncated", bundleType, good[:len(good)-20], 400, "bad_request", "ends early"},
		{"flipped", bundleType, append(bytes.Clone(good[:len(good)-6]), "xxxxxx"...), 400, "bad_request", "damaged"},
		{"no archive", bundleType, []byte("this is no archive, nor will it be one"), 400, "bad_request", "not a bundle"},
		{"empty", bundleType, nil, 400, "bad_request", "ends early"},
		{"content type", "application/json", good, 400, "bad_request", bundleType},
		{"no content type", "", good, 400, "bad_request", bundleType},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			id := rand.Text()
			status, p := r.put(t, id, test.contentType, test.body)
			if status != test.status || p.Status != status || p.Code != test.code || !strings.Contains(p.Detail, test.detail) || strings.Contains(p.Detail, r.data) {
				t.Errorf("%d %+v, want %d %s with %q", status, p, test.status, test.code, test.detail)
			}
			r.nothingLeft()
			if _, err := r.client.FollowDeploy(t.Context(), id, func(admin.DeployEvent) {}); !errors.Is(err, &wire.Error{Code: wire.NotFound}) {
				t.Errorf("it is known as a deploy: %v", err)
			}
		})
	}
	if list, err := r.client.Functions(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("functions %+v, %v", list, err)
	}
	// An ID whose source did not arrive can be tried again.
	id := rand.Text()
	if status, _ := r.put(t, id, bundleType, good[:100]); status != 400 {
		t.Errorf("status %d", status)
	}
	if _, err := r.client.Deploy(t.Context(), admin.DeployRequest{ID: id}, bytes.NewReader(good), func(admin.DeployEvent) {}); err != nil {
		t.Errorf("tried again: %v", err)
	}
}

// put sends the request of a deploy, and returns the problem that it is answered with.
func (r *remote) put(t *testing.T, id, contentType string, body []byte) (int, admin.Problem) {
	t.Helper()
	resp := r.request(t, http.MethodPut, "/v1/deploys/"+id, "Bearer "+r.token, contentType, bytes.NewReader(body))
	defer resp.Body.Close()
	var p admin.Problem
	if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("%s of type %q", resp.Status, ct)
		return resp.StatusCode, p
	}
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		t.Error(err)
	}
	return resp.StatusCode, p
}

func (r *remote) request(t *testing.T, method, path, authorization, contentType string, body io.Reader) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.client.URL()+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestADeployGoesOnWithoutItsClient(t *testing.T) {
	r := startRemote(t)
	ctx, leave := context.WithCancel(t.Context())
	id := rand.Text()
	_, err := r.client.Deploy(ctx, admin.DeployRequest{ID: id}, bytes.NewReader(packed(t, hello("one"))), func(admin.DeployEvent) { leave() })
	if err == nil {
		t.Error("the client did not leave")
	}
	list, err := r.client.FollowDeploy(t.Context(), id, func(admin.DeployEvent) {})
	if err != nil || len(list) != 1 || list[0].Release != "v1" {
		t.Errorf("the deploy has ended with %+v, %v", list, err)
	}
	r.answers("", "one")
	r.nothingLeft()
}

func TestAClientThatGoesAwayWhileItSends(t *testing.T) {
	r := startRemote(t)
	id := rand.Text()
	body := packed(t, hello("one"))
	reader, writer := io.Pipe()
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		writer.Write(body[:len(body)/2])
		leave()
		writer.CloseWithError(context.Canceled) // the client waits for who reads its source
	}()
	if _, err := r.client.Deploy(ctx, admin.DeployRequest{ID: id}, reader, func(admin.DeployEvent) {}); err == nil {
		t.Error("half a source was deployed")
	}
	r.nothingLeft()
	if _, err := r.client.Deploy(t.Context(), admin.DeployRequest{ID: id}, bytes.NewReader(body), func(admin.DeployEvent) {}); err != nil {
		t.Errorf("sent again: %v", err)
	}
	r.answers("", "one")
}

func TestCancelDeploy(t *testing.T) {
	r := startRemote(t)
	if _, err := r.client.Deploy(t.Context(), admin.DeployRequest{ID: rand.Text()}, bytes.NewReader(packed(t, hello("one"))), func(admin.DeployEvent) {}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{admin.StepBuild, admin.StepStart} {
		id := rand.Text()
		begin := time.Now()
		_, err := r.client.Deploy(t.Context(), admin.DeployRequest{ID: id}, bytes.NewReader(packed(t, slowStart("two"+step))), func(e admin.DeployEvent) {
			if e.Step == step && !e.Done {
				if err := r.client.CancelDeploy(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
		})
		if !errors.Is(err, &wire.Error{Code: wire.Canceled}) || !strings.Contains(err.Error(), "what serves is as it was") {
			t.Errorf("canceled in %s: %v", step, err)
		}
		if took := time.Since(begin); took > 2500*time.Millisecond && step == admin.StepStart {
			t.Errorf("it took %v", took)
		}
		if err := r.client.CancelDeploy(t.Context(), id); !errors.Is(err, &wire.Error{Code: wire.Conflict}) {
			t.Errorf("canceled again: %v", err)
		}
		r.nothingLeft()
		r.answers("", "one")
		if list, err := r.client.Versions(t.Context(), "hello"); err != nil || len(list) != 1 {
			t.Errorf("%d versions, %v", len(list), err)
		}
	}
	// Of a function that was not there nothing stays.
	id := rand.Text()
	body := packed(t, map[string]string{"other/hello.go": slowStart("x")["hello/hello.go"]})
	if _, err := r.client.Deploy(t.Context(), admin.DeployRequest{ID: id}, bytes.NewReader(body), func(e admin.DeployEvent) {
		if e.Step == admin.StepStart {
			r.client.CancelDeploy(t.Context(), id)
		}
	}); !errors.Is(err, &wire.Error{Code: wire.Canceled}) {
		t.Errorf("a new function: %v", err)
	}
	if _, err := r.client.Function(t.Context(), "other"); !errors.Is(err, &wire.Error{Code: wire.NoFunction}) {
		t.Errorf("a function that was never released: %v", err)
	}
}

func TestDeployRequests(t *testing.T) {
	r := startRemote(t)
	body := packed(t, hello("one"))
	ignore := func(admin.DeployEvent) {}
	for name, test := range map[string]struct {
		req  admin.DeployRequest
		code wire.Code
	}{
		"a short ID":          {admin.DeployRequest{ID: "short"}, wire.BadRequest},
		"a long ID":           {admin.DeployRequest{ID: strings.Repeat("x", 65)}, wire.BadRequest},
		"a canary of 100":     {admin.DeployRequest{ID: rand.Text(), Canary: 100}, wire.BadRequest},
		"a canary below 0":    {admin.DeployRequest{ID: rand.Text(), Canary: -1}, wire.BadRequest},
		"unreleased canary":   {admin.DeployRequest{ID: rand.Text(), Canary: 10, NoRelease: true}, wire.BadRequest},
		"a folder outside":    {admin.DeployRequest{ID: rand.Text(), Dir: "../.."}, wire.BadRequest},
		"a folder of nothing": {admin.DeployRequest{ID: rand.Text(), Dir: "missing"}, wire.Unprocessed},
		"a name":              {admin.DeployRequest{ID: rand.Text(), Dir: "hello", Name: "../x"}, wire.BadRequest},
	} {
		if _, err := r.client.Deploy(t.Context(), test.req, bytes.NewReader(body), ignore); !errors.Is(err, &wire.Error{Code: test.code}) {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
	}
	var p *admin.Problem
	_, err := r.client.Deploy(t.Context(), admin.DeployRequest{ID: rand.Text()}, bytes.NewReader(packed(t, map[string]string{"hello/hello.go": "package hello\n\nfunc Handle() string { return 1 }\n"})), ignore)
	if !errors.As(err, &p) || p.Status != 422 || len(p.Diagnostics) != 1 || p.Diagnostics[0].File != "hello/hello.go" || p.Diagnostics[0].Line != 3 {
		t.Errorf("a source that does not compile: %+v, %v", p, err)
	}
	if _, err := r.client.FollowDeploy(t.Context(), "unknown-id", ignore); !errors.Is(err, &wire.Error{Code: wire.NotFound}) || !strings.Contains(err.Error(), "unknown-id") {
		t.Errorf("an unknown ID: %v", err)
	}
	if err := r.client.CancelDeploy(t.Context(), "unknown-id"); !errors.Is(err, &wire.Error{Code: wire.NotFound}) {
		t.Errorf("an unknown ID: %v", err)
	}
	r.nothingLeft()
	if list, err := r.client.Functions(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("functions %+v, %v", list, err)
	}
}

func TestEveryPathWantsTheToken(t *testing.T) {
	r := startRemote(t)
	paths := []string{
		"GET /v1/info", "GET /v1/functions", "GET /v1/functions/hello", "POST /v1/invoke/hello", "GET /v1/logs", "GET /v1/schemas/function.json",
		"GET /v1/status", "PUT /v1/deploys/abcdefgh", "GET /v1/deploys", "GET /v1/deploys/abcdefgh", "DELETE /v1/deploys/abcdefgh",
		"GET /v1/functions/hello/versions", "GET /v1/functions/hello/versions/v1", "POST /v1/functions/hello/release", "DELETE /v1/functions/hello",
		"GET /git/hello/info/refs?service=git-receive-pack", "POST /git/hello/git-receive-pack", "GET /", "GET /v1/unknown", "GET /healthz/x", "GET /v1/../v1/info",
	}
	for _, path := range paths {
		method, path, _ := strings.Cut(path, " ")
		for _, authorization := range []string{"", "Bearer wrong", "Bearer", "Basic eDp3cm9uZw==", r.token} {
			resp := r.request(t, method, path, authorization, "", nil)
			challenge := "Bearer"
			if strings.HasPrefix(path, "/git/") {
				challenge = "Basic"
			}
			if resp.StatusCode != 401 || resp.Header.Get("Content-Type") != "application/problem+json" || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), challenge) {
				t.Errorf("%s %s with %q: %s, %v", method, path, authorization, resp.Status, resp.Header)
			}
			resp.Body.Close()
		}
		resp := r.request(t, method, path, "Bearer "+r.token, "", nil)
		if resp.StatusCode == 401 {
			t.Errorf("%s %s with the token: %s", method, path, resp.Status)
		}
		resp.Body.Close()
	}
	for _, path := range []string{"/healthz", "/v1/openapi.json"} {
		resp := r.request(t, http.MethodGet, path, "", "", nil)
		if resp.StatusCode != 200 {
			t.Errorf("%s: %s", path, resp.Status)
		}
		resp.Body.Close()
	}
	wrong, err := admin.NewClient(r.client.URL(), admin.ClientOptions{Token: "fnhost_wrong"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Info(t.Context()); !errors.Is(err, &wire.Error{Code: wire.Unauthorized}) {
		t.Errorf("a client with a wrong token: %v", err)
	}
}
