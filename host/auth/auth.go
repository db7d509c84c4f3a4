// Package auth says who somebody is. People and services are accounts; what proves
// one is a token:
//
//   - an access token: a JWT (RFC 7519, RFC 9068) of this host, signed with Ed25519 (RFC
//     8037), good for some minutes, which a login gives ([Authority.Login]);
//   - a refresh token, which comes with it and gets the next pair, once
//     ([Authority.Refresh]): one that comes twice was stolen from somebody, and ends the
//     whole login, as RFC 9700 says;
//   - a machine token, which stays until it is revoked ([Authority.CreateToken]);
//   - a JWT of another issuer that the host was told to trust ([Issuer]);
//   - the root token, which the host prints at its first start ([OpenRoot]).
//
// [Authority.Verify] takes all of them but refresh tokens, and returns an [Identity]. What
// an identity may do is for the rules to say ([Authority.Decide]; see package
// host/auth/rules).
//
// All state is one bucket, which each host follows: what is revoked at one is refused at
// all of them as soon as they have heard of it, which is milliseconds. No token and no
// password is stored, only their hashes; signing keys are secrets.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/auth/rules"
	"github.com/fnhost/fnhost/kv"
)

// Lifetimes of tokens.
const (
	DefaultAccessTTL  = 15 * time.Minute    // of an access token
	DefaultRefreshTTL = 30 * 24 * time.Hour // of a refresh token, and so of a login that is not used
)

// Audience is that of the access tokens.
const Audience = "fnhost"

// Everywhere is the namespace of who belongs to all of them.
const Everywhere = "*"

// Secrets keeps the signing keys.
type Secrets interface {
	Get(ctx context.Context, name string) ([]byte, error)
	Set(ctx context.Context, name string, value []byte) error
}

// Config of an [Authority].
type Config struct {
	// Bucket holds all but the signing keys. Nil: only the root token is known.
	Bucket kv.Bucket
	// Secrets keeps the signing keys.
	Secrets Secrets
	// Root is the root token. Nil: there is none.
	Root *Root
	// AccessTTL and RefreshTTL are how long tokens are good. Default: [DefaultAccessTTL],
	// [DefaultRefreshTTL].
	AccessTTL, RefreshTTL time.Duration
	// Client fetches the keys of other issuers. Default: [http.DefaultClient].
	Client *http.Client
	// Changed is told when something has changed of what tokens prove or rules allow. It
	// must not block. Default: nobody.
	Changed func()
	// Logger gets what goes wrong beside the calls. Default: [slog.Default].
	Logger *slog.Logger
}

// Authority knows accounts, tokens, keys and rules. Its methods are safe for concurrent
// use.
type Authority struct {
	cfg    Config
	bucket kv.Bucket
	log    *slog.Logger

	generation atomic.Uint64 // of the state: what was verified under another one is verified again
	verified   verified
	set        atomic.Pointer[rules.Set]
	reading    atomic.Bool // all of the bucket is read: rules are compiled at the end of that
	closed     atomic.Bool // a rule is damaged: nobody may do anything but mend that

	mu     sync.RWMutex
	state  state
	signer *signer // the active key, once it was needed

	ctx     context.Context
	cancel  context.CancelFunc
	tasks   sync.WaitGroup
	hashing chan struct{} // bounds how many passwords are hashed at once
}

