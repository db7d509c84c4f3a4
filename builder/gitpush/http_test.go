package gitpush

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// do sends a request, and returns the answer with its body.
func (r *remote) do(method, path, contentType string, body io.Reader, header ...string) (*http.Response, string) {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	if contentType != "" {
		q.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Errorf("body of %s %s: %v", method, path, err)
	}
	return response, string(text)
}

const pushType = "application/x-git-receive-pack-request"

func TestRequests(t *testing.T) {
	r := serve(t, Config{})
	tests := []struct {
		method, path, contentType string
		status                    int
		text                      string
	}{
		{"GET", "hello.git/info/refs?service=git-receive-pack", "", 200, "001f# service=git-receive-pack\n0000"},
		{"GET", "hello/info/refs?service=git-receive-pack", "", 200, "001f# service=git-receive-pack\n0000"},
		{"GET", "hello.git/info/refs?service=git-upload-pack", "", 404, "nothing was pushed to hello yet"},
		{"GET", "hello.git/info/refs?service=git-shell", "", 403, "service must be"},
		{"GET", "hello.git/info/refs", "", 403, "smart HTTP"},
		{"GET", "hello.git/HEAD", "", 404, "this is a git remote"},
		{"GET", "", "", 404, "this is a git remote"},
		{"POST", "hello.git/git-upload-pack", "application/x-git-upload-pack-request", 404, "nothing was pushed to hello yet"},
		{"POST", "hello.git/git-receive-pack", "text/plain", 415, "Content-Type must be " + pushType},
		{"POST", "hello.git/git-receive-pack", "", 415, "Content-Type must be"},
		{"GET", "Hello.git/info/refs?service=git-receive-pack", "", 400, "function name must"},
		{"GET", "v1.git/info/refs?service=git-receive-pack", "", 400, "function name must"},
		{"GET", "a.b.git/info/refs?service=git-receive-pack", "", 400, "function name must"},
		{"GET", ".git/info/refs?service=git-receive-pack", "", 400, "function name must"},
		{"GET", "..%2F..%2Fetc/info/refs?service=git-receive-pack", "", 400, "function name must"},
		{"POST", "%2e%2e%2fx.git/git-receive-pack", pushType, 400, "function name must"},
		{"POST", "a%00b.git/git-receive-pack", pushType, 400, "function name must"},
		{"POST", "-x.git/git-receive-pack", pushType, 400, "function name must"},
		{"POST", strings.Repeat("a", 200) + ".git/git-receive-pack", pushType, 400, "function name must"},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			response, text := r.do(test.method, test.path, test.contentType, strings.NewReader("0000"))
			if response.StatusCode != test.status || !strings.HasPrefix(text, test.text) && !strings.Contains(text, test.text) {
				t.Errorf("status %d, want %d; %q, want %q", response.StatusCode, test.status, text, test.text)
			}
			want := "text/plain; charset=utf-8"
			if test.status == 200 {
				want = "application/x-git-receive-pack-advertisement"
			}
			if got := response.Header.Get("Content-Type"); got != want {
				t.Errorf("Content-Type %q, want %q", got, want)
			}
			if got := response.Header.Get("Cache-Control"); !strings.Contains(got, "no-cache") {
				t.Errorf("Cache-Control %q", got)
			}
		})
	}
	if list, err := os.ReadDir(r.repos.dir); err != nil || len(list) > 0 {
		t.Errorf("repositories %v, %v", list, err)
	}
}

// compress makes the bodies of all pushes gzip on their way to the server.
func compress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == "POST" {
			all, err := io.ReadAll(q.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			var b bytes.Buffer
			zip := gzip.NewWriter(&b)
			zip.Write(all)
			zip.Close()
			q.Header.Set("Content-Encoding", "gzip")
			q.Body, q.ContentLength = io.NopCloser(&b), int64(b.Len())
		}
		next.ServeHTTP(w, q)
	})
}

func TestCompressedBodies(t *testing.T) {
	r := serve(t, Config{}, compress)
	c := newClone(t, r.url+"hello.git")
	c.commit("f", noise(2<<20), "one")
	c.git("push", "fnhost", "main")
	newClone(t, r.url+"hello").git("pull", "-q", "fnhost", "main")
	if len(r.deployed()) != 1 {
		t.Errorf("%d deploys", len(r.deployed()))
	}
}

func TestBadEncodings(t *testing.T) {
	r := serve(t, Config{MaxPush: 1 << 20})
	for encoding, status := range map[string]int{"gzip": 400, "br": 415} {
		response, text := r.do("POST", "hello.git/git-receive-pack", pushType, strings.NewReader("0000"), "Content-Encoding", encoding)
		if response.StatusCode != status {
			t.Errorf("%s: status %d, want %d: %s", encoding, response.StatusCode, status, text)
		}
	}
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	fmt.Fprintf(zip, "00a4%040d %040d refs/heads/main\x00 report-status side-band-64k%s0000PACK", 0, 1, strings.Repeat(" ", 0xa4-4-41-41-16-27))
	zip.Write(make([]byte, 200<<20))
	zip.Close()
	_, text := r.do("POST", "hello.git/git-receive-pack", pushType, &bomb, "Content-Encoding", "gzip")
	if strings.Contains(text, "unpack ok") || len(r.deployed()) > 0 || len(r.objects("hello")) > 0 {
		t.Errorf("%d deploys, objects %q, answer %q", len(r.deployed()), r.objects("hello"), text)
	}
}

