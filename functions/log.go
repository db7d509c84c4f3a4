package functions

import (
	"bytes"
	"context"
	"log/slog"
	"sync"

	"github.com/fnhost/fnhost/functions/wire"
)

// Log returns a logger whose records carry the function, version, worker and
// invocation of ctx. Outside of an invocation it is slog.Default().
func Log(ctx context.Context) *slog.Logger {
	s := scopeOf(ctx)
	if s == nil {
		return slog.Default()
	}
	return slog.New(newLogHandler(s))
}

// logHandler hands records to the runtime. A JSON handler does the work on the
// attributes and their groups; it writes to the sink that stands beside it.
type logHandler struct {
	attrs slog.Handler
	sink  *logSink
}

// attrGroup is the group that all attributes lie in, so that none is taken for
// what slog itself adds: the time, the level, the message.
const attrGroup = "a"

// logSink takes the attributes of one record at a time.
type logSink struct {
	mu  sync.Mutex
	s   *scope
	buf bytes.Buffer
}

func newLogHandler(s *scope) *logHandler {
	sink := &logSink{s: s}
	attrs := slog.NewJSONHandler(&sink.buf, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 { // time, level and message of the record
				return slog.Attr{}
			}
			return a
		},
	})
	return &logHandler{attrs: attrs.WithGroup(attrGroup), sink: sink}
}

func (h *logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	h.sink.mu.Lock()
	defer h.sink.mu.Unlock()
	h.sink.buf.Reset()
	if err := h.attrs.Handle(ctx, r); err != nil {
		return err
	}
	var b []byte
	if text, ok := bytes.CutPrefix(h.sink.buf.Bytes(), []byte(`{"`+attrGroup+`":`)); ok {
		b = bytes.TrimSuffix(text, []byte("}\n"))
	}
	h.sink.s.runtime.Log(ctx, h.sink.s.header.Get(wire.KeyInvocation), r.Level, r.Message, b)
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{attrs: h.attrs.WithAttrs(attrs), sink: h.sink}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{attrs: h.attrs.WithGroup(name), sink: h.sink}
}
