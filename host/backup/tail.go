package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server/archive"
)

// tailTimeout bounds how long a stream is read that is written to faster.
const tailTimeout = 2 * time.Minute

// message is one of a stream, as the server's API gives it.
type message struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Header  []byte    `json:"hdrs"`
	Data    []byte    `json:"data"`
	Time    time.Time `json:"time"`
}

// addTail writes what a stream has taken since its snapshot. Where messages take the place of others
// it reads until nothing is behind what it has read; else until what is there now.
func (w *writer) addTail(ctx context.Context, s *live) error {
	var info struct {
		Created time.Time   `json:"created"`
		State   streamState `json:"state"`
	}
	if err := request(ctx, s.account.Conn, apiInfo+s.name, struct{}{}, &info); err != nil {
		return err
	}
	if !info.Created.Equal(s.created) {
		return nil // it is another one by now
	}
	tail := tailEntry{Last: max(info.State.Last, s.last)}
	end := &tail.Last
	if s.config.PerSubject > 0 || s.config.AllowRollup {
		end = nil
	}
	out := &parts{w: w, prefix: s.prefix + tailPrefix}
	enc := s2.NewWriter(out, s2.WriterConcurrency(1))
	last, err := s.readTail(ctx, archive.NewWriter(enc), end)
	if err = errors.Join(err, enc.Close()); err != nil {
		return err
	}
	if err := out.flush(); err != nil {
		return err
	}
	tail.Last = max(tail.Last, last)
	return w.addJSON(s.prefix+tailName, tail)
}

// readTail copies the messages behind the snapshot, up to end unless that is nil, and returns the
// sequence of the latest one.
func (s *live) readTail(ctx context.Context, out *archive.Writer, end *uint64) (last uint64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, tailTimeout,
		fmt.Errorf("it is written to faster than it can be read: try again when there is less to do"))
	defer cancel()
	last = s.last
	for end == nil || last < *end {
		m, err := s.next(ctx, last+1)
		if isNoMessage(err) {
			return last, nil
		}
		if err != nil {
			return 0, errors.Join(err, context.Cause(ctx))
		}
		if end != nil && m.Seq > *end {
			return last, nil
		}
		last = m.Seq
		if err := writeMessage(out, m); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// next returns the first message from a sequence on.
func (s *live) next(ctx context.Context, seq uint64) (*message, error) {
	var answer struct {
		Message *message `json:"message"`
	}
	err := request(ctx, s.account.Conn, apiGet+s.name, map[string]any{"seq": seq, "next_by_subj": ">"}, &answer)
	if err == nil && answer.Message == nil {
		err = errors.New("the server's answer holds no message")
	}
	return answer.Message, err
}

func writeMessage(out *archive.Writer, m *message) error {
	h := &archive.Header{Name: m.Subject, Timestamp: m.Time.UnixNano(), Sequence: m.Seq, HeaderSize: int64(len(m.Header)), PayloadSize: int64(len(m.Data))}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	if _, err := out.Write(m.Header); err != nil {
		return err
	}
	_, err := out.Write(m.Data)
	return err
}
