// Package auth says who may steer a host. So far that is whoever has its token.
package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/fnhost/fnhost/functions/wire"
)

// FileName is the name of the file in the data directory that keeps the token, as
// its SHA-256. To get a new token remove the file and start the host again.
const FileName = "admin.token"

// prefix begins all tokens, so that one is known for what it is wherever it turns up.
const prefix = "fnhost_"

// Token checks requests for the token of a host. It is safe for concurrent use.
type Token struct{ sum [sha256.Size]byte }

// Open reads the token's hash from the data directory dir. If there is none, it
// makes a token of 130 random bits, keeps its hash, and returns the token itself
// as fresh: nothing else ever knows it. It returns an error for a file that cannot
// be read or written, or is damaged.
func Open(dir string) (t *Token, fresh string, err error) {
	path := filepath.Join(dir, FileName)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		fresh = prefix + rand.Text()
		t = &Token{sum: sha256.Sum256([]byte(fresh))}
		if err := t.keep(path); err != nil {
			return nil, "", fmt.Errorf("auth: %w", err)
		}
		return t, fresh, nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("auth: %w", err)
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(data)), "sha256:")
	sum, err := hex.DecodeString(text)
	if !ok || err != nil || len(sum) != sha256.Size {
		return nil, "", fmt.Errorf("auth: %s is damaged: remove it to get a new token", path)
	}
	return &Token{sum: [sha256.Size]byte(sum)}, "", nil
}

// keep writes the hash to path, whole or not at all.
func (t *Token) keep(path string) error {
	tmp := path + ".new"
	err := os.WriteFile(tmp, []byte("sha256:"+hex.EncodeToString(t.sum[:])+"\n"), 0o600)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// Check returns an *[wire.Error] of code Unauthorized for a request without the
// token, as a bearer (RFC 6750) or as the password of basic authentication, which
// is what git sends. It takes the same time for all wrong tokens.
func (t *Token) Check(r *http.Request) error {
	given := ""
	if scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		given = rest
	} else if _, password, ok := r.BasicAuth(); ok {
		given = password
	}
	if given == "" {
		return wire.Errorf(wire.Unauthorized, "this host wants its token: `fnhost server add` keeps it, FNHOST_TOKEN gives it; the host printed it at its first start")
	}
	sum := sha256.Sum256([]byte(given))
	if subtle.ConstantTimeCompare(sum[:], t.sum[:]) != 1 {
		return wire.Errorf(wire.Unauthorized, "wrong token: the host printed the right one at its first start, and `fnhost server add` keeps it; for a new one remove %s from its data directory, and start it again", FileName)
	}
	return nil
}
