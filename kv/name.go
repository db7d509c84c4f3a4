package kv

import (
	"fmt"
	"strings"
)

// ValidateKey returns ErrInvalidKey for what is not a key; see the package's text.
func ValidateKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidKey)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: %q… has %d bytes, at most %d", ErrInvalidKey, key[:32], len(key), MaxKey)
	case key[0] == '.' || key[len(key)-1] == '.' || strings.Contains(key, ".."):
		return fmt.Errorf("%w: %q has a dot at an end, or two beside each other", ErrInvalidKey, key)
	}
	if i := strings.IndexFunc(key, func(r rune) bool { return !isWord(r) && !strings.ContainsRune("/=.", r) }); i >= 0 {
		return fmt.Errorf("%w: %q: only letters, digits and - _ / = . are in one", ErrInvalidKey, key)
	}
	return nil
}

// ValidateBucket returns ErrInvalidBucket for what is not a bucket's name; see the
// package's text.
func ValidateBucket(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidBucket)
	case len(name) > MaxName:
		return fmt.Errorf("%w: %q… has %d bytes, at most %d", ErrInvalidBucket, name[:32], len(name), MaxName)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !isWord(r) }); i >= 0 {
		return fmt.Errorf("%w: %q: only letters, digits, - and _ are in one", ErrInvalidBucket, name)
	}
	return nil
}

// isWord is true for what keys and names have in common. Others than ASCII are not.
func isWord(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}
