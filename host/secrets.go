package host

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/builder/nearest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
	"github.com/fnhost/fnhost/kv/secrets"
)

const (
	secretsBucket = "secrets"
	masterKeyFile = "master.key" // in the data directory
)

// masterKeys are those of a host, and where they come from.
type masterKeys struct {
	source *secrets.Source
	ring   *secrets.Keyring // as the host found it at its start, nil for none
}

// keeper is what a namespace has of secrets.
type keeper struct {
	store  *secrets.Store // nil if NATS has no JetStream
	none   error          // why
	giving sync.Mutex     // held while a function is given a secret that it was not given before
}

// openKeys reads the master keys.
func (h *Host) openKeys() (err error) {
	k := &h.master
	k.source = &secrets.Source{Text: h.cfg.MasterKey, File: h.cfg.MasterKeyFile, Command: h.cfg.MasterKeyCommand, Own: filepath.Join(h.cfg.Dir, masterKeyFile)}
	if k.ring, err = k.source.Load(h.ctx); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	return nil
}

// openSecrets opens the store of secrets. A host whose master key does not open what is
// there does not start.
func (h *Namespace) openSecrets() (err error) {
	k := &h.keeper
	ctx, cancel := context.WithTimeout(h.ctx, startTimeout)
	defer cancel()
	if h != h.first {
		if k.store, err = h.first.keeper.store.Namespace(ctx, h.name, h.log); err != nil {
			return fmt.Errorf("host: %w", err)
		}
		h.closers = append(h.closers, k.store.Close)
		return nil
	}
	b, err := h.controlBucket(ctx, jetkv.Config{Bucket: secretsBucket, Description: "secrets, sealed"})
	if err != nil {
		if h.cfg.NATSURL == "" {
			return fmt.Errorf("host: secrets: %w", err)
		}
		k.none = err
		h.log.Warn("there are no secrets here: " + err.Error())
		return nil
	}
	k.store, err = secrets.Open(ctx, secrets.Config{Bucket: b, Namespace: h.name, Keys: h.master.ring, Source: h.master.source, Rewrap: h.rewrapStoreKey, Logger: h.log})
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.closers = append(h.closers, k.store.Close)
	if h.cfg.EncryptStore {
		if err := k.store.Prepare(ctx); err != nil {
			return fmt.Errorf("host: secrets: %w", err)
		}
	}
	if h.cfg.MasterKey == "" && h.cfg.MasterKeyFile == "" && len(h.cfg.MasterKeyCommand) == 0 && len(h.master.ring.IDs()) > 1 {
		h.log.Warn("a change of the master key was broken off: `fnhost secret rotate` finishes it")
	}
	return nil
}

// controlBucket opens a bucket of the host's own, and makes it if need be.
func (h *Namespace) controlBucket(ctx context.Context, cfg jetkv.Config) (*jetkv.Bucket, error) {
	b, err := openControlBucket(ctx, h.bus, cfg.Bucket)
	if !errors.Is(err, kv.ErrNoBucket) {
		return b, err
	}
	js, err := jetstream.New(h.bus.Control())
	if err != nil {
		return nil, err
	}
	return jetkv.Create(ctx, js, cfg)
}

// openControlBucket returns kv.ErrNoBucket if there is none.
func openControlBucket(ctx context.Context, b *bus.Bus, name string) (*jetkv.Bucket, error) {
	js, err := jetstream.New(b.Control())
	if err != nil {
		return nil, err
	}
	return jetkv.Open(ctx, js, name)
}

// Secret says what is known of a version of a secret. It has nothing of its value.
type Secret = secrets.Info

// KeyRotation says what [Host.RotateMasterKey] has done.
type KeyRotation = secrets.Rotation

// SetSecret stores the next version of a secret, which functions get from then on, on
// other hosts of the same NATS server within moments. by says who does so. The name is
// as a key of package kv, of at most 200 bytes, the value has 1 byte to 64 KiB; the
// latest 10 versions are kept. The first secret of a host without a master key makes one, in the data
// directory, and says so in the log. The error is an *[functions.Error]: of code
// BadRequest for a name or value that is none, or too large, Conflict if what is stored is
// sealed with another master key, and Unavailable if it cannot be stored. There is no
// way to ask the host for the value: functions.Secret has it.
func (h *Namespace) SetSecret(ctx context.Context, name string, value []byte, by string) (Secret, error) {
	store, err := h.secretStore()
	if err == nil {
		err = unavailable(h.bus.StorageErr())
	}
	if err != nil {
		return Secret{}, err
	}
	ctx, stop := h.whileStoring(ctx)
	defer stop()
	info, err := store.Set(ctx, name, value, by)
	return info, h.explainEnd(ctx, secretError(err))
}

// Secrets returns the latest version of each secret, by name.
func (h *Namespace) Secrets() ([]Secret, error) {
	store, err := h.secretStore()
	if err != nil {
		return nil, err
	}
	return store.List(), nil
}

