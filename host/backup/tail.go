package backup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"
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
	ctx, cancel := context.WithTimeoutCause(ctx, tailTimeout, errTooFast)
	defer cancel()
	last = s.last
	open, since := false, time.Time{} // the latest message is one of an atomic batch of which others are to come
	take := func(m *message) error {
		last = m.Seq
		open, since = bytes.Contains(m.Header, []byte("Nats-Batch-Id:")) && !bytes.Contains(m.Header, []byte("Nats-Batch-Commit:")), time.Now()
		return writeMessage(out, m)
	}
	for done := false; (!done || open && time.Since(since) < batchPatience) && (end == nil || last < *end); {
		if done { // between the messages of a batch, which the server stores one after the other
			time.Sleep(time.Millisecond)
		}
		if s.config.AllowDirect {
			done, err = s.batch(ctx, last+1, take)
		} else {
			done, err = s.next(ctx, last+1, take)
		}
		if err != nil {
			return 0, cmp.Or(context.Cause(ctx), err)
		}
	}
	return last, nil
}

// batchPatience is how long the rest of an atomic batch is waited for: what does not come by then was there, and has
// been removed.
const batchPatience = time.Second

var errTooFast = errors.New("it is written to faster than it can be read: try again when there is less to do")

// next gives take the first message from a sequence on. It reports true if there is none.
func (s *live) next(ctx context.Context, seq uint64, take func(*message) error) (bool, error) {
	var answer struct {
		Message *message `json:"message"`
	}
	err := request(ctx, s.account.Conn, apiGet+s.name, map[string]any{"seq": seq, "next_by_subj": ">"}, &answer)
	if isNoMessage(err) {
		return true, nil
	}
	if err == nil && answer.Message == nil {
		err = errors.New("the server's answer holds no message")
	}
	if err != nil {
		return false, err
	}
	return false, take(answer.Message)
}

// A batch is what the server gives at once, between two writes: at most so many messages, and about so many bytes.
const (
	batchSize  = 1000
	batchBytes = 4 << 20
)

// batch gives take the next messages from a sequence on. It reports true if there was no other at that moment.
func (s *live) batch(ctx context.Context, seq uint64, take func(*message) error) (bool, error) {
	conn := s.account.Conn
	sub, err := conn.SubscribeSync(conn.NewInbox())
	if err != nil {
		return false, err
	}
	defer sub.Unsubscribe()
	sub.SetPendingLimits(-1, -1) // the batch bounds it
	req := fmt.Sprintf(`{"seq":%d,"next_by_subj":">","batch":%d,"max_bytes":%d}`, seq, batchSize, batchBytes)
	if err := conn.PublishRequest(apiDirect+s.name, sub.Subject, []byte(req)); err != nil {
		return false, err
	}
	for {
		m, err := nextChunk(ctx, sub)
		if err != nil {
			return false, err
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			one, err := direct(m)
			if err == nil {
				err = take(one)
			}
			if err != nil {
				return false, err
			}
		case "204": // the end of the batch
			return m.Header.Get("Nats-Num-Pending") == "0", nil
		case "404":
			return true, nil
		case "503":
			if err := request(ctx, conn, apiInfo+s.name, struct{}{}, nil); err != nil {
				return false, err // that it is no more, as a rule
			}
			return false, errors.New("it does not give messages any more: try again")
		default:
			return false, fmt.Errorf("the server's answer: %s %s", status, m.Header.Get("Description"))
		}
	}
}

// direct returns the message that the server has answered with: it says in added headers what that is.
func direct(m *nats.Msg) (*message, error) {
	added := make(map[string]string)
	for _, name := range []string{"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending", "Nats-Last-Sequence"} {
		values := m.Header.Values(name)
		if len(values) == 0 {
			return nil, fmt.Errorf("the server's answer has no %s", name)
		}
		added[name] = values[len(values)-1]
		if m.Header[name] = values[:len(values)-1]; len(values) == 1 {
			delete(m.Header, name)
		}
	}
	one := &message{Subject: added["Nats-Subject"], Data: m.Data}
	var err error
	if one.Seq, err = strconv.ParseUint(added["Nats-Sequence"], 10, 64); err == nil {
		one.Time, err = time.Parse(time.RFC3339Nano, added["Nats-Time-Stamp"])
	}
	if err != nil {
		return nil, fmt.Errorf("the server's answer: %w", err)
	}
	if len(m.Header) > 0 {
		one.Header = []byte("NATS/1.0\r\n")
		for _, name := range slices.Sorted(maps.Keys(m.Header)) {
			for _, value := range m.Header[name] {
				one.Header = fmt.Appendf(one.Header, "%s: %s\r\n", name, value)
			}
		}
		one.Header = append(one.Header, "\r\n"...)
	}
	return one, nil
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
