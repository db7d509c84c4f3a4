package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// Backuper writes all that a host keeps as one file.
type Backuper interface {
	Backup(ctx context.Context, w io.Writer) error
}

const backupType = "application/x-tar"

// errorTrailer is the trailer of an answer that could not go on.
const errorTrailer = "Fn-Error"

// backupStall is for how long a client may take nothing of a backup.
const backupStall = time.Minute

// errStopped ends a backup of a host that ends.
var errStopped = wire.Errorf(wire.Unavailable, "the host was stopped meanwhile: when it runs again, try again")

// backup answers with a backup. One that cannot go on has no end, and says why in a trailer.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(errStopped) })()
	out := &answer{w: w, control: http.NewResponseController(w)}
	err := s.backend.Backup(ctx, out)
	out.control.SetWriteDeadline(time.Time{}) // the connection may serve another request
	if err == nil || !out.begun {
		return err
	}
	if r.Context().Err() != nil {
		err = errors.New("its client has gone")
	}
	text := strings.NewReplacer("\r", " ", "\n", " ").Replace(err.Error())
	w.Header().Set(errorTrailer, text[:min(len(text), 1000)])
	s.log.Warn("a backup was not finished: " + text)
	NoteOutcome(r.Context(), err, "")
	return nil
}

// answer is the body of one of bytes, whose head is sent with the first of them.
type answer struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func (a *answer) Write(p []byte) (int, error) {
	if !a.begun {
		a.begun = true
		a.w.Header().Set("Content-Type", backupType)
		a.w.Header().Set("Trailer", errorTrailer)
	}
	if err := a.control.SetWriteDeadline(time.Now().Add(backupStall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return a.w.Write(p)
}

// Backup returns what reads a backup of the host. It ends with an error if the host could not go on. If the
// connection broke off, what was read is no backup: package backup verifies it.
func (c *Client) Backup(ctx context.Context) (io.ReadCloser, error) {
	resp, err := c.do(ctx, http.MethodGet, "/v1/backup", nil, nil)
	if err != nil {
		return nil, err
	}
	return &backupBody{resp}, nil
}

type backupBody struct{ resp *http.Response }

func (b *backupBody) Read(p []byte) (int, error) {
	n, err := b.resp.Body.Read(p)
	if err == io.EOF {
		if text := b.resp.Trailer.Get(errorTrailer); text != "" {
			err = errors.New(text)
		}
	}
	return n, err
}

func (b *backupBody) Close() error { return b.resp.Body.Close() }
