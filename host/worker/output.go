package worker

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/host/logs"
)

const (
	maxLine       = 16 << 10 // bytes; longer lines are cut into several
	maxLineRate   = 5000     // lines a second of one stream; more are counted and left out
	tailLines     = 8
	tailLineBytes = 400
)

// outputPipes are the standard output and error of a worker.
type outputPipes struct{ outR, outW, errR, errW *os.File }

func (p *outputPipes) open() (err error) {
	if p.outR, p.outW, err = os.Pipe(); err != nil {
		return err
	}
	if p.errR, p.errW, err = os.Pipe(); err != nil {
		p.outR.Close()
		p.outW.Close()
	}
	return err
}

func (p *outputPipes) closeWriters() {
	p.outW.Close()
	p.errW.Close()
}

func (p *outputPipes) closeReaders() {
	p.outR.Close()
	p.errR.Close()
}

// copyLines passes on each line that the worker writes. It always reads on, so
// that a worker never blocks on its output.
func (w *native) copyLines(r io.Reader, source logs.Source) {
	br := bufio.NewReaderSize(r, maxLine)
	var rate lineRate
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			w.line(strings.TrimRight(string(line), "\r\n"), source, &rate)
		}
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
	}
}

func (w *native) line(text string, source logs.Source, rate *lineRate) {
	now := time.Now()
	switch pass, first := rate.allow(now); {
	case first:
		w.pool.output(logs.Record{Time: now, Level: slog.LevelWarn, Source: logs.Host, Worker: w.id,
			Message: fmt.Sprintf("lines of %s are left out: more than %d in one second", source, maxLineRate)})
		return
	case !pass:
		return
	}
	r := logs.Record{Time: now, Level: slog.LevelInfo, Source: source, Worker: w.id, Message: text}
	w.pool.redact(&r)
	if source == logs.Stderr {
		r.Level = slog.LevelWarn
		w.last.add(r.Message)
	}
	w.pool.output(r)
}

// lineRate counts lines by the second.
type lineRate struct {
	second int64
	lines  int
}

// allow reports whether a line may pass, and whether it is the first of its
// second that may not.
func (r *lineRate) allow(now time.Time) (pass, first bool) {
	if s := now.Unix(); s != r.second {
		*r = lineRate{second: s}
	}
	r.lines++
	return r.lines <= maxLineRate, r.lines == maxLineRate+1
}

// tail keeps the latest lines that a worker wrote to standard error.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(line) > tailLineBytes {
		line = line[:tailLineBytes] + "…"
	}
	t.lines = append(t.lines, line)
	if len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
}

// quoted returns the lines to go behind an error message.
func (t *tail) quoted() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return ""
	}
	return itWrote + strings.Join(t.lines, "\n\t")
}

const itWrote = "; it wrote:\n\t"

// CutOutput returns an error message of a pool without the lines that it quotes
// of a worker that did not start. [Spec].Output has got them.
func CutOutput(message string) string {
	before, _, _ := strings.Cut(message, itWrote)
	return before
}
