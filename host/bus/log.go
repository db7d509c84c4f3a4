package bus

import (
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// serverLog passes on what the NATS server says. The server's own logger ends
// the process on a fatal error; this one hands it to who waits for the start.
type serverLog struct {
	log    *slog.Logger
	fatal  chan string
	failed func(line string)      // is told of errors
	client func(line string) bool // takes a line that a client has caused
}

func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("NATS: " + fmt.Sprintf(format, v...))
}
func (l *serverLog) Warnf(format string, v ...any) {
	if line := fmt.Sprintf(format, v...); !l.client(line) {
		l.log.Warn("NATS: " + line)
	}
}
func (l *serverLog) Errorf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	if l.client(line) {
		return
	}
	l.log.Error("NATS: " + line)
	l.failed(line)
}
func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}

func (l *serverLog) Fatalf(format string, v ...any) {
	reason := fmt.Sprintf(format, v...)
	l.log.Error("NATS: " + reason)
	select {
	case l.fatal <- reason:
	default:
	}
}

// clientLine is how the server begins what it says of a connection, which is a pipe
// where there is a guard, as the host's own ones are.
var clientLine = regexp.MustCompile(`^\S+ - cid:(\d+) - `)

// said takes what the server says of a client of the network, which may say
// as much as it likes: of that one line a second is passed on, and it is no
// error of the host. Refused connections are told of by admit.
func (d *door) said(line string) bool {
	m := clientLine.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	if strings.Contains(line, authError) {
		return true
	}
	id, _ := strconv.ParseUint(m[1], 10, 64)
	g := d.guests.get(id)
	if g == nil {
		return false
	}
	args := []any{"remote", g.remote, "account", g.Account}
	if strings.Contains(line, refusedReply) || strings.Contains(line, "Violation") && strings.Contains(line, `Subject "`+inboxes) {
		hint := "its account has no inbox"
		if g.Inbox != "" {
			hint = "answers to this account go to an inbox of its own: --inbox-prefix=" + g.Inbox
		}
		args = append(args, "hint", hint)
	}
	d.violated.info("NATS: "+line, args...)
	return true
}

// authError is what the server says of who has shown no valid proof.
const authError = "authentication error"

// sparingLog writes one record a second at most, and how many it has left out.
type sparingLog struct {
	log *slog.Logger

	mu     sync.Mutex
	last   time.Time
	unsaid int
}

func (l *sparingLog) info(msg string, args ...any) {
	l.mu.Lock()
	now := time.Now()
	if now.Sub(l.last) < time.Second {
		l.unsaid++
		l.mu.Unlock()
		return
	}
	l.last = now
	if l.unsaid > 0 {
		args = append(args, "unsaid", l.unsaid)
		l.unsaid = 0
	}
	l.mu.Unlock()
	l.log.Info(msg, args...)
}
