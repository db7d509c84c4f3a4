package host

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fnhost/fnhost/kv/secrets"
)

// storeKeyFile is the key of an encrypted store, sealed with the master key. It lies in the
// data directory of a host whose store is encrypted, and of no other. So the master
// key can change, while the store keeps its own.
const storeKeyFile = "store.key"

const storePlace = "store" // what the key is bound to

// openStoreKey returns the key of the store, "" if it is not encrypted. The NATS server
// cannot tell that it has the wrong one: it leaves out what it cannot read, and would make
// streams anew over it. And it encrypts a store that was not only in place, where a kill
// in the middle loses what it was at.
func (h *Host) openStoreKey() (string, error) {
	path := filepath.Join(h.cfg.Dir, storeKeyFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !h.cfg.EncryptStore:
		return "", nil
	case errors.Is(err, fs.ErrNotExist):
		return h.newStoreKey(path)
	case err != nil:
		return "", fmt.Errorf("host: data directory: %w", err)
	case !h.cfg.EncryptStore:
		return "", fmt.Errorf("host: the store of %s is encrypted: start with --encrypt-store; nothing was changed", h.cfg.Dir)
	}
	var sealed secrets.Sealed
	if err := json.Unmarshal(data, &sealed); err != nil {
		return "", fmt.Errorf("host: %s is damaged, and without it the store cannot be read: put it back from a backup", path)
	}
	key, err := h.master.ring.Open(sealed, storePlace)
	if errors.Is(err, secrets.ErrWrongKey) {
		return "", fmt.Errorf("host: %w: the encrypted store of %s needs the master key %.16q, and %s; nothing was changed",
			secrets.ErrWrongKey, h.cfg.Dir, sealed.Key, h.master.source.Wanted(h.master.ring))
	}
	if err != nil {
		return "", fmt.Errorf("host: %s: %w, and without it the store cannot be read: put it back from a backup", path, err)
	}
	return string(key), nil
}

// newStoreKey makes the key of a store that is empty so far.
func (h *Host) newStoreKey(path string) (string, error) {
	if entries, err := os.ReadDir(filepath.Join(h.cfg.Dir, "jetstream")); err == nil && len(entries) > 0 {
		return "", fmt.Errorf("host: what %s stores was not encrypted from its first start on, and is not encrypted now: start without --encrypt-store, or with what `fnhost restore --encrypt-store` makes of a backup of it (or, if it was encrypted, put %s back); nothing was changed",
			h.cfg.Dir, storeKeyFile)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("host: data directory: %w", err)
	}
	k := &h.master
	ring, made, err := k.source.Make(h.ctx)
	if err != nil {
		return "", fmt.Errorf("host: %w", err)
	}
	if k.ring = ring; made {
		k.source.Tell(h.log, ring)
	}
	return makeStoreKey(path, ring)
}

// makeStoreKey makes a key, and keeps it, sealed, at path.
func makeStoreKey(path string, ring *secrets.Keyring) (string, error) {
	key := rand.Text() + rand.Text() // 260 bits
	return key, writeStoreKey(path, ring.Seal([]byte(key), storePlace))
}

func writeStoreKey(path string, sealed secrets.Sealed) error {
	data, err := json.Marshal(sealed)
	if err == nil {
		err = secrets.WriteFile(path, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("host: key of the store: %w", err)
	}
	return nil
}

// rewrapStoreKey seals the key of the store with another master key.
func (h *Namespace) rewrapStoreKey(ring *secrets.Keyring) error {
	if !h.cfg.EncryptStore {
		return nil
	}
	path := filepath.Join(h.cfg.Dir, storeKeyFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("host: key of the store: %w", err)
	}
	var sealed secrets.Sealed
	if err := json.Unmarshal(data, &sealed); err != nil {
		return fmt.Errorf("host: %s is damaged: put it back from a backup before anything else", path)
	}
	if sealed, err = ring.Rewrap(sealed, storePlace); err != nil {
		return fmt.Errorf("host: %s: %w", path, err)
	}
	return writeStoreKey(path, sealed)
}
