package backup

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"
)

// RestoreStreams has NATS servers take the streams of a backup, which r reads: those of each account on its
// connection. None of them may be there. It returns the server's error, with the name of the stream, and one that
// wraps [ErrDamaged] if the backup is not the one any more that [Verify] has read.
func (ix *Index) RestoreStreams(ctx context.Context, r io.ReadSeeker, accounts []Account) error {
	conns := make(map[string]*nats.Conn)
	for _, a := range accounts {
		conns[a.Name] = a.Conn
	}
	for _, s := range ix.streams {
		conn := conns[s.account]
		if conn == nil {
			return fmt.Errorf("restore: stream %s is of account %q, which this fnhost does not have", s.name, s.account)
		}
		if err := s.restore(ctx, r, conn); err != nil {
			return fmt.Errorf("restore: stream %s of account %s: %w", s.name, s.account, err)
		}
	}
	return nil
}

// restore has the server take a stream.
func (s *stored) restore(ctx context.Context, r io.ReadSeeker, conn *nats.Conn) error {
	var cfg streamConfig
	if err := json.Unmarshal(s.about.Config, &cfg); err != nil {
		return fmt.Errorf("its configuration: %w", err)
	}
	if cfg.Name != s.name {
		return fmt.Errorf("%w: it is called %q", ErrDamaged, cfg.Name)
	}
	drop, err := s.replaced(r, cfg)
	if err != nil {
		return err
	}
	var answer struct {
		Subject string `json:"deliver_subject"`
	}
	if err := request(ctx, conn, apiRestore+s.name, s.about, &answer); err != nil {
		return err
	}
	out := &sender{ctx: ctx, conn: conn, subject: answer.Subject}
	enc := s2.NewWriter(out, s2.WriterConcurrency(1), s2.WriterBlockSize(restoreChunk))
	err = s.merge(r, archive.NewWriter(enc), drop)
	if err = errors.Join(err, enc.Close()); err != nil {
		return err
	}
	return out.end()
}

// restoreChunk is how many bytes are sent at once.
const restoreChunk = 512 << 10

// sender sends chunks, each when the server has taken the one before.
type sender struct {
	ctx     context.Context
	conn    *nats.Conn
	subject string
}