// SecretVersions returns the versions of a secret that are kept, the newest first. The
// error is of code NotFound if there is none of that name.
func (h *Namespace) SecretVersions(name string) ([]Secret, error) {
	store, err := h.secretStore()
	if err != nil {
		return nil, err
	}
	list, err := store.Versions(name)
	return list, missing(err, name, store.Names())
}

// RemoveSecret removes a secret with all its versions: functions do not get it any
// more. The error is of code NotFound if there is none of that name, and Unavailable.
func (h *Namespace) RemoveSecret(ctx context.Context, name string) error {
	store, err := h.secretStore()
	if err == nil {
		err = unavailable(h.bus.StorageErr())
	}
	if err != nil {
		return err
	}
	ctx, stop := h.whileStoring(ctx)
	defer stop()
	err = store.Remove(ctx, name)
	return h.explainEnd(ctx, secretError(missing(err, name, store.Names())))
}

// RotateMasterKey changes the master key while functions go on. If it is the host's own,
// a new one is made, all secrets are sealed with it, and the old one goes. If it comes
// from elsewhere (Config.MasterKeyFile, MasterKeyCommand), it is read again, and all is
// sealed with the first of the keys there; the old ones can go then. What was broken
// off, also by a kill, the next call finishes. The error is of code Conflict if there is
// no new key, with what to do, if the keys do not open what is stored, or while a backup
// is being made, which one key is to open.
func (h *Host) RotateMasterKey(ctx context.Context) (KeyRotation, error) {
	store, err := h.secretStore()
	if err == nil {
		err = unavailable(h.bus.StorageErr())
	}
	if err != nil {
		return KeyRotation{}, err
	}
	if !h.backingUp.TryRLock() {
		return KeyRotation{}, wire.Errorf(wire.Conflict, "a backup of this host is being made, which needs the master key as it is: wait for its end, and try again; nothing was changed")
	}
	defer h.backingUp.RUnlock()
	ctx, stop := h.whileStoring(ctx)
	defer stop()
	done, err := store.Rotate(ctx)
	if err == nil {
		h.log.Info("the master key was rotated", "key", done.Key, "rewrapped", done.Rewrapped)
	}
	return done, h.explainEnd(ctx, secretError(err))
}

func (h *Namespace) secretStore() (*secrets.Store, error) {
	if h.keeper.store == nil {
		return nil, wire.Errorf(wire.Unavailable, "there are no secrets on this host: %v", h.keeper.none)
	}
	return h.keeper.store, nil
}

// missing makes an error of code NotFound of one that says so, with the nearest of the
// names that may be told.
func missing(err error, name string, names []string) error {
	if !errors.Is(err, secrets.ErrNotFound) {
		return err
	}
	return wire.Errorf(wire.NotFound, "there is no secret %q%s", name, nearest.DidYouMean(name, names))
}

// secretError gives an error its code.
func secretError(err error) error {
	var e *wire.Error
	code := wire.Unavailable
	switch {
	case err == nil, errors.As(err, &e), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, kv.ErrInvalidKey), errors.Is(err, secrets.ErrValue), errors.Is(err, secrets.ErrKey):
		code = wire.BadRequest
	case errors.Is(err, secrets.ErrWrongKey), errors.Is(err, secrets.ErrNothingToRotate):
		code = wire.Conflict
	case errors.Is(err, secrets.ErrDamaged):
		code = wire.Internal
	}
	return wire.Errorf(code, "%v", err)
}

// callSecret gives a secret to a function, if its manifest lets it.
func (h *Namespace) callSecret(ctx context.Context, f *function, m *manifest.Manifest, req *wire.Request) (*wire.Response, error) {
	name := req.Header.Get(wire.KeyTarget)
	may := func(name string) bool { return m.Access == nil || matchesAny(m.Access.Secrets, name) }
	if !may(name) {
		return nil, wire.Errorf(wire.Forbidden, "function %q may not read the secret %q: add it to access.secrets in its %s", f.name, name, manifest.FileName)
	}
	store, err := h.secretStore()
	if err != nil {
		return nil, err
	}
	value, info, err := store.Get(ctx, name)
	if err != nil {
		var names []string
		if errors.Is(err, secrets.ErrNotFound) {
			for _, one := range store.Names() {
				if may(one) {
					names = append(names, one)
				}
			}
		}
		err = missing(err, name, names)
		if errors.Is(err, &wire.Error{Code: wire.NotFound}) {
			err = fmt.Errorf("%w: `fnhost secret set %s` makes one", err, name)
		}
		return nil, secretError(err)
	}
	f.gives(name, value)
	return &wire.Response{Header: wire.Header(nil).AddInt(wire.KeyRevision, int64(info.Version)), Payload: value}, nil
}
