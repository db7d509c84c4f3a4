// Package bus is the NATS server that a host embeds, or its connection to one
// that runs elsewhere.
//
// An embedded server keeps its state in a directory of the host, has an account
// for each namespace ([DefaultAccount], and those that [Bus.OpenAccount] opens) and one for the
// host's own state ([ControlAccount]), and takes no connection from outside
// unless it is given an address to listen on. Config.Authenticate says who
// is let in there, and what a [Grant] allows.
//
// What a grant allows is a list of subjects for publishing and one for subscribing.
// JetStream is subjects, too ($JS.API.>, $KV.>, $O.>): without them there is none of it.
// Requests need an inbox. That of the connection alone is allowed, as who may
// subscribe to _INBOX.> reads what all others are answered; so clients
// are told of it: nats --inbox-prefix=_INBOX.ada, nats.CustomInboxPrefix("_INBOX.ada").
//
// NATS checks the subject that is published to, and not the one that an answer is asked
// to go to: JetStream, or the host, would publish there for a client what it may not itself.
// So the connections of those who may not do everything go by a guard of ours, which takes messages
// with a reply outside of the connection's inbox from what they send, and consumers that are to
// deliver elsewhere. The client is told of a violation.
package bus

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Accounts of an embedded server.
const (
	DefaultAccount = "default" // the namespace "default"
	ControlAccount = "fnhost"  // state of the host itself
)

// Config says which server to use.
type Config struct {
	// URL is that of a server that runs elsewhere. It excludes the rest.
	URL string
	// Listen is the address for NATS clients, "host:port"; port 0 picks one. One that
	// others reach wants Authenticate and TLS: the server does not ask for them.
	// Default: none, in-process connections only.
	Listen string
	// Authenticate says what a client of the network may do, from what it shows. Nil,
	// or an error, is a refusal, which the client learns no reason of; the error is
	// logged, and must not hold what was shown. It is called by many at once, for
	// each connection. Default: whoever reaches the address may do everything in [DefaultAccount].
	Authenticate func(Login) (*Grant, error)
	// TLS encrypts connections to Listen. Default: plain ones.
	TLS *tls.Config
	// StoreDir is where an embedded server keeps streams.
	StoreDir string
	// StoreKey encrypts all that the streams of an embedded server store, with
	// ChaCha20-Poly1305. A directory has one from its first start to its last, or none: the
	// server does not say so, but loses what is there. Default: none.
	StoreKey string
	// Durability says when what is stored counts as stored. Default: [Process].
	Durability Durability
	// Logger gets what the server says: warnings, errors, and the rest at debug.
	// Default: [slog.Default].
	Logger *slog.Logger
}

// Durability says what stored data survives.
type Durability string

// Durabilities.
const (
	// Process survives the end of the process, however it ends (kill -9), but the
	// latest two minutes may be lost with the power: data is in the system's hands.
	Process Durability = "process"
	// Power survives the loss of power: each write is synced, at some 20 times the cost.
	Power Durability = "power"
)

// Bus is a running server and a connection to it. Its methods are safe for
// concurrent use.
type Bus struct {
	srv     *server.Server // nil for a server elsewhere
	conn    *nats.Conn
	control *nats.Conn
	storage *storage // nil for a server elsewhere
	door    *door    // nil for a server elsewhere
	guard   *guard   // nil if everybody may do everything, or nobody connects
	dir     string
	log     *slog.Logger

	changing sync.Mutex // is held while accounts change
	shares   []share    // of which changing is the lock
}

const (
	// startTimeout bounds how long a server may take to accept connections.
	startTimeout = 20 * time.Second
	// loginTimeout bounds how long a client may take to show who it is.
	loginTimeout = 10 * time.Second
	// maxPayload bounds a message.
	maxPayload = 8 << 20
	// maxSubscriptions bounds those of one connection: some tens of MB in the server.
	// The host itself has one for each endpoint of a function.
	maxSubscriptions = 100_000
	// maxStore is what the streams together may have, as far as the server asks:
	// more than any disk holds.
	maxStore = 1 << 60
)

