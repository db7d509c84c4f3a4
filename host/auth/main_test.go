package auth

import (
	"context"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/memkv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vault keeps signing keys in memory.
type vault struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (v *vault) Get(_ context.Context, name string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if b, ok := v.m[name]; ok {
		return b, nil
	}
	return nil, errors.New("no such secret")
}

func (v *vault) Set(_ context.Context, name string, value []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.m == nil {
		v.m = make(map[string][]byte)
	}
	v.m[name] = value
	return nil
}

func newBucket(t testing.TB) kv.Bucket {
	t.Helper()
	b, err := memkv.New(memkv.Config{Bucket: "auth"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// open returns an Authority on a bucket and vault of its own, or on those of cfg.
func open(t testing.TB, cfg Config) *Authority {
	t.Helper()
	if cfg.Bucket == nil {
		cfg.Bucket = newBucket(t)
	}
	if cfg.Secrets == nil {
		cfg.Secrets = &vault{}
	}
	a, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

const password = "correct horse battery"

// account makes an account that can log in.
func account(t testing.TB, a *Authority, name string, scopes ...string) {
	t.Helper()
	if _, err := a.CreateAccount(t.Context(), NewAccount{Name: name, Password: password, Scopes: scopes}); err != nil {
		t.Fatal(err)
	}
}

func login(t testing.TB, a *Authority, name string) Login {
	t.Helper()
	l, err := a.Login(t.Context(), name, password)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// refuses checks that a token proves nothing, for that reason.
func refuses(t testing.TB, a *Authority, token string, why error) {
	t.Helper()
	id, err := a.Verify(t.Context(), token)
	if id != nil || !errors.Is(err, why) {
		t.Errorf("verified as %+v, %v; want %v", id, err, why)
	}
}

func proves(t testing.TB, a *Authority, token, name string) *Identity {
	t.Helper()
	id, err := a.Verify(t.Context(), token)
	if err != nil || id.Account != name {
		t.Fatalf("verified as %+v, %v; want %s", id, err, name)
	}
	return id
}
