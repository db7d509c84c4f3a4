package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// FileName is the name of the file in the data directory that keeps the token, as
// its SHA-256. To get a new token remove the file and start the host again.
const FileName = "admin.token"

// prefix begins all tokens, so that one is known for what it is wherever it turns up.
const prefix = "fnhost_"

// Root is the token of who may do all, as its hash. It is safe for concurrent use.
type Root struct{ sum [sha256.Size]byte }

// OpenRoot reads the token's hash from the data directory dir. If there is none, it
// makes a token of 130 random bits, keeps its hash, and returns the token itself
// as fresh: nothing else ever knows it. It returns an error for a file that cannot
// be read or written, or is damaged.
func OpenRoot(dir string) (t *Root, fresh string, err error) {
	path := filepath.Join(dir, FileName)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		fresh = prefix + rand.Text()
		t = &Root{sum: sha256.Sum256([]byte(fresh))}
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
	return &Root{sum: [sha256.Size]byte(sum)}, "", nil
}

// keep writes the hash to path, whole or not at all.
func (t *Root) keep(path string) error {
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

// is reports whether it is this token, in the same time for all wrong ones.
func (t *Root) is(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1
}