// Start starts a server, or connects to the one at Config.URL.
func Start(cfg Config) (*Bus, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	b := &Bus{log: cfg.Logger}
	if cfg.URL != "" {
		conn, err := nats.Connect(cfg.URL, b.clientOptions("fnhost")...)
		if err != nil {
			return nil, fmt.Errorf("bus: connect to %s: %w: %s", redacted(cfg.URL), err, connectHint(err))
		}
		b.conn = conn
		return b, nil
	}
	if err := b.embed(cfg); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// connectHint says what to do about a server that cannot be connected to.
func connectHint(err error) string {
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) {
		return "give a user and password that it knows in the URL, as nats://USER:PASSWORD@HOST:PORT"
	}
	return "start a NATS server there, or leave the URL out to use the embedded one"
}

func redacted(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	return "the NATS server"
}

// embed starts a server in this process and connects to it.
func (b *Bus) embed(cfg Config) error {
	opts, err := b.serverOptions(cfg)
	if err != nil {
		return err
	}
	b.dir = cfg.StoreDir
	b.door = &door{
		secret: rand.Text(), authenticate: cfg.Authenticate, accounts: make(map[string]*account), visits: make(map[string]*visit),
		guests:  guests{in: make(map[uint64]*guest)},
		refused: &sparingLog{log: cfg.Logger}, violated: &sparingLog{log: cfg.Logger},
	}
	opts.CustomClientAuthentication = b.door
	if cfg.Listen != "" && cfg.Authenticate != nil {
		opts.DontListen, opts.TLSConfig = true, nil
		if b.guard, err = newGuard(b.door, cfg); err != nil {
			return err
		}
	}
	if b.srv, err = server.NewServer(opts); err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	b.door.srv = b.srv
	for _, name := range []string{DefaultAccount, ControlAccount} {
		acc, err := b.srv.LookupAccount(name)
		if err != nil {
			return fmt.Errorf("bus: account %q: %w", name, err)
		}
		b.door.setAccount(name, &account{acc: acc})
	}
	failed := make(chan string, 1)
	b.storage = newStorage(cfg.StoreDir, cfg.Logger)
	b.srv.SetLoggerV2(&serverLog{log: cfg.Logger, fatal: failed, failed: b.storage.said, client: b.door.said}, false, false, false)
	b.srv.Start()
	if err := b.awaitStart(failed); err != nil {
		return err
	}
	for _, name := range []string{DefaultAccount, ControlAccount} {
		a := b.door.account(name)
		if err := b.limit(a, AccountLimits{}); err != nil {
			return fmt.Errorf("bus: streams of account %q: %w", name, err)
		}
		if a.conn, err = b.connect(name); err != nil {
			return err
		}
	}
	b.conn, b.control = b.door.account(DefaultAccount).conn, b.door.account(ControlAccount).conn
	b.storage.start(b.srv)
	if b.guard != nil {
		b.guard.start(b.srv)
	}
	return nil
}

// awaitStart waits until the server takes connections, or has failed.
func (b *Bus) awaitStart(failed <-chan string) error {
	for begin := time.Now(); !b.srv.ReadyForConnections(100 * time.Millisecond); {
		select {
		case reason := <-failed:
			return fmt.Errorf("bus: the NATS server did not start: %s", reason)
		default:
		}
		if time.Since(begin) > startTimeout {
			return fmt.Errorf("bus: the NATS server did not start within %v", startTimeout)
		}
	}
	return nil
}

