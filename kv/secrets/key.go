package secrets

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// ErrKey is wrapped by the errors for a text that is no master key, or none that is
// whole. They never hold the text.
var ErrKey = errors.New("not a master key")

const (
	keyPrefix = "fnmaster_" // so that one is known for what it is wherever it turns up
	keySize   = chacha20poly1305.KeySize
	sumSize   = 4
	maxKeys   = 16
	maxText   = 16 << 10 // bytes of a source
)

var keyText = base64.RawURLEncoding.Strict()

// Key is a master key of 256 bits. It prints as its ID; [Key.Text] is the key itself.
type Key struct {
	bits [keySize]byte
	id   string
}

// NewKey makes a key.
func NewKey() Key {
	var bits [keySize]byte
	rand.Read(bits[:]) // it never fails
	return newKey(bits)
}

func newKey(bits [keySize]byte) Key {
	sum := sha256.Sum256(append([]byte("fnhost master key id\x00"), bits[:]...))
	return Key{bits: bits, id: hex.EncodeToString(sum[:8])}
}

// ID names the key in records, and tells nothing of it.
func (k Key) ID() string { return k.id }

// String returns "key ID".
func (k Key) String() string { return "key " + k.id }

// Format prints what String returns, whatever the verb.
func (k Key) Format(s fmt.State, _ rune) { io.WriteString(s, k.String()) }

// Text returns the key as text, with a prefix and a checksum.
func (k Key) Text() string {
	return keyPrefix + keyText.EncodeToString(append(k.bits[:len(k.bits):len(k.bits)], checksum(k.bits[:])...))
}

func checksum(bits []byte) []byte {
	sum := sha256.Sum256(append([]byte("fnhost master key text\x00"), bits...))
	return sum[:sumSize]
}

// ParseKey returns the key that a text is. The error wraps [ErrKey].
func ParseKey(text string) (Key, error) {
	want := len(keyPrefix) + keyText.EncodedLen(keySize+sumSize)
	body, ok := strings.CutPrefix(text, keyPrefix)
	switch {
	case !ok:
		return Key{}, fmt.Errorf("%w: one begins with %s; `fnhost secret key` makes one", ErrKey, keyPrefix)
	case len(text) < want:
		return Key{}, fmt.Errorf("%w: it is cut short, %d characters of %d", ErrKey, len(text), want)
	case len(text) > want:
		return Key{}, fmt.Errorf("%w: it has %d characters, %d too many", ErrKey, len(text), len(text)-want)
	}
	b, err := keyText.DecodeString(body)
	if err != nil { // whose text would tell a character
		return Key{}, fmt.Errorf("%w: it has a character that is in none", ErrKey)
	}
	if subtle.ConstantTimeCompare(checksum(b[:keySize]), b[keySize:]) != 1 {
		return Key{}, fmt.Errorf("%w: its checksum is wrong, so it was changed or is cut short", ErrKey)
	}
	k := newKey([keySize]byte(b))
	clear(b)
	return k, nil
}

// Keyring is one or more master keys, of which the first, the primary, seals. It is
// never changed.
type Keyring struct{ keys []Key }

// Format prints the IDs of the keys, whatever the verb.
func (r Keyring) Format(s fmt.State, _ rune) { fmt.Fprint(s, r.keys) }

// NewKeyring returns the keyring of keys, at least one.
func NewKeyring(keys ...Key) *Keyring { return &Keyring{keys} }

// ParseKeyring returns the keys of a text: one a line or with space between them, the
// primary first. Lines that begin with # are left out. The error wraps [ErrKey].
func ParseKeyring(text string) (*Keyring, error) {
	r := &Keyring{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, word := range strings.Fields(line) {
			k, err := ParseKey(word)
			if err != nil {
				return nil, fmt.Errorf("key %d: %w", len(r.keys)+1, err)
			}
			if r.find(k.id) != nil {
				return nil, fmt.Errorf("key %d: %w of its own: it is there twice", len(r.keys)+1, ErrKey)
			}
			if len(r.keys) == maxKeys {
				return nil, fmt.Errorf("%w: there are more than %d", ErrKey, maxKeys)
			}
			r.keys = append(r.keys, k)
		}
	}
	if len(r.keys) == 0 {
		return nil, fmt.Errorf("%w: it is empty; `fnhost secret key` makes one", ErrKey)
	}
	return r, nil
}

// Primary returns the key that seals.
func (r *Keyring) Primary() Key { return r.keys[0] }

// IDs returns the IDs of the keys, the primary first.
func (r *Keyring) IDs() []string {
	if r == nil {
		return nil
	}
	ids := make([]string, len(r.keys))
	for i, k := range r.keys {
		ids[i] = k.id
	}
	return ids
}

// Text returns what [ParseKeyring] takes.
func (r *Keyring) Text() string {
	var b strings.Builder
	for _, k := range r.keys {
		b.WriteString(k.Text() + "\n")
	}
	return b.String()
}

// find returns the key of an ID, nil if there is none.
func (r *Keyring) find(id string) *Key {
	if r == nil {
		return nil
	}
	for i := range r.keys {
		if r.keys[i].id == id {
			return &r.keys[i]
		}
	}
	return nil
}