func (s *sender) Write(data []byte) (int, error) {
	for rest := data; len(rest) > 0; {
		n := min(len(rest), restoreChunk)
		if err := s.send(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(data), nil
}

func (s *sender) end() error { return s.send(nil) }

func (s *sender) send(data []byte) error {
	ctx, cancel := context.WithTimeout(s.ctx, sendTimeout)
	defer cancel()
	m, err := s.conn.RequestWithContext(ctx, s.subject, data)
	if err != nil {
		return fmt.Errorf("the server does not take it: %w", err)
	}
	if len(m.Data) == 0 {
		return nil
	}
	return decode(m.Data, nil)
}

const sendTimeout = 2 * apiTimeout

// snapshotState is the state in a snapshot: that of the server, as it is, but for what
// changes here.
type snapshotState map[string]any

// merge writes the snapshot that the server is given: the one of the backup with its tail, without what
// was replaced, and without the consumers of those who are gone.
func (s *stored) merge(r io.ReadSeeker, out *archive.Writer, drop map[uint64]bool) error {
	in := archive.NewReader(s2.NewReader(newEntries(r, s.parts)))
	state, list, err := readHead(in)
	if err != nil {
		return err
	}
	if first, _ := state["first_seq"].(json.Number); first == "" || first == "0" {
		state["first_seq"] = 1
	}
	state["consumer_count"] = len(list)
	last, err := number(state["last_seq"])
	if err != nil {
		return err
	}
	state["last_seq"] = max(last, s.tail.Last)
	delete(state, "messages") // the server counts
	data, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if err := writeRecord(out, &archive.Header{Name: "state.json", PayloadSize: int64(len(data))}, data); err != nil {
		return err
	}
	for _, c := range list {
		if err := writeRecord(out, c.header, c.data); err != nil {
			return err
		}
	}
	if err := copyMessages(out, in, drop); err == io.EOF {
		return fmt.Errorf("%w: its snapshot has no end", ErrDamaged)
	} else if err != nil {
		return err
	}
	if err := copyMessages(out, s.tailReader(r), drop); err != nil && err != io.EOF {
		return err
	}
	return out.WriteHeader(&archive.Header{}) // the end
}

func number(v any) (uint64, error) {
	var n uint64
	text, _ := v.(json.Number)
	if _, err := fmt.Sscan(string(text), &n); err != nil {
		return 0, fmt.Errorf("%w: the state of its snapshot: %q", ErrDamaged, text)
	}
	return n, nil
}

func (s *stored) tailReader(r io.ReadSeeker) *archive.Reader {
	return archive.NewReader(s2.NewReader(newEntries(r, s.tails)))
}

func writeRecord(out *archive.Writer, h *archive.Header, data []byte) error {
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err := out.Write(data)
	return err
}

// consumerRecord is a consumer in a snapshot.
type consumerRecord struct {
	header *archive.Header
	data   []byte
}

// readHead reads what comes before the messages. Consumers that are not durable belong to
// somebody who is gone.
func readHead(in *archive.Reader) (state snapshotState, list []consumerRecord, err error) {
	h, err := in.Next()
	if err != nil || h.Name != "state.json" {
		return nil, nil, fmt.Errorf("%w: its snapshot has no state (%v)", ErrDamaged, err)
	}
	d := json.NewDecoder(io.LimitReader(in, maxJSON))
	d.UseNumber()
	if err := d.Decode(&state); err != nil {
		return nil, nil, fmt.Errorf("%w: the state of its snapshot: %v", ErrDamaged, err)
	}
	count, err := number(state["consumer_count"])
	if err != nil {
		return nil, nil, err
	}
	for range count {
		h, err := in.Next()
		if err != nil || !strings.HasPrefix(h.Name, "consumers/") {
			return nil, nil, fmt.Errorf("%w: a consumer is missing in its snapshot (%v)", ErrDamaged, err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			return nil, nil, fmt.Errorf("its consumers: %w", err)
		}
		var c struct {
			Config struct {
				Durable string `json:"durable_name"`
			} `json:"config"`
		}
		if err := json.Unmarshal(data, &c); err != nil {
			return nil, nil, fmt.Errorf("%w: %s: %v", ErrDamaged, h.Name, err)
		}
		if c.Config.Durable != "" {
			list = append(list, consumerRecord{h, data})
		}
	}
	return state, list, nil
}

// copyMessages copies messages up to the end of a snapshot. The error is io.EOF for one that ends without a mark.
func copyMessages(out *archive.Writer, in *archive.Reader, drop map[uint64]bool) error {
	buf := make([]byte, 64<<10)
	for {
		h, err := in.Next()
		if err != nil || h.Sequence == 0 {
			return err
		}
		if drop[h.Sequence] {
			continue
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, buf); err != nil {
			return err
		}
	}
}

// replaced returns the sequences that the stream itself had dropped when its tail was read. Only subjects that
// are in the tail can have any.
func (s *stored) replaced(r io.ReadSeeker, cfg streamConfig) (map[uint64]bool, error) {
	if len(s.tails) == 0 || cfg.PerSubject <= 0 && !cfg.AllowRollup {
		return nil, nil
	}
	subjects := make(map[string][]uint64)
	rollups := make(map[string]uint64) // the latest of a subject, "" of all
	err := eachMessage(s.tailReader(r), func(h *archive.Header, header []byte) {
		subjects[h.Name] = nil
		switch rollupOf(header) {
		case "sub":
			rollups[h.Name] = h.Sequence
		case "all":
			rollups[""] = h.Sequence
		}
	})
	if err != io.EOF {
		return nil, err
	}
	drop := make(map[uint64]bool)
	note := func(h *archive.Header, _ []byte) {
		list, ok := subjects[h.Name]
		if h.Sequence < rollups[""] || ok && h.Sequence < rollups[h.Name] {
			drop[h.Sequence] = true
			return
		}
		if !ok || cfg.PerSubject <= 0 {
			return
		}
		list = append(list, h.Sequence)
		if int64(len(list)) > cfg.PerSubject {
			drop[list[0]] = true
			list = slices.Delete(list, 0, 1)
		}
		subjects[h.Name] = list
	}
	in := archive.NewReader(s2.NewReader(newEntries(r, s.parts)))
	if _, _, err := readHead(in); err != nil {
		return nil, err
	}
	if err := eachMessage(in, note); err != nil {
		return nil, err
	}
	if err := eachMessage(s.tailReader(r), note); err != io.EOF {
		return nil, err
	}
	return drop, nil
}

// eachMessage calls fn with messages up to the end of a snapshot. The error is io.EOF for one that ends
// without a mark.
func eachMessage(in *archive.Reader, fn func(h *archive.Header, header []byte)) error {
	for {
		h, err := in.Next()
		if err != nil || h.Sequence == 0 {
			return err
		}
		header, err := io.ReadAll(io.LimitReader(in, h.HeaderSize))
		if err != nil {
			return err
		}
		fn(h, header)
	}
}

// rollupOf returns what a message replaces: "sub" what is on its subject, "all" everything, "" nothing.
func rollupOf(header []byte) string {
	for line := range strings.SplitSeq(string(header), "\r\n") {
		if value, ok := strings.CutPrefix(line, "Nats-Rollup:"); ok {
			return strings.ToLower(strings.TrimSpace(value))
		}
	}
	return ""
}

// entries reads the content of entries, one after the other.
type entries struct {
	r    io.ReadSeeker
	list []entry
	now  io.Reader
}

func newEntries(r io.ReadSeeker, list []entry) *entries { return &entries{r: r, list: list} }

func (e *entries) Read(p []byte) (int, error) {
	for {
		if e.now == nil {
			if len(e.list) == 0 {
				return 0, io.EOF
			}
			var err error
			if e.now, err = e.list[0].open(e.r); err != nil {
				return 0, err
			}
			e.list = e.list[1:]
		}
		n, err := e.now.Read(p)
		if err != io.EOF {
			return n, err
		}
		e.now = nil
		if n > 0 {
			return n, nil
		}
	}
}

// open returns what reads the content of an entry. It ends with an error if that is not what
// it was when the backup was verified.
func (e entry) open(r io.ReadSeeker) (io.Reader, error) {
	if _, err := r.Seek(e.offset, io.SeekStart); err != nil {
		return nil, err
	}
	return &content{e: e, r: io.LimitReader(r, e.size), hash: sha256.New()}, nil
}

type content struct {
	e    entry
	r    io.Reader
	n    int64
	hash hash.Hash
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.hash.Write(p[:n])
	if err == io.EOF && (c.n != c.e.size || [sha256.Size]byte(c.hash.Sum(nil)) != c.e.sum) {
		err = fmt.Errorf("%w: %s was changed since it was verified", ErrDamaged, c.e.name)
	}
	return n, err
}
