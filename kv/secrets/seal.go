package secrets

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

var (
	// ErrDamaged is wrapped by the errors for a record that is not what was stored.
	ErrDamaged = errors.New("secrets: damaged")
	// ErrWrongKey is wrapped by the errors for what was sealed with a master key that
	// is not in the keyring.
	ErrWrongKey = errors.New("secrets: sealed with another master key")
)

// Sealed is a value that a master key opens: what [Keyring.Seal] returns. All of it may
// be stored in the clear.
type Sealed struct {
	Key   string `json:"key"`   // ID of the master key
	Wrap  []byte `json:"wrap"`  // the data key, sealed with it
	Value []byte `json:"value"` // sealed with the data key
}

// Purposes keep what was sealed for one from being opened as another.
const (
	forWrap  = "fnhost secret wrap 1"
	forValue = "fnhost secret value 1"
)

// Seal seals a value with a fresh data key. Both are bound to the place, which has to be
// the same when it is opened.
func (r *Keyring) Seal(value []byte, place ...string) Sealed {
	dataKey := make([]byte, keySize)
	defer clear(dataKey)
	rand.Read(dataKey) // it never fails
	k := r.Primary()
	return Sealed{Key: k.id, Wrap: k.wrap(dataKey, place), Value: seal(dataKey, value, bound(forValue, place...))}
}

// Open returns what was sealed. The error wraps [ErrWrongKey] or [ErrDamaged].
func (r *Keyring) Open(s Sealed, place ...string) ([]byte, error) {
	dataKey, err := r.unwrap(s, place)
	if err != nil {
		return nil, err
	}
	defer clear(dataKey)
	value, err := open(dataKey, s.Value, bound(forValue, place...))
	if err != nil {
		return nil, fmt.Errorf("%w: its value does not open", ErrDamaged)
	}
	return value, nil
}

// Rewrap returns the same value with its data key sealed by the primary key. The error
// wraps [ErrWrongKey] or [ErrDamaged].
func (r *Keyring) Rewrap(s Sealed, place ...string) (Sealed, error) {
	dataKey, err := r.unwrap(s, place)
	if err != nil {
		return s, err
	}
	defer clear(dataKey)
	k := r.Primary()
	return Sealed{Key: k.id, Wrap: k.wrap(dataKey, place), Value: s.Value}, nil
}

// wrap seals a data key.
func (k *Key) wrap(dataKey []byte, place []string) []byte {
	return seal(k.bits[:], dataKey, bound(forWrap, append([]string{k.id}, place...)...))
}

// unwrap opens a data key.
func (r *Keyring) unwrap(s Sealed, place []string) ([]byte, error) {
	k := r.find(s.Key)
	if k == nil {
		return nil, fmt.Errorf("%w: %.16q", ErrWrongKey, s.Key)
	}
	dataKey, err := open(k.bits[:], s.Wrap, bound(forWrap, append([]string{k.id}, place...)...))
	if err == nil && len(dataKey) != keySize {
		err = errors.New("its size")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: its data key does not open", ErrDamaged)
	}
	return dataKey, nil
}

// bound returns associated data: each part with its length, so that no two lists are
// the same.
func bound(purpose string, parts ...string) []byte {
	b := []byte(purpose)
	for _, part := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// seal returns a nonce and what was sealed with it.
func seal(key, plain, data []byte) []byte {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		panic(err) // the size of the key is wrong
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	rand.Read(nonce)
	return aead.Seal(nonce, nonce, plain, data)
}

func open(key, sealed, data []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("cut short")
	}
	return aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], data)
}
