package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
)

// share is a subject of one account that another one has as well.
type share struct {
	from, to, subject string
	service           bool
}

// ExportSubject has what is published in one namespace, under a subject with or without
// wildcards, reach those who subscribe to it in another one, and in that one alone. It
// returns an error that says why if a message would arrive twice, or where it
// came from, or an account is not open. It is to be said again after a restart; twice is as once.
//
// The streams of the other namespace take it as well. Answers do not come back: see
// [Bus.ExportService]. JetStream does not answer in the namespace to for a moment.
func (b *Bus) ExportSubject(from, to, subject string) error {
	return b.changeShare("export", share{from, to, subject, false}, b.addShare)
}

// ExportService lets those in the namespace to make requests, which are answered in
// the namespace from, under a subject with or without wildcards. One answer comes back for each.
// It is otherwise as [Bus.ExportSubject], and not for a subject that is exported by that.
func (b *Bus) ExportService(from, to, subject string) error {
	return b.changeShare("export", share{from, to, subject, true}, b.addShare)
}

// UnexportSubject ends what ExportSubject has begun, at once; it is no error if it has not.
// JetStream does not answer in the namespace to for a moment.
func (b *Bus) UnexportSubject(from, to, subject string) error {
	return b.changeShare("unexport", share{from, to, subject, false}, b.dropShare)
}

// UnexportService ends what ExportService has begun, as UnexportSubject does.
func (b *Bus) UnexportService(from, to, subject string) error {
	return b.changeShare("unexport", share{from, to, subject, true}, b.dropShare)
}

func (b *Bus) changeShare(verb string, s share, change func(share) error) error {
	err := func() error {
		if b.door == nil {
			return ErrExternal
		}
		if first, _, _ := strings.Cut(s.subject, "."); !server.IsValidSubject(s.subject) || first == "*" || first == ">" || strings.HasPrefix(first, "$") || strings.HasPrefix(first, "_") {
			return errors.New("want a subject whose first part is a name: no wildcard, and no $ or _ before it")
		}
		if s.from == s.to || s.from == ControlAccount || s.to == ControlAccount {
			return errors.New("want two namespaces")
		}
		b.changing.Lock()
		defer b.changing.Unlock()
		return change(s)
	}()
	if err != nil {
		return fmt.Errorf("bus: %s %q of namespace %q to %q: %w", verb, s.subject, s.from, s.to, err)
	}
	return nil
}

func (b *Bus) addShare(s share) error {
	from, to := b.door.account(s.from), b.door.account(s.to)
	if from == nil || to == nil {
		return ErrNoAccount
	}
	if slices.Contains(b.shares, s) {
		return nil
	}
	for _, o := range b.shares {
		if o.from == s.from && o.to == s.to && server.SubjectsCollide(o.subject, s.subject) {
			return fmt.Errorf("%q is exported already: end that first, or choose subjects that do not overlap", o.subject)
		}
	}
	if b.flows(s.sink(), s.source(), s.subject) {
		return errors.New("it would come back to where it was published, by way of other exports: end one of those first")
	}
	// Who may import is not the server's to decide: only the host imports.
	if s.service {
		if err := errors.Join(from.acc.AddServiceExport(s.subject, nil), to.acc.AddServiceImport(from.acc, s.subject, s.subject)); err != nil {
			return err
		}
		b.shares = append(b.shares, s)
		return nil
	}
	if err := from.acc.AddStreamExport(s.subject, nil); err != nil {
		return err
	}
	b.shares = append(b.shares, s)
	b.rebuild(to, s.to) // an import that is merely added does not reach who has subscribed before
	return nil
}

// source and sink say which way messages go, if not answers.
func (s share) source() string {
	if s.service {
		return s.to
	}
	return s.from
}

func (s share) sink() string {
	if s.service {
		return s.from
	}
	return s.to
}

// flows reports whether what is published in one account reaches another. The
// shares that are there hold no circle.
func (b *Bus) flows(from, to, subject string) bool {
	if from == to {
		return true
	}
	return slices.ContainsFunc(b.shares, func(s share) bool {
		return s.source() == from && server.SubjectsCollide(s.subject, subject) && b.flows(s.sink(), to, subject)
	})
}

func (b *Bus) dropShare(s share) error {
	had := len(b.shares)
	b.shares = slices.DeleteFunc(b.shares, func(o share) bool { return o == s })
	if to := b.door.account(s.to); to != nil && len(b.shares) < had {
		b.rebuild(to, s.to)
	}
	return nil
}

// unshareAll ends what is exported from and to an account that is removed.
func (b *Bus) unshareAll(name string) {
	var changed []string
	b.shares = slices.DeleteFunc(b.shares, func(s share) bool {
		if s.from == name {
			changed = append(changed, s.to)
		}
		return s.from == name || s.to == name
	})
	slices.Sort(changed)
	for _, other := range slices.Compact(changed) {
		if a := b.door.account(other); a != nil {
			b.rebuild(a, other)
		}
	}
}

// rebuild has the server make an account's exports and imports anew, as it does for accounts
// that are described elsewhere and have changed: it has no other way to take one
// away.
func (b *Bus) rebuild(a *account, name string) {
	claims := jwt.NewAccountClaims(name)
	l := a.limits.streams()
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{
		MemoryStorage: l.MaxMemory, DiskStorage: l.MaxStore, Streams: int64(l.MaxStreams), Consumer: -1, MaxAckPending: -1,
		MemoryMaxStreamBytes: -1, DiskMaxStreamBytes: -1,
	}
	for _, s := range b.shares {
		kind := jwt.Stream
		if s.service {
			kind = jwt.Service
		}
		if s.from == name {
			claims.Exports.Add(&jwt.Export{Subject: jwt.Subject(s.subject), Type: jwt.ExportType(kind)})
		}
		if s.to == name {
			claims.Imports.Add(&jwt.Import{Account: s.from, Subject: jwt.Subject(s.subject), Type: jwt.ExportType(kind)})
		}
	}
	b.srv.UpdateAccountClaims(a.acc, claims)
}

// forget takes exports, imports and streams from an account, which the server itself keeps
// to its end.
func (b *Bus) forget(acc *server.Account) {
	b.srv.UpdateAccountClaims(acc, jwt.NewAccountClaims(acc.Name))
}
