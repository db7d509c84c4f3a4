package secrets

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/kv"
)

// Limits.
const (
	MaxValue = 64 << 10 // bytes of a value
	MaxName  = 200      // bytes of a name
	Keep     = 10       // versions of a secret that are kept
)

// Info says what is known of a version of a secret. It has nothing of its value.
type Info struct {
	Name    string    `json:"name"`
	Version int       `json:"version"` // from 1; a secret that was removed begins there again
	Created time.Time `json:"created"`
	By      string    `json:"by,omitempty"`
	Key     string    `json:"key"` // ID of the master key
}

// record is a version in its bucket.
type record struct {
	Format    int       `json:"format"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Version   int       `json:"version"`
	Created   time.Time `json:"created"`
	By        string    `json:"by,omitempty"`
	Sealed
}

const (
	recordFormat = 1
	checkKey     = "check" // no key of a version: it has no dots
	checkName    = ".check"
)

// ValidateName returns an error that wraps kv.ErrInvalidKey for what is no name of a
// secret: those are the keys of buckets, of at most MaxName bytes.
func ValidateName(name string) error {
	err := kv.ValidateKey(name)
	switch {
	case len(name) > MaxName:
		err = fmt.Errorf("%q… has %d bytes, at most %d", name[:32], len(name), MaxName)
	case err == nil:
		return nil
	default:
		err = errors.New(strings.TrimPrefix(err.Error(), kv.ErrInvalidKey.Error()+": "))
	}
	return &nameError{err}
}

// nameError is kv.ErrInvalidKey, in words for who sets a secret.
type nameError struct{ err error }

func (e *nameError) Error() string { return "not a name for a secret: " + e.err.Error() }

func (e *nameError) Unwrap() error { return kv.ErrInvalidKey }

// recordKey returns the key of a version in the bucket.
func recordKey(namespace, name string, version int) string {
	return namespace + "." + strconv.Itoa(version) + "." + name
}

// parseRecordKey is its reverse.
func parseRecordKey(key string) (namespace, name string, version int, ok bool) {
	namespace, rest, _ := strings.Cut(key, ".")
	number, name, _ := strings.Cut(rest, ".")
	version, err := strconv.Atoi(number)
	ok = err == nil && version > 0 && namespace != "" && ValidateName(name) == nil && recordKey(namespace, name, version) == key
	return namespace, name, version, ok
}

// place is what the sealed parts of a record are bound to.
func (r *record) place() []string {
	return []string{r.Namespace, r.Name, strconv.Itoa(r.Version), r.Created.UTC().Format(time.RFC3339Nano), r.By}
}

func (r *record) info() Info {
	return Info{Name: r.Name, Version: r.Version, Created: r.Created, By: r.By, Key: r.Key}
}

func (r *record) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // nothing in it can fail
	}
	return b
}

// decodeRecord returns the record at a key of the bucket. The error wraps ErrDamaged. It
// does not open it.
func decodeRecord(key string, value []byte) (*record, error) {
	r := &record{}
	err := json.Unmarshal(value, r)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: the record at %q cannot be read", ErrDamaged, key)
	case r.Format != recordFormat:
		return nil, fmt.Errorf("%w: the record at %q is of format %d, this host knows %d", ErrDamaged, key, r.Format, recordFormat)
	}
	want := recordKey(r.Namespace, r.Name, r.Version)
	if r.Name == checkName {
		want = checkKey
	}
	if want != key {
		return nil, fmt.Errorf("%w: the record at %q is not the one of that place", ErrDamaged, key)
	}
	return r, nil
}
