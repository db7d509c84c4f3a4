package auth

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

// keySet is the public half of the signing keys, the active one first. The other one, if
// there is one, signs nothing any more, but what it has signed is good until it expires.
type keySet struct {
	Issuer string      `json:"issuer"` // of the tokens, the same on all hosts
	Keys   []publicKey `json:"keys"`
}

type publicKey struct {
	ID      string            `json:"id"`
	Key     ed25519.PublicKey `json:"key"`
	Created time.Time         `json:"created"`
}

func (s *keySet) find(id string) ed25519.PublicKey {
	for _, k := range s.Keys {
		if k.ID == id && len(k.Key) == ed25519.PublicKeySize {
			return k.Key
		}
	}
	return nil
}

// signer is a key with its private half.
type signer struct {
	id     string
	issuer string
	key    ed25519.PrivateKey
}

// liveKeys is how many keys there are: the active one, and the one before it.
const liveKeys = 2

// KeyInfo says what is known of a signing key.
type KeyInfo struct {
	ID      string    `json:"id"`
	Active  bool      `json:"active"` // it signs; the others only verify
	Created time.Time `json:"created"`
}

// Keys returns the signing keys, the active one first; none before the first login.
func (a *Authority) Keys() []KeyInfo {
	a.mu.RLock()
	defer a.mu.RUnlock()
	list := make([]KeyInfo, 0, liveKeys)
	for i, k := range a.state.keys.Keys {
		list = append(list, KeyInfo{ID: k.ID, Active: i == 0, Created: k.Created})
	}
	return list
}

// RotateKeys makes a new signing key. What the one before has signed is good until it
// expires; the one before that verifies nothing any more, and so what it has signed is
// refused: rotating twice ends all access tokens, and no login.
func (a *Authority) RotateKeys(ctx context.Context) (KeyInfo, error) {
	if err := a.withoutBucket(); err != nil {
		return KeyInfo{}, err
	}
	k, err := a.newKey(ctx)
	if err != nil {
		return KeyInfo{}, err
	}
	err = kv.Retry(ctx, func() error { return a.addKey(ctx, k, true) })
	return KeyInfo{ID: k.ID, Active: true, Created: k.Created}, stored("the signing key", err)
}

func secretOf(id string) string { return "signing-" + id }

// newKey makes a key and keeps its private half, which nothing uses yet.
func (a *Authority) newKey(ctx context.Context) (publicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return publicKey{}, err
	}
	k := publicKey{ID: newID()[:16], Key: public, Created: now()}
	if err := a.cfg.Secrets.Set(ctx, secretOf(k.ID), private.Seed()); err != nil {
		return publicKey{}, wire.Errorf(wire.Unavailable, "the signing key cannot be kept: %v", err)
	}
	return k, nil
}

// addKey makes k the active key, if there is to be a new one or none is there yet.
func (a *Authority) addKey(ctx context.Context, k publicKey, anew bool) error {
	var set keySet
	e, err := a.bucket.Get(ctx, keysKey)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		set.Issuer = "fnhost:" + newID()
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(e.Value, &set); err != nil {
			return fmt.Errorf("the record of signing keys is damaged: %w", err)
		}
		if len(set.Keys) > 0 && !anew {
			return nil // somebody was quicker
		}
	}
	set.Keys = slices.Insert(set.Keys, 0, k)
	set.Keys = set.Keys[:min(len(set.Keys), liveKeys)]
	return a.write(ctx, keysKey, &set, kv.IfRevision(e.Revision))
}

// signing returns the active key, and makes the first one.
func (a *Authority) signing(ctx context.Context) (*signer, error) {
	a.mu.RLock()
	set, s := a.state.keys, a.signer
	a.mu.RUnlock()
	if len(set.Keys) == 0 {
		k, err := a.newKey(ctx)
		if err == nil {
			err = stored("the signing key", kv.Retry(ctx, func() error { return a.addKey(ctx, k, false) }))
		}
		if err != nil {
			return nil, err
		}
		a.mu.RLock()
		set = a.state.keys
		a.mu.RUnlock()
		if len(set.Keys) == 0 { // another host's, of which nothing was heard yet
			return nil, wire.Errorf(wire.Unavailable, "the signing key is being made: try again")
		}
	}
	if s != nil && s.id == set.Keys[0].ID {
		return s, nil
	}
	seed, err := a.cfg.Secrets.Get(ctx, secretOf(set.Keys[0].ID))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, wire.Errorf(wire.Unavailable, "the signing key cannot be read (%v): `fnhost keys rotate` makes a new one", err)
	}
	s = &signer{id: set.Keys[0].ID, issuer: set.Issuer, key: ed25519.NewKeyFromSeed(seed)}
	a.mu.Lock()
	a.signer = s
	a.mu.Unlock()
	return s, nil
}

// JWKS returns the public keys as a JWK set (RFC 7517, RFC 8037), for others who verify
// the tokens of this host.
func (a *Authority) JWKS() []byte {
	type jwk struct {
		KTY string `json:"kty"`
		CRV string `json:"crv"`
		X   string `json:"x"`
		KID string `json:"kid"`
		ALG string `json:"alg"`
		USE string `json:"use"`
	}
	list := make([]jwk, 0, liveKeys)
	a.mu.RLock()
	for _, k := range a.state.keys.Keys {
		list = append(list, jwk{"OKP", "Ed25519", base64.RawURLEncoding.EncodeToString(k.Key), k.ID, "EdDSA", "sig"})
	}
	a.mu.RUnlock()
	b, _ := json.Marshal(map[string]any{"keys": list})
	return b
}
