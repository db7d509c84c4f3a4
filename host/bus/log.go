package bus

import (
	"fmt"
	"log/slog"
)

// serverLog passes on what the NATS server says. The server's own logger ends
// the process on a fatal error; this one hands it to who waits for the start.
type serverLog struct {
	log    *slog.Logger
	fatal  chan string
	failed func(line string) // is told of errors
}

func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("NATS: " + fmt.Sprintf(format, v...))
}
func (l *serverLog) Warnf(format string, v ...any) { l.log.Warn("NATS: " + fmt.Sprintf(format, v...)) }
func (l *serverLog) Errorf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
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
