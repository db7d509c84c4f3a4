package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors of accounts.
var (
	// ErrExternal says that a server elsewhere has its accounts from its own configuration.
	ErrExternal = errors.New("the NATS server is not the embedded one: leave its URL out to have namespaces")
	// ErrNoAccount says that an account is not open.
	ErrNoAccount = errors.New("there is no such namespace")
)

// AccountLimits bound what one account of an embedded server takes. The limits of
// storage of all together may be more than there is: they promise nothing. 0 is none.
type AccountLimits struct {
	Storage     int64 // bytes of all streams on the disk; what would be more is refused to who publishes
	Memory      int64 // bytes of all streams in memory; at most what the server has for streams: three quarters of the machine's
	Connections int   // of clients over the network
	Streams     int   // a bucket is one, too
}

// account is one of the embedded server.
type account struct {
	acc    *server.Account
	conn   *nats.Conn // the host's own
	limits AccountLimits
}

// removeTimeout bounds how long a server may take to remove an account's streams.
const removeTimeout = time.Minute

// An account's name is that of a directory, and a part of what the server logs.
var accountName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// OpenAccount opens the account of a namespace, and makes it if there is none: with
// JetStream, and with the streams that it had when the server ended. It returns the
// host's own connection in it, which the Bus closes. Limits are those that are given,
// also if it was open before. [DefaultAccount] is always open.
//
// It returns [ErrExternal] for a server elsewhere, and what wraps [ErrStorage] while nothing
// is stored.
func (b *Bus) OpenAccount(name string, l AccountLimits) (*nats.Conn, error) {
	if err := b.checkAccount(name); err != nil {
		return nil, fmt.Errorf("bus: open namespace %q: %w", name, err)
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	conn, err := b.openAccount(name, l)
	if err != nil {
		return nil, fmt.Errorf("bus: open namespace %q: %w", name, err)
	}
	return conn, nil
}

func (b *Bus) openAccount(name string, l AccountLimits) (*nats.Conn, error) {
	if a := b.door.account(name); a != nil {
		return a.conn, b.limit(a, l)
	}
	if err := b.StorageErr(); err != nil {
		return nil, err
	}
	acc, _ := b.srv.LookupOrRegisterAccount(name)
	a := &account{acc: acc}
	if err := b.limit(a, l); err != nil {
		b.forget(acc)
		return nil, err
	}
	b.door.setAccount(name, a) // the host itself goes through the door
	conn, err := b.connect(name)
	if err != nil {
		b.door.setAccount(name, nil)
		b.forget(acc)
		return nil, err
	}
	a.conn = conn
	return conn, nil
}

// LimitAccount changes the limits of an account that is open. Who has more than a
// new limit keeps that, and gets no more.
//
// It returns [ErrNoAccount], or [ErrExternal] for a server elsewhere.
func (b *Bus) LimitAccount(name string, l AccountLimits) error {
	err := b.checkAccount(name)
	if err == nil {
		b.changing.Lock()
		defer b.changing.Unlock()
		if a := b.door.account(name); a == nil {
			err = ErrNoAccount
		} else {
			err = b.limit(a, l)
		}
	}
	if err != nil {
		return fmt.Errorf("bus: limit namespace %q: %w", name, err)
	}
	return nil
}

func (b *Bus) checkAccount(name string) error {
	if b.door == nil {
		return ErrExternal
	}
	if name == ControlAccount {
		return errors.New("it is the host's own: choose another name")
	}
	if !accountName.MatchString(name) {
		return errors.New("want a name of lower-case letters, digits, - and _, at most 64")
	}
	return nil
}

// limit turns JetStream on in an account, with limits. The server has them in two
// places: those that hold, and those it starts JetStream anew with.
func (b *Bus) limit(a *account, l AccountLimits) error {
	if l.Storage < 0 || l.Memory < 0 || l.Connections < 0 || l.Streams < 0 {
		return errors.New("a limit is negative: want 0 for none")
	}
	if err := setStreamLimits(a.acc, l); err != nil {
		if a.conn != nil {
			if err := setStreamLimits(a.acc, a.limits); err != nil {
				b.log.Warn("NATS: limits of namespace " + a.acc.Name + ": " + err.Error())
			}
		}
		if server.IsNatsErr(err, server.JSMemoryResourcesExceededErr) {
			err = fmt.Errorf("%w: namespaces together may keep no more in memory than three quarters of the machine's: choose a lower limit", err)
		}
		return err
	}
	b.door.mu.Lock()
	a.limits = l
	b.door.mu.Unlock()
	return nil
}

func setStreamLimits(acc *server.Account, l AccountLimits) error {
	limits := map[string]server.JetStreamAccountLimits{"": l.streams()}
	if err := acc.EnableJetStream(limits, nil); err != nil {
		return err
	}
	return acc.UpdateJetStreamLimits(limits)
}

func (l AccountLimits) streams() server.JetStreamAccountLimits {
	return server.JetStreamAccountLimits{
		MaxMemory: orUnlimited(l.Memory), MaxStore: orUnlimited(min(l.Storage, maxStore/1024)), MaxStreams: int(orUnlimited(int64(l.Streams))),
		MaxConsumers: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	}
}

func orUnlimited(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// RemoveAccount ends the connections of an account, deletes its streams and all that
// is on the disk, and ends what was exported from and to it. The name can be used
// anew. What the host itself runs in it must have ended. An account that is not open is
// removed as well: what its name has on the disk goes. If it fails, some of the
// streams may be left, and the account is closed; it can be removed again.
//
// It returns [ErrExternal] for a server elsewhere.
func (b *Bus) RemoveAccount(name string) error {
	err := b.checkAccount(name)
	if err == nil && name == DefaultAccount {
		err = errors.New("it is always there")
	}
	if err == nil {
		b.changing.Lock()
		defer b.changing.Unlock()
		err = b.removeAccount(name)
	}
	if err != nil {
		return fmt.Errorf("bus: remove namespace %q: %w", name, err)
	}
	return nil
}

func (b *Bus) removeAccount(name string) error {
	var deleted error
	if a := b.door.account(name); a != nil {
		b.door.setAccount(name, nil) // nobody comes in from here on
		b.door.endAll(name)
		deleted = deleteStreams(a.conn)
		a.conn.Close()
		b.unshareAll(name)
		b.forget(a.acc)
	}
	// Streams that could not be deleted are stopped now, and go with their files.
	dir := filepath.Join(b.dir, server.JetStreamStoreDir, name)
	for end := time.Now().Add(removeTimeout); ; time.Sleep(10 * time.Millisecond) {
		err := os.RemoveAll(dir) // the server may still be removing files on its own
		if err == nil {
			break
		}
		if time.Now().After(end) {
			return errors.Join(deleted, err)
		}
	}
	if deleted != nil {
		b.log.Warn("NATS: streams of namespace " + name + " were removed from the disk, as the server did not delete them: " + deleted.Error())
	}
	return nil
}

// deleteStreams deletes all streams in the account of a connection.
func deleteStreams(conn *nats.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	var names []string
	list := js.StreamNames(ctx)
	for name := range list.Name() {
		names = append(names, name)
	}
	if list.Err() != nil {
		return list.Err()
	}
	for _, name := range names {
		if err := js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
	}
	return nil
}

// account returns one that is open, or nil.
func (d *door) account(name string) *account {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.accounts[name]
}

// setAccount sets an account, or closes it: nil.
func (d *door) setAccount(name string, a *account) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a == nil {
		delete(d.accounts, name)
	} else {
		d.accounts[name] = a
	}
}

// endAll ends all network connections of a namespace.
func (d *door) endAll(namespace string) {
	for id, g := range d.guests.all() {
		if g.Namespace == namespace {
			d.end(id)
		}
	}
}
