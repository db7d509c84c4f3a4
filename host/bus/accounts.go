package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrElsewhere is wrapped by the errors of what a server that runs elsewhere has to be
// asked for there.
var ErrElsewhere = errors.New("the NATS server runs elsewhere")

// AccountLimits bound what the streams of an account store, in bytes; 0 is no bound.
// What is bounded is reserved: a server refuses more than it has.
type AccountLimits struct{ Storage, Memory int64 }

// jetStream returns the limits as the server takes them.
func (l AccountLimits) jetStream() map[string]server.JetStreamAccountLimits {
	if l == (AccountLimits{}) {
		return nil
	}
	orNone := func(n int64) int64 {
		if n <= 0 {
			return -1
		}
		return n
	}
	return map[string]server.JetStreamAccountLimits{"": {MaxMemory: orNone(l.Memory), MaxStore: orNone(l.Storage), MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1}}
}

// accounts are those of an embedded server, by name. It is safe for concurrent use.
type accounts struct {
	mu     sync.RWMutex
	byName map[string]*server.Account
}

func (a *accounts) get(name string) *server.Account {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.byName[name]
}

func (a *accounts) set(name string, account *server.Account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if account == nil {
		delete(a.byName, name)
		return
	}
	if a.byName == nil {
		a.byName = make(map[string]*server.Account)
	}
	a.byName[name] = account
}

// OpenAccount returns a connection to an account of the embedded server, which it makes
// if need be: with what its streams had stored before, if anything. Whoever opens it
// closes the connection, before the Bus. The error wraps [ErrElsewhere], or is that of the server, such as for
// limits that are more than there is.
func (b *Bus) OpenAccount(name string, l AccountLimits) (*nats.Conn, error) {
	if b.srv == nil {
		return nil, fmt.Errorf("bus: account %q: %w", name, ErrElsewhere)
	}
	account, _ := b.srv.LookupOrRegisterAccount(name)
	if !account.JetStreamEnabled() {
		if err := account.EnableJetStream(l.jetStream(), nil); err != nil {
			// It has the limits all the same, and would fail the next start of all streams.
			if account.EnableJetStream(nil, nil) == nil {
				account.DisableJetStream()
			}
			return nil, fmt.Errorf("bus: streams of account %q: %w", name, err)
		}
	} else if err := limit(account, l); err != nil {
		return nil, err
	}
	b.accounts.set(name, account)
	return b.connect(name)
}

// LimitAccount changes the limits of an account. What it stores stays, also if it is
// more than that. Errors are as those of [Bus.OpenAccount].
func (b *Bus) LimitAccount(name string, l AccountLimits) error {
	if b.srv == nil {
		return fmt.Errorf("bus: account %q: %w", name, ErrElsewhere)
	}
	account := b.accounts.get(name)
	if account == nil {
		return fmt.Errorf("bus: there is no account %q", name)
	}
	return limit(account, l)
}

// limit changes the limits of an account, also for when JetStream starts anew.
func limit(account *server.Account, l AccountLimits) error {
	err := account.UpdateJetStreamLimits(l.jetStream())
	if err == nil {
		err = account.EnableJetStream(l.jetStream(), nil)
	}
	if err != nil {
		return fmt.Errorf("bus: limits of account %q: %w", account.Name, err)
	}
	return nil
}

// RemoveAccount removes an account with all of its streams. Connections to it end up without
// streams; there are none of the host any more. It is no error if there is no such account.
func (b *Bus) RemoveAccount(name string) error {
	if b.srv == nil {
		return fmt.Errorf("bus: account %q: %w", name, ErrElsewhere)
	}
	if name == DefaultAccount || name == ControlAccount {
		return fmt.Errorf("bus: the account %q stays", name)
	}
	if b.accounts.get(name) == nil {
		return nil
	}
	if err := b.removeStreams(name); err != nil {
		return fmt.Errorf("bus: streams of account %q: %w", name, err)
	}
	account := b.accounts.get(name)
	b.accounts.set(name, nil)
	if err := account.DisableJetStream(); err != nil {
		return fmt.Errorf("bus: account %q: %w", name, err)
	}
	if err := os.RemoveAll(filepath.Join(b.storage.dir, "jetstream", name)); err != nil {
		return fmt.Errorf("bus: account %q: %w", name, err)
	}
	return nil
}

// removeTimeout bounds the removal of the streams of an account.
const removeTimeout = time.Minute

func (b *Bus) removeStreams(account string) error {
	conn, err := b.connect(account)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	list := js.StreamNames(ctx)
	var names []string
	for name := range list.Name() {
		names = append(names, name)
	}
	for _, name := range names {
		if err := js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return list.Err()
}

// AccountUsage returns how many bytes the streams of an account store, in files and in memory:
// 0 if that is not known here.
func (b *Bus) AccountUsage(name string) (storage, memory int64) {
	account := b.accounts.get(name)
	if account == nil {
		return 0, 0
	}
	used := account.JetStreamUsage()
	return int64(used.Store), int64(used.Memory)
}
