package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
)

// keptLogin is what the user has who has logged in to a server. Without tokens it is one that
// has ended: commands must not fall back to another token, and so to being somebody else.
type keptLogin struct {
	Account string    `json:"account"`
	Access  string    `json:"access,omitempty"`
	Expires time.Time `json:"expires,omitzero"` // of Access
	Refresh string    `json:"refresh,omitempty"`
}

func newLogin(l admin.Login) *keptLogin {
	return &keptLogin{Account: l.Account, Access: l.Access, Expires: l.Expires, Refresh: l.Refresh}
}

// renewBefore is how long before its end an access token is replaced.
const renewBefore = 30 * time.Second

// renewTimeout bounds a refresh, which nothing else ends: if its answer is lost, so is the login.
const renewTimeout = 15 * time.Second

// fresh reports whether the access token is good for a request, and not one that was refused.
func (l *keptLogin) fresh(refused string) bool {
	return l.Access != "" && l.Access != refused && time.Until(l.Expires) > renewBefore
}

// session is a login of a server while a command runs. It is safe for concurrent use.
type session struct {
	server server

	mu    sync.Mutex
	login keptLogin // as it was last read
}

func newSession(s *server) *session { return &session{server: *s, login: *s.Login} }

// token returns an access token; refused is one that the host did not take, "" for none.
func (s *session) token(ctx context.Context, refused string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.login.fresh(refused) {
		return s.login.Access, nil
	}
	if err := s.renew(ctx, refused); err != nil {
		return "", err
	}
	return s.login.Access, nil
}

// renew gets new tokens, unless another command has done so. A refresh token that came
// twice would end the login, so that one command at a time reads it, uses it and writes
// the next one.
func (s *session) renew(ctx context.Context, refused string) error {
	unlock, err := lockServers(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	list, err := loadServers()
	if err != nil {
		return err
	}
	entry, ok := list.Servers[s.server.name]
	if !ok || entry.Login == nil || entry.URL != s.server.URL {
		return fmt.Errorf("another command has logged %s out of %s: `fnhost login %[2]s` begins a new login", s.login.Account, s.server.name)
	}
	if s.login = *entry.Login; s.login.fresh(refused) {
		return nil
	}
	if s.login.Refresh == "" {
		return s.ended(nil)
	}
	if err := list.save(); err != nil { // what cannot be kept must not be asked for
		return err
	}
	next, err := s.refresh(ctx)
	if errors.Is(err, &wire.Error{Code: wire.Unauthorized}) {
		entry.Login = &keptLogin{Account: s.login.Account}
		list.Servers[s.server.name] = entry
		return errors.Join(s.ended(err), list.save())
	}
	if err != nil {
		return err
	}
	entry.Login = newLogin(next)
	list.Servers[s.server.name], s.login = entry, *entry.Login
	return list.save()
}

func (s *session) refresh(ctx context.Context) (admin.Login, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
	defer cancel()
	c, err := s.server.connect(admin.ClientOptions{})
	if err != nil {
		return admin.Login{}, err
	}
	return c.Refresh(ctx, s.login.Refresh)
}

func (s *session) ended(why error) error {
	text := ""
	if why != nil { // without what it says to do, which is below
		what, _, _ := strings.Cut(why.Error(), "`")
		if what = strings.TrimRight(what, " :;"); what != "the login has ended" {
			text = " (" + what + ")"
		}
	}
	return fmt.Errorf("the login of %s to %s has ended%s: `fnhost login %[2]s` begins a new one, `fnhost logout %[2]s` forgets it", s.login.Account, s.server.name, text)
}

// lockServers waits until no other command changes the file of the user's hosts.
func lockServers(ctx context.Context) (unlock func(), err error) {
	path, err := serversFile()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	// A file of its own: the other one is replaced by each change.
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("servers: lock %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
