package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
)

// listener is what of a host listens somewhere.
type listener struct {
	what, flag, address string
	info                func(admin.Info) string // its URL
}

func listeners(cfg *host.Config) []listener {
	return []listener{
		{"gateway", "http", cfg.HTTP, func(i admin.Info) string { return i.HTTP }},
		{"admin", "admin", cfg.Admin, func(i admin.Info) string { return i.Admin }},
		{"nats", "nats", cfg.NATS, func(i admin.Info) string { return i.NATS }},
	}
}

// checkFree returns an error that names all addresses of cfg that are taken, and
// who has taken them.
func checkFree(ctx context.Context, cfg *host.Config) error {
	var taken []string
	var others []string
	for _, l := range listeners(cfg) {
		if !isTaken(l.address) {
			continue
		}
		taken = append(taken, fmt.Sprintf("%s (%s)", l.address, l.what))
		others = append(others, processAt(l.address).String())
	}
	if len(taken) == 0 {
		return nil
	}
	text := strings.Join(taken, ", ")
	if n := len(taken) - 1; n > 0 {
		text = strings.Join(taken[:n], ", ") + " and " + taken[n] + " are in use"
	} else {
		text += " is in use"
	}
	info, err := runningAt(ctx, cfg.Admin)
	if by := listed(others); err == nil {
		text += ": fnhost already runs here" + runsAs(info)
	} else if by != "" {
		text += " by " + by
	}
	return portsError(text)
}

// runsAs tells a host that runs from others.
func runsAs(info admin.Info) string {
	var what []string
	if info.PID != 0 {
		what = append(what, fmt.Sprintf("process %d", info.PID))
	}
	if len(info.Watch) > 0 {
		what = append(what, "watching "+strings.Join(info.Watch, ", "))
	}
	if len(what) == 0 {
		return ""
	}
	return " (" + strings.Join(what, ", ") + ")"
}

// portsError says which addresses are taken.
type portsError string

func (e portsError) Error() string { return string(e) }

// Is makes it an error of a taken address.
func (e portsError) Is(err error) bool { return err == syscall.EADDRINUSE }

// isTaken reports whether somebody else listens on an address.
func isTaken(address string) bool {
	if address == "" {
		return false
	}
	l, err := net.Listen("tcp", address)
	if err == nil {
		l.Close()
	}
	return errors.Is(err, syscall.EADDRINUSE)
}

// listed joins names, each once.
func listed(names []string) string {
	seen := make(map[string]bool)
	var list []string
	for _, name := range names {
		if name != "" && !seen[name] {
			list = append(list, name)
		}
		seen[name] = true
	}
	return strings.Join(list, " and ")
}

// runningAt asks the fnhost whose admin address this is. One that wants a token
// that nobody has here tells no more than that it is one.
func runningAt(ctx context.Context, address string) (admin.Info, error) {
	if address == "" {
		return admin.Info{}, admin.ErrUnreachable
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s := server{URL: "http://" + address}
	if list, err := loadServers(); err == nil {
		s = list.byURL(s.URL)
	}
	c, err := s.client("", "")
	if err != nil {
		return admin.Info{}, err
	}
	info, err := c.Info(ctx)
	var e *functions.Error
	if errors.As(err, &e) && e.Code == wire.Unauthorized {
		return admin.Info{PID: processAt(address).pid, Admin: s.URL}, nil
	}
	return info, err
}

// process is one that runs on this machine.
type process struct {
	pid  int
	name string
}

// String returns "" for a process that could not be found out.
func (p process) String() string {
	if p.pid == 0 {
		return ""
	}
	return fmt.Sprintf("%s (process %d)", p.name, p.pid)
}

// isOf reports whether an address is that of a URL.
func isOf(address, of string) bool {
	u, err := url.Parse(of)
	return err == nil && u.Host != "" && u.Host == address
}
