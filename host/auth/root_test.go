package auth

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/functions/wire"
)

func TestTheTokenIsToldOnce(t *testing.T) {
	dir := t.TempDir()
	first, fresh, err := OpenRoot(dir)
	if err != nil || !strings.HasPrefix(fresh, "fnhost_") || len(fresh) < 30 {
		t.Fatalf("token %q, %v", fresh, err)
	}
	path := filepath.Join(dir, FileName)
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%s: %v, %v", path, info.Mode(), err)
	}
	if data, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(data), "sha256:") || strings.Contains(string(data), strings.TrimPrefix(fresh, "fnhost_")) {
		t.Errorf("the file holds %s, %v", data, err)
	}
	second, again, err := OpenRoot(dir)
	if err != nil || again != "" {
		t.Errorf("at the second start: %q, %v", again, err)
	}
	for _, token := range []*Root{first, second} {
		if !token.is(fresh) {
			t.Error("it is not the token")
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	third, other, err := OpenRoot(dir)
	if err != nil || other == "" || other == fresh {
		t.Errorf("after the file was removed: %q, %v", other, err)
	}
	if third.is(fresh) {
		t.Error("the old token is still one")
	}
}

func TestOpenErrors(t *testing.T) {
	for name, content := range map[string]string{
		"empty":        "",
		"the token":    "fnhost_AAAAAAAAAAAAAAAAAAAAAAAAAA\n",
		"too short":    "sha256:" + strings.Repeat("0", 62),
		"too long":     "sha256:" + strings.Repeat("0", 66),
		"no hex":       "sha256:" + strings.Repeat("x", 64),
		"another hash": "sha512:" + strings.Repeat("0", 64),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, FileName)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			token, fresh, err := OpenRoot(dir)
			if token != nil || fresh != "" || err == nil || !strings.Contains(err.Error(), path+" is damaged: remove it") {
				t.Errorf("%v, %q, %v", token, fresh, err)
			}
			if data, err := os.ReadFile(path); err != nil || string(data) != content {
				t.Errorf("the file was changed to %q, %v", data, err)
			}
		})
	}
	if _, _, err := OpenRoot(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, FileName), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenRoot(dir); err == nil {
		t.Error("a directory was taken for the token")
	}
}

func TestATokenMayStandInACookie(t *testing.T) {
	r := request("")
	r.AddCookie(&http.Cookie{Name: CookieName, Value: "T"})
	if token, cookie := Given(r); token != "T" || !cookie {
		t.Errorf("%q, %v", token, cookie)
	}
	r.Header.Set("Authorization", "Bearer U")
	if token, cookie := Given(r); token != "U" || cookie {
		t.Errorf("beside a header: %q, %v", token, cookie)
	}
}

// request returns one with an Authorization header, "" for none.
func request(authorization string) *http.Request {
	r := &http.Request{Header: make(http.Header)}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

func basic(user, password string) *http.Request {
	r := request("")
	r.SetBasicAuth(user, password)
	return r
}

func TestTheRootTokenInARequest(t *testing.T) {
	root, secret, err := OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(t.Context(), Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	tests := []struct {
		name    string
		request *http.Request
		want    string // in the error, "" for none
	}{
		{"bearer", request("Bearer " + secret), ""},
		{"scheme in lower case", request("bearer " + secret), ""},
		{"basic", basic("git", secret), ""},
		{"basic without a user", basic("", secret), ""},
		{"none", request(""), "wants to know who asks"},
		{"an empty one", request("Bearer "), "wants to know who asks"},
		{"an empty password", basic("git", ""), "wants to know who asks"},
		{"as the user", basic(secret, ""), "wants to know who asks"},
		{"another scheme", request("Digest " + secret), "wants to know who asks"},
		{"no scheme", request(secret), "wants to know who asks"},
		{"damaged basic", request("Basic !"), "wants to know who asks"},
		{"wrong", request("Bearer fnhost_AAAAAAAAAAAAAAAAAAAAAAAAAA"), "wrong token"},
		{"wrong password", basic("git", "wrong"), "none of this host"},
		{"part of it", request("Bearer " + secret[:len(secret)-1]), "wrong token"},
		{"more than it", request("Bearer " + secret + "x"), "wrong token"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			token, _ := Given(test.request)
			_, err := a.Verify(t.Context(), token)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (!errors.Is(err, &wire.Error{Code: wire.Unauthorized}) || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want %q", err, test.want)
			case err != nil && strings.Contains(err.Error(), secret):
				t.Error("the error tells the token")
			}
		})
	}
}
