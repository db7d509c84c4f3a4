package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/fnhost/fnhost/functions/wire"
)

// Passwords are hashed with argon2id (RFC 9106), with what OWASP's cheat sheet on storing
// passwords asks for: 19 MiB, 2 rounds, 1 lane.
const (
	hashMemory = 19 << 10 // KiB
	hashRounds = 2
	hashLanes  = 1
	hashSize   = 32
	saltSize   = 16
)

// Limits of passwords: shorter ones are guessed, and longer ones are not typed.
const (
	minPassword = 12  // characters
	maxPassword = 512 // bytes
)

// CheckNewPassword returns an *[wire.Error] of code BadRequest for what is too short or too
// long for a password.
func CheckNewPassword(password string) error {
	switch {
	case utf8.RuneCountInString(password) < minPassword:
		return wire.Errorf(wire.BadRequest, "a password has at least %d characters: several words make a good one", minPassword)
	case len(password) > maxPassword:
		return wire.Errorf(wire.BadRequest, "a password has at most %d bytes", maxPassword)
	}
	return nil
}

// hashPassword returns the encoded hash of a password.
func (a *Authority) hashPassword(ctx context.Context, password string) (string, error) {
	if err := CheckNewPassword(password); err != nil {
		return "", err
	}
	salt := make([]byte, saltSize)
	rand.Read(salt)
	key, err := a.derive(ctx, password, salt)
	if err != nil {
		return "", err
	}
	e := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashRounds, hashLanes, e.EncodeToString(salt), e.EncodeToString(key)), nil
}

// derive hashes, two at a time: each needs memory and a core for some 20 ms.
func (a *Authority) derive(ctx context.Context, password string, salt []byte) ([]byte, error) {
	select {
	case a.hashing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-a.hashing }()
	return argon2.IDKey([]byte(password), salt, hashRounds, hashMemory, hashLanes, hashSize), nil
}

// matches reports whether password is the one of the encoded hash, "" for an account that
// has none or is none. It takes as long for that as for a wrong one.
func (a *Authority) matches(ctx context.Context, password, encoded string) (bool, error) {
	if len(password) > maxPassword {
		return false, nil
	}
	parts := strings.Split(encoded, "$")
	salt, want := make([]byte, saltSize), make([]byte, hashSize)
	known := len(parts) == 6 && parts[1] == "argon2id" && parts[2] == fmt.Sprintf("v=%d", argon2.Version) &&
		parts[3] == fmt.Sprintf("m=%d,t=%d,p=%d", hashMemory, hashRounds, hashLanes)
	if known {
		var errs [2]error
		salt, errs[0] = base64.RawStdEncoding.DecodeString(parts[4])
		want, errs[1] = base64.RawStdEncoding.DecodeString(parts[5])
		known = errs[0] == nil && errs[1] == nil && len(want) == hashSize
	}
	got, err := a.derive(ctx, password, salt)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}