func (b *Bus) serverOptions(cfg Config) (*server.Options, error) {
	opts := &server.Options{
		ServerName: "fnhost",
		DontListen: true,
		NoSigs:     true,
		NoLog:      false,
		JetStream:  true,
		StoreDir:   cfg.StoreDir,
		SyncAlways: cfg.Durability == Power,
		MaxPayload: maxPayload,
		MaxPending: 64 << 20,
		MaxSubs:    maxSubscriptions,
		TLSConfig:  cfg.TLS,
		// The server's own are two seconds each.
		TLSTimeout: loginTimeout.Seconds(), AuthTimeout: 2 * loginTimeout.Seconds(),
	}
	// The server's own limit is three quarters of what was free at its start: near
	// zero on a full disk, and it stays so when there is room again. And it refuses accounts
	// whose limits together are more.
	opts.JetStreamMaxStore = maxStore
	if cfg.StoreKey != "" {
		opts.JetStreamKey, opts.JetStreamCipher = cfg.StoreKey, server.ChaCha
	}
	switch cfg.Durability {
	case "", Process, Power:
	default:
		return nil, fmt.Errorf("bus: durability %q: want %q or %q", cfg.Durability, Process, Power)
	}
	if cfg.Listen != "" {
		host, port, err := net.SplitHostPort(cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("bus: address of NATS: %w", err)
		}
		opts.DontListen = false
		opts.Host = host
		if opts.Port, err = strconv.Atoi(port); err != nil {
			return nil, fmt.Errorf("bus: address of NATS %q: port is not a number", cfg.Listen)
		}
		if opts.Port == 0 {
			opts.Port = server.RANDOM_PORT
		} else if err := portFree(cfg.Listen); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{DefaultAccount, ControlAccount} {
		opts.Accounts = append(opts.Accounts, server.NewAccount(name))
	}
	return opts, nil
}

// portFree finds out whether an address can be listened on before the server
// does: the server ends the process's hopes by a log line alone.
func portFree(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("bus: NATS: %w: stop what uses the address, or choose another one", err)
	}
	return l.Close()
}

func (b *Bus) clientOptions(name string) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			b.log.Warn("NATS: "+err.Error(), "subject", subject)
		}),
		nats.DisconnectErrHandler(func(c *nats.Conn, err error) {
			if err != nil && !c.IsClosed() {
				b.log.Warn("NATS: connection lost, trying again: " + err.Error())
			}
		}),
	}
}

func (b *Bus) connect(account string) (*nats.Conn, error) {
	opts := append(b.clientOptions("fnhost"), nats.InProcessServer(b.srv), nats.UserInfo(account, b.door.secret))
	conn, err := nats.Connect("", opts...)
	if err != nil {
		return nil, fmt.Errorf("bus: connect in process: %w", err)
	}
	return conn, nil
}

// Conn returns the host's connection, in the default namespace.
func (b *Bus) Conn() *nats.Conn { return b.conn }

// Control returns the connection for the host's own state; with a server that
// runs elsewhere it is the same as Conn.
func (b *Bus) Control() *nats.Conn {
	if b.control == nil {
		return b.conn
	}
	return b.control
}

// Addr returns the address that NATS clients connect to, "" if there is none.
func (b *Bus) Addr() string {
	if b.srv == nil {
		return b.conn.ConnectedAddr()
	}
	if b.guard != nil {
		return b.guard.listener.Addr().String()
	}
	if addr := b.srv.Addr(); addr != nil {
		return addr.String()
	}
	return ""
}

// conns returns the host's own connections.
func (b *Bus) conns() []*nats.Conn {
	if b.door == nil {
		return []*nats.Conn{b.conn}
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	b.door.mu.Lock()
	defer b.door.mu.Unlock()
	var all []*nats.Conn
	for _, a := range b.door.accounts {
		all = append(all, a.conn)
	}
	return all
}

// Close closes the connections, and ends an embedded server and waits for it.
func (b *Bus) Close() error {
	var errs []error
	if b.guard != nil {
		b.guard.stop()
	}
	for _, c := range b.conns() {
		if c != nil {
			if err := c.FlushTimeout(time.Second); err != nil && !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, context.DeadlineExceeded) {
				errs = append(errs, err)
			}
			c.Close()
		}
	}
	if b.storage != nil {
		b.storage.stop()
	}
	if b.srv != nil {
		b.srv.Shutdown()
		b.srv.WaitForShutdown()
	}
	return errors.Join(errs...)
}