// The caller's authentication comes before all of this.
func TestBehindBasicAuth(t *testing.T) {
	r := serve(t, Config{User: func(q *http.Request) string {
		user, _, _ := q.BasicAuth()
		return user
	}}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if _, password, _ := q.BasicAuth(); password != "secret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="fnhost"`)
				http.Error(w, "a token is needed", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, q)
		})
	})
	c := newClone(t, r.url+"hello.git")
	c.commit("f", noise(2<<20), "one")
	c.fails([]string{"push", "fnhost", "main"}, "could not read Username") // git asks for it
	c.git("push", strings.Replace(r.url, "http://", "http://ada:secret@", 1)+"hello.git", "main")
	if p, _ := r.last(); p.User != "ada" {
		t.Errorf("user %q", p.User)
	}
}

func TestProtocols(t *testing.T) {
	r := serve(t, Config{})
	c := newClone(t, r.url+"hello.git")
	c.commit("f", "1", "one")
	for _, version := range []string{"0", "1", "2"} {
		c.commit("f", version, version)
		c.git("-c", "protocol.version="+version, "push", "fnhost", "main")
		back := newClone(t, r.url+"hello")
		back.git("-c", "protocol.version="+version, "pull", "-q", "fnhost", "main")
		if got, want := back.git("rev-parse", "HEAD"), c.git("rev-parse", "HEAD"); got != want {
			t.Errorf("version %s: pulled %s, want %s", version, got, want)
		}
	}
	for header, want := range map[string]string{"": "", "version=2": "GIT_PROTOCOL=version=2", "x:version=1:y": "GIT_PROTOCOL=version=1", "version=9": "", "version=2\nX=y": ""} {
		q := &http.Request{Header: http.Header{"Git-Protocol": {header}}}
		if got := strings.Join(protocol(q), " "); got != want {
			t.Errorf("Git-Protocol %q: %q, want %q", header, got, want)
		}
	}
}

func TestWithoutGit(t *testing.T) {
	r := serve(t, Config{})
	t.Setenv("PATH", t.TempDir())
	response, text := r.do("GET", "hello.git/info/refs?service=git-receive-pack", "", nil)
	if response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, ErrNoGit.Error()) {
		t.Errorf("status %d: %s", response.StatusCode, text)
	}
	response, text = r.do("POST", "hello.git/git-receive-pack", pushType, strings.NewReader("0000"))
	if response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, ErrNoGit.Error()) {
		t.Errorf("status %d: %s", response.StatusCode, text)
	}
}

func TestWithoutTheHookNothingIsPushed(t *testing.T) {
	r := serve(t, Config{})
	if err := os.Remove(r.hook()); err != nil {
		t.Fatal(err)
	}
	c := newClone(t, r.url+"hello.git")
	c.commit("f", "1", "one")
	c.fails([]string{"push", "fnhost", "main"}, "remote: the host's program was removed while it runs: start the host again, then push")
	response, _ := r.do("POST", "hello.git/git-receive-pack", pushType, strings.NewReader("0000"))
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status %d", response.StatusCode)
	}
}

func TestAWrappedResponseWriterMustUnwrap(t *testing.T) {
	r := serve(t, Config{}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { next.ServeHTTP(struct{ http.ResponseWriter }{w}, q) })
	})
	response, _ := r.do("POST", "hello.git/git-receive-pack", pushType, strings.NewReader("0000"))
	if response.StatusCode != http.StatusInternalServerError {
		t.Errorf("status %d", response.StatusCode)
	}
	wantAll(t, r.log.String(), "give it an Unwrap method")
}

// The host's user may have hooks and settings that run programs.
func TestSettingsOfTheHostDoNotMatter(t *testing.T) {
	home := t.TempDir()
	ran := filepath.Join(home, "ran")
	hook := "#!/bin/sh\ntouch " + ran + "\nexit 1\n"
	for name, content := range map[string]string{
		"hooks/pre-receive": hook, "hooks/post-receive": hook, "hooks/update": hook, "hooks/reference-transaction": hook,
		".gitconfig": "[core]\n\thooksPath = " + home + "/hooks\n\tfsmonitor = touch " + ran + "\n[init]\n\ttemplateDir = " + home + "\n[receive]\n\tdenyNonFastForwards = true\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(home, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", home)
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(home, ".gitconfig"))
	t.Setenv("GIT_DIR", home)
	t.Setenv("GIT_TRACE", ran)
	r := serve(t, Config{})
	c := newClone(t, r.url+"hello.git")
	c.commit("f", "1", "one")
	c.git("push", "fnhost", "main")
	if _, err := os.Stat(ran); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("settings of the user had an effect: %v", err)
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	deploy := serve(t, Config{}).cfg.Deploy
	for _, test := range []struct {
		config Config
		want   string
	}{{Config{Dir: file}, "Config.Deploy is missing"}, {Config{Deploy: deploy}, "Config.Dir is missing"}, {Config{Deploy: deploy, Dir: file}, "not a directory"}} {
		if _, err := New(test.config); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want %q", err, test.want)
		}
	}
}

func TestLongAndOddDirectories(t *testing.T) {
	base := t.TempDir()
	real := filepath.Join(base, `a:b "c" \d`, strings.Repeat("long", 30))
	if err := os.MkdirAll(real, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	r := serve(t, Config{Dir: filepath.Join(link, "git")})
	c := newClone(t, r.url+"hello.git")
	c.commit("f", "1", "one")
	c.git("push", "fnhost", "main")
	c.commit("g", "2", "two")
	c.git("push", "fnhost", "main")
	if _, tree := r.last(); tree != "644 f: 1\n644 g: 2\n" {
		t.Errorf("tree %s", tree)
	}
	if info, err := os.Stat(filepath.Join(real, "git")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
