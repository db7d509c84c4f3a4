package host

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/host/audit"
	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/host/wall"
	"github.com/fnhost/fnhost/kv/secrets"
)

// Config says what a host does. The zero value of each field is its default;
// only Dir has none.
type Config struct {
	// Dir is the data directory: streams, state, working directories. It is
	// created if need be, and belongs to one host at a time.
	Dir string
	// Watch are the folders whose functions are built and run, and built anew
	// when their source changes. Default: none.
	Watch []string
	// HTTP is the address of the gateway, "host:port"; port 0 picks one. Default:
	// none; see [Host.Gateway].
	HTTP string
	// Domain is the host name of the gateway, whose subdomains are namespaces: with
	// "fn.example.com", acme.fn.example.com is that of the namespace acme. Default: host
	// names say nothing of namespaces.
	Domain string
	// Index has the gateway tell at "/" which functions there are, as is of use where
	// they are developed. Default: "/" is not found, unless a function has it as a route.
	Index bool
	// TLSCert and TLSKey are PEM files for the gateway, and for the management API
	// where other machines reach it. They are read anew when they have changed. Default:
	// plain HTTP, with HTTP/1.1 and HTTP/2 over clear text.
	TLSCert, TLSKey string
	// ACME has the certificates of both come from an authority instead.
	ACME ACME
	// TrustedProxies are those whose X-Forwarded-For says where a request comes from, for
	// the limits of functions, guesses of passwords and the audit; one that is not named counts
	// as the client itself.
	// Default: none.
	TrustedProxies []netip.Prefix
	// Admin is the address of the management API. Default: none. An address that
	// other machines reach needs TLS, or AdminPlain.
	Admin string
	// Auth has all ways in ask who comes: the gateway, the management API, git and NATS.
	// Accounts, tokens and rules say who may do what (see package host/auth); the first
	// start makes the root token, see [Host.FreshToken]. It is set where one of HTTP, Admin
	// and NATS is an address that other machines reach. Default: whoever reaches an address
	// of this machine may do all.
	Auth bool
	// Public lets anybody call all functions over HTTP for which no rule says anything
	// else, as if each had public: true in its manifest. Default: no.
	Public bool
	// AccessTTL and RefreshTTL are how long what a login gives is good: the access token, and
	// the refresh token that gets the next one, at least a second each, and the second no
	// shorter than the first. Default: [auth.DefaultAccessTTL], [auth.DefaultRefreshTTL].
	AccessTTL, RefreshTTL time.Duration
	// AdminPlain allows the management API and NATS without TLS on addresses that other
	// machines reach: tokens and all sources can be read on the way. Default: no.
	AdminPlain bool
	// GitPush makes the management API a git remote, below /git/: a push is a deploy.
	// git then starts this program anew, as its hook, so that main must begin with
	// what [gitpush.IsHook] says. Default: no.
	GitPush bool
	// NATS is the address on which the embedded NATS server takes clients.
	// Default: none, only [Host.Conn].
	NATS string
	// NATSURL is that of a NATS server to use instead of the embedded one.
	NATSURL string
	// PrivateCallbacks allows the results of asynchronous calls to be sent to addresses
	// that are not public: of this machine, and of the networks around it. Default: no,
	// since whoever may call a function names the address.
	PrivateCallbacks bool
	// PrivateIssuers allows other issuers of tokens to publish their keys at such addresses. Default: no.
	PrivateIssuers bool
	// PrivateGit allows git repositories that are deployed by their URL to lie at such
	// addresses, too. Default: no, since whoever may deploy names the address.
	PrivateGit bool
	// MasterKey, MasterKeyFile and MasterKeyCommand are where the master key of secrets
	// comes from, one of them: the key itself (as of an environment variable), a file that
	// nobody but its owner may read, or a program with its arguments that prints it. Of
	// several keys, a line each, the first one seals, and all open; `fnhost secret key`
	// makes one. Default: master.key in Dir, which is made when the first secret is set,
	// and is of no help against somebody who gets the whole of Dir.
	MasterKey        string
	MasterKeyFile    string
	MasterKeyCommand []string
	// EncryptStore encrypts all that streams and buckets store on the disk, with a key
	// (store.key in Dir) that the master key opens. It is for a Dir that is new, and for
	// one that was made so: [New] refuses any other, and neither encrypts nor decrypts
	// what is there. Default: secrets alone are encrypted.
	EncryptStore bool
	// AuditDays is for how many days it is kept who has changed what over the management
	// API; see package audit. Default: 90.
	AuditDays int
	// Durability says what stored data survives. Default: [bus.Process].
	Durability bus.Durability
	// Walls says what is done about walls around workers and builds: what they reach of the
	// machine and of the network; see package wall. Default: [wall.Auto], what this machine can.
	Walls wall.Mode
	// Builder says how sources are built; see [builder.Config].
	Builder builder.Config
	// Drain bounds how long the invocations of a replaced version, and those in
	// progress when the host stops, may run on. Default: 30 s.
	Drain time.Duration
	// Grace is how long an invocation may run on after its deadline before its
	// worker is replaced. Default: 5 s.
	Grace time.Duration
	// MaxWorkers bounds the workers of a function whose manifest names no
	// maximum. Default: the number of processors.
	MaxWorkers int
	// OnEvent is told what happens to functions. It must not block. Default: nobody,
	// and Logger gets the failures.
	OnEvent func(Event)
	// Logger gets what the host has to say. Default: [slog.Default].
	Logger *slog.Logger
}