// Open returns an Authority that knows what the bucket holds, and follows it. It must be
// closed. The error is one of the bucket.
func Open(ctx context.Context, cfg Config) (*Authority, error) {
	if cfg.AccessTTL == 0 {
		cfg.AccessTTL = DefaultAccessTTL
	}
	if cfg.RefreshTTL == 0 {
		cfg.RefreshTTL = DefaultRefreshTTL
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	if cfg.Client == nil {
		cfg.Client = http.DefaultClient
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	a := &Authority{cfg: cfg, bucket: cfg.Bucket, log: cfg.Logger, hashing: make(chan struct{}, 2)}
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.state.init()
	a.compile()
	if a.bucket == nil {
		return a, nil
	}
	if err := a.follow(ctx); err != nil {
		a.Close()
		return nil, fmt.Errorf("auth: %w", err)
	}
	return a, nil
}

// Close ends the following of the bucket, and of other issuers' keys.
func (a *Authority) Close() {
	a.cancel()
	a.tasks.Wait()
}

// Identity is somebody who has proved to be who they are.
type Identity struct {
	Account   string    `json:"account"`          // "ada"; of another issuer its name for her, after that of the issuer: "corp/ada@example.com"
	Namespace string    `json:"namespace"`        // that she belongs to; "*" for all of them
	Kind      string    `json:"kind"`             // [Person], [Service], [External] or [RootKind]
	Scopes    []string  `json:"scopes,omitempty"` // sorted
	Issuer    string    `json:"issuer,omitempty"` // of a JWT of somebody else
	Token     string    `json:"token,omitempty"`  // ID of what has proved it
	Expires   time.Time `json:"expires,omitzero"` // when that ends
	family    string
	lacks     []string // scopes of the account that a token of it has not

	principal rules.Principal
	encoded   string
}

// Kinds of accounts and identities.
const (
	Person   = "person"
	Service  = "service"
	External = "external" // known to another issuer
	RootKind = "root"
)

// seal makes an identity ready for use: it is not changed any more.
func (i *Identity) seal() *Identity {
	i.principal = rules.Principal{Account: i.Account, Namespace: i.Namespace, Scopes: i.Scopes, Lacks: i.lacks}
	i.encoded = encodeIdentity(i)
	return i
}

// ByMachineToken reports whether a machine token has proved it, and not a login.
func (i *Identity) ByMachineToken() bool {
	return i != nil && i.family == "" && i.Kind != RootKind && i.Kind != External
}

// Principal returns the identity as rules see it; nil for nobody.
func (i *Identity) Principal() *rules.Principal {
	if i == nil {
		return nil
	}
	return &i.principal
}

// Encoded returns the identity as functions get it: a JSON object of account, namespace,
// kind, scopes and issuer; "" for nobody.
func (i *Identity) Encoded() string {
	if i == nil {
		return ""
	}
	return i.encoded
}

// Errors, each also an *[wire.Error] with a code. The text says what to do.
var (
	// ErrNoToken: nothing was given to prove anything with.
	ErrNoToken = errors.New("no token")
	// ErrToken: what was given proves nothing, whatever is wrong with it.
	ErrToken = errors.New("bad token")
	// ErrExpired: it did, once. It is ErrToken, too.
	ErrExpired = errors.New("the token has expired")
	// ErrRevoked: somebody has taken it back. It is ErrToken, too.
	ErrRevoked = errors.New("the token was revoked")
	// ErrLogin: there is no such account, or the password is another one.
	ErrLogin = errors.New("wrong account or password")
	// ErrReplayed: a refresh token came twice, and its login has ended.
	ErrReplayed = errors.New("the refresh token was used before: its login has ended")
)

// fault is an error for errors.Is and for errors.As with *wire.Error.
type fault struct {
	e  *wire.Error
	is []error
}

func (f *fault) Error() string { return f.e.Error() }

func (f *fault) Unwrap() []error { return append([]error{f.e}, f.is...) }

func faultf(code wire.Code, is []error, format string, args ...any) error {
	return &fault{wire.Errorf(code, format, args...), is}
}

func bad(format string, args ...any) error {
	return faultf(wire.Unauthorized, []error{ErrToken}, format, args...)
}

// withoutBucket is the error of what needs the bucket where there is none.
func (a *Authority) withoutBucket() error {
	if a.bucket != nil {
		return nil
	}
	return wire.Errorf(wire.Unavailable, "accounts, tokens and rules need JetStream, which this NATS server does not have: only the root token is known")
}

// stored turns an error of the bucket into one with a code.
func stored(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kv.ErrExists):
		return wire.Errorf(wire.Conflict, "%s is there already", what)
	case errors.Is(err, kv.ErrNotFound):
		return wire.Errorf(wire.NotFound, "there is no %s", what)
	case errors.Is(err, kv.ErrConflict):
		return wire.Errorf(wire.Conflict, "%s was changed by somebody else at the same moment: try again", what)
	}
	return wire.Errorf(wire.Unavailable, "%s cannot be stored: %v", what, err)
}
