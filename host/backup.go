package host

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/backup"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/secrets"
)

// errBackingUp is the error of a second backup.
var errBackingUp = wire.Errorf(wire.Conflict, "another backup of this host is being made, or its master key or a namespace is being changed: wait for the end of that, and try again")

// Backup writes all that the host keeps to w, as one file that [Restore] takes: the streams of its NATS server with
// their consumers, and of the data directory what cannot be made anew. The host serves
// meanwhile; package backup says what is consistent. The master key of secrets is not part of it, and secrets are sealed in it;
// all else is not encrypted there, also of a host with Config.EncryptStore. The master key is not changed meanwhile.
//
// w gets a backup only if the error is nil; [backup.Verify] tells what got one. It must
// not block for more than some seconds. The error is of code Conflict while another backup is being made,
// of BadRequest for a host whose NATS server runs elsewhere, of Unavailable while
// nothing can be stored, and [ErrClosed]; it is that of w if writing fails.
func (h *Host) Backup(ctx context.Context, w io.Writer) (err error) {
	if h.isClosed() {
		return closedError{}
	}
	if h.cfg.NATSURL != "" {
		return wire.Errorf(wire.BadRequest, "the streams of this host are those of a NATS server that runs elsewhere: back them up there (`nats account backup`), "+
			"and copy admin.token, callback.key and git of %s", h.cfg.Dir)
	}
	if err := unavailable(h.bus.StorageErr()); err != nil {
		return err
	}
	if !h.backingUp.TryLock() {
		return errBackingUp
	}
	defer h.backingUp.Unlock()
	all, err := h.accounts()
	if err != nil {
		return err
	}
	if h.registry != nil {
		defer h.registry.Hold()()
	}
	for _, ns := range *h.live.Load() {
		defer ns.events.Hold()()
	}
	ctx, stop := h.whileStoring(ctx)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-h.stopped:
			cancel(closedError{})
		case <-ctx.Done():
		}
	}()
	src := backup.Source{Accounts: all, Dir: h.cfg.Dir, Version: Version, Encrypted: h.cfg.EncryptStore}
	src.Keys, err = keysOfSecrets(ctx, h.bus)
	if err == nil {
		err = backup.Write(ctx, w, src)
	}
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	return err
}

// accounts are those of all namespaces, and the host's own. The error says which
// namespace does not serve, so that it would be missing.
func (h *Host) accounts() ([]backup.Account, error) {
	list := []backup.Account{{Name: bus.ControlAccount, Conn: h.bus.Control()}}
	for _, n := range h.Namespaces() {
		ns := h.lookUp(n.Name)
		if ns == nil {
			return nil, wire.Errorf(wire.Unavailable, "the namespace %q would be missing in a backup: %s", n.Name, n.Error)
		}
		list = append(list, backup.Account{Name: n.Name, Conn: ns.conn})
	}
	return list, nil
}

// keysOfSecrets returns the IDs of the master keys of what is stored.
func keysOfSecrets(ctx context.Context, b *bus.Bus) ([]string, error) {
	bucket, err := openControlBucket(ctx, b, secretsBucket)
	if errors.Is(err, kv.ErrNoBucket) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return secrets.KeysOf(ctx, bucket)
}

// Backup implements [admin.Backend].
func (b backend) Backup(ctx context.Context, w io.Writer) error {
	if err := b.ofTheHost("a backup"); err != nil {
		return err
	}
	err := b.host.Backup(ctx, w)
	var e *wire.Error
	if err != nil && !errors.As(err, &e) {
		err = fmt.Errorf("%w: nothing was changed, try again", err)
	}
	return err
}