func (c *Config) setDefaults() error {
	if c.Dir == "" {
		return fmt.Errorf("host: Config.Dir is empty: name a data directory")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("host: data directory: %w", err)
	}
	c.Dir = dir
	if c.NATS != "" && c.NATSURL != "" {
		return fmt.Errorf("host: both an address for the embedded NATS server (%s) and the URL of another one are set: choose one", c.NATS)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return fmt.Errorf("host: TLS needs both a certificate and a key")
	}
	if err := c.ACME.check(c); err != nil {
		return err
	}
	if err := (&secrets.Source{Text: c.MasterKey, File: c.MasterKeyFile, Command: c.MasterKeyCommand}).Validate(); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	if c.EncryptStore && c.NATSURL != "" {
		return fmt.Errorf("host: EncryptStore is for the embedded NATS server: have the one at Config.NATSURL encrypt what it stores")
	}
	if c.Admin != "" && !isLoopback(c.Admin) {
		if !c.hasTLS() && !c.AdminPlain {
			return fmt.Errorf("host: the management API at %s can be reached by other machines and has no TLS: set a certificate and its key, or allow it explicitly", c.Admin)
		}
	}
	if c.NATS != "" && !isLoopback(c.NATS) && !c.hasTLS() && !c.AdminPlain {
		return fmt.Errorf("host: NATS at %s can be reached by other machines and has no TLS: set a certificate and its key, or allow it explicitly", c.NATS)
	}
	for _, address := range []string{c.HTTP, c.Admin, c.NATS} {
		c.Auth = c.Auth || address != "" && !isLoopback(address)
	}
	c.AccessTTL, c.RefreshTTL = cmp.Or(c.AccessTTL, auth.DefaultAccessTTL), cmp.Or(c.RefreshTTL, auth.DefaultRefreshTTL)
	if c.AccessTTL < time.Second || c.RefreshTTL < c.AccessTTL {
		return fmt.Errorf("host: access tokens for %v and refresh tokens for %v: want a second or more, and the latter no shorter", c.AccessTTL, c.RefreshTTL)
	}
	c.Domain = strings.ToLower(strings.Trim(c.Domain, "."))
	if strings.ContainsAny(c.Domain, ":/@* ") {
		return fmt.Errorf("host: domain %q: want a host name alone, such as fn.example.com", c.Domain)
	}
	if c.AuditDays < 0 {
		return fmt.Errorf("host: AuditDays is %d: give a number of days, or leave it out for %d", c.AuditDays, audit.DefaultDays)
	}
	if err := c.checkWalls(); err != nil {
		return err
	}
	if c.Drain == 0 {
		c.Drain = 30 * time.Second
	}
	if c.Grace == 0 {
		c.Grace = 5 * time.Second
	}
	if c.MaxWorkers == 0 {
		c.MaxWorkers = runtime.NumCPU()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Builder.Logger == nil {
		c.Builder.Logger = c.Logger
	}
	return nil
}

// isLoopback reports whether an address is one of this machine alone.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
