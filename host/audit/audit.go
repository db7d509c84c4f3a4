// Package audit keeps who has changed what at a host, or was refused: a record of each
// such request, in the stream "audit" of the host's own state.
//
// Records form a chain: each holds the SHA-256 of the one before, as it is stored, and
// several nodes append to one chain. [Log.Verify] finds a record that was changed, or
// taken out of the middle. It cannot find the newest ones missing, or a chain that
// somebody made anew from some record on who may write to the stores of the host: who
// fears that keeps the hash that Verify returns elsewhere, and compares.
//
// Nobody waits for a record to be stored, and nothing is refused because one cannot be:
// those that could not go to the log as warnings, and the next record that is stored
// says how many are missing. A process that is killed loses those of its last moment.
//
// Records hold names, and never a token, a secret, a value or a body.
package audit

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Stream is the name of the stream of records.
const Stream = "audit"

const subject = "$FN.audit"

// Limits.
const (
	// DefaultDays is for how many days records are kept.
	DefaultDays = 90
	// Queue is how many records may wait to be stored.
	Queue = 1024

	storeTimeout = 5 * time.Second // of one record
	storePause   = 200 * time.Millisecond
)

// ErrClosed is the error of what is asked of a [Log] that was closed.
var ErrClosed = errors.New("audit: closed")

// errForeign is for a stream of that name which is not of records.
var errForeign = errors.New("stream " + Stream + " is somebody else's: rename that one")

// Entry is what there is to tell of a request.
type Entry struct {
	Time      time.Time `json:"time"`                // default: now
	Account   string    `json:"account,omitempty"`   // who; "" where nobody is asked for proof
	Namespace string    `json:"namespace,omitempty"` // where
	Action    string    `json:"action"`              // such as "functions.release"
	Resource  string    `json:"resource,omitempty"`  // such as "function:orders"
	Remote    string    `json:"remote,omitempty"`    // address of the client, without its port
	OK        bool      `json:"ok"`                  // it was done
	Error     string    `json:"error,omitempty"`     // code of why not
	Detail    string    `json:"detail,omitempty"`
	Node      string    `json:"node,omitempty"` // that was asked; default: that of Config
}

// Record is an Entry as it is stored.
type Record struct {
	Sequence uint64 `json:"sequence"`
	Entry
	Missing int64  `json:"missing,omitempty"` // records of this node before it that could not be stored
	Prev    string `json:"prev,omitempty"`    // SHA-256 of the record before, in hex; "" for the first one
	Damaged bool   `json:"damaged,omitempty"` // it cannot be read, and says nothing
}

// stored is a Record without what the stream knows.
type stored struct {
	Entry
	Missing int64  `json:"missing,omitempty"`
	Prev    string `json:"prev,omitempty"`
}

// Config says how a Log works.
type Config struct {
	Conn *nats.Conn
	// Days is for how many days records are kept. Default: [DefaultDays].
	Days int
	// Node is the name of this host. Default: none.
	Node string
	// Logger gets the records that cannot be stored. Default: [slog.Default].
	Logger *slog.Logger
}

// Log appends records and reads them. Its methods are safe for concurrent use.
type Log struct {
	cfg     Config
	js      jetstream.JetStream
	log     *slog.Logger
	ctx     context.Context
	cancel  context.CancelFunc
	ended   chan struct{} // closed when the writer has ended
	missing atomic.Int64

	mu     sync.Mutex // guards what follows
	closed bool
	queue  chan Entry

	// Of the writer alone.
	made bool   // the stream is there
	last uint64 // sequence of the newest record
	hash string // of that
	know bool   // last and hash are those of the stream, as far as is known
}

// New returns a Log, which makes its stream at the first record.
func New(cfg Config) (*Log, error) {
	js, err := jetstream.New(cfg.Conn)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	cfg.Days = cmp.Or(cfg.Days, DefaultDays)
	l := &Log{cfg: cfg, js: js, log: cmp.Or(cfg.Logger, slog.Default()), ended: make(chan struct{}), queue: make(chan Entry, Queue)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	go l.write()
	return l, nil
}

// Record has an entry stored, and does not wait for that.
func (l *Log) Record(e Entry) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time, e.Node = e.Time.UTC(), cmp.Or(e.Node, l.cfg.Node)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		l.lose(e, ErrClosed)
		return
	}
	select {
	case l.queue <- e:
	default:
		l.lose(e, errors.New("too many wait to be stored"))
	}
}

// Close stores what waits for that, until ctx ends: what is left then goes to the log.
func (l *Log) Close(ctx context.Context) {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.queue)
	}
	l.mu.Unlock()
	select {
	case <-l.ended:
	case <-ctx.Done():
		l.cancel()
		<-l.ended
	}
	l.cancel()
}

// lose tells of an entry that is not stored.
func (l *Log) lose(e Entry, err error) {
	l.missing.Add(1)
	l.log.Warn("an audit record is not stored: "+err.Error(), "time", e.Time, "account", e.Account, "namespace", e.Namespace, "action", e.Action,
		"resource", e.Resource, "remote", e.Remote, "ok", e.OK, "error", e.Error, "detail", e.Detail)
}

// write stores entries one after the other: each one needs the hash of the one before.
func (l *Log) write() {
	defer close(l.ended)
	for e := range l.queue {
		if err := l.store(e); err != nil {
			l.lose(e, err)
		}
	}
	if n := l.missing.Load(); n > 0 && l.ctx.Err() == nil {
		l.store(Entry{Time: time.Now().UTC(), Action: "audit.missing", Node: l.cfg.Node})
	}
}

// store appends an entry, again while the stream cannot be written.
func (l *Log) store(e Entry) error {
	ctx, cancel := context.WithTimeout(l.ctx, storeTimeout)
	defer cancel()
	id := rand.Text() // so that one whose answer was lost is not stored twice
	for {
		err := l.append(ctx, e, id)
		if err == nil || errors.Is(err, errForeign) {
			return err
		}
		l.know = false
		pause := storePause
		if isWrongSequence(err) {
			pause = 0 // another node was first
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

func (l *Log) append(ctx context.Context, e Entry, id string) error {
	if err := l.ensure(ctx); err != nil {
		return err
	}
	missing := l.missing.Load()
	data, err := json.Marshal(stored{Entry: e, Missing: missing, Prev: l.hash})
	if err != nil {
		return err
	}
	ack, err := l.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: data},
		jetstream.WithExpectStream(Stream), jetstream.WithExpectLastSequence(l.last), jetstream.WithMsgID(id))
	if err != nil {
		return err
	}
	l.missing.Add(-missing)
	l.last, l.hash = ack.Sequence, hashOf(data)
	l.know = !ack.Duplicate
	return nil
}

// ensure makes the stream if it is not there, and finds its end if that is not known.
func (l *Log) ensure(ctx context.Context) error {
	if l.know {
		return nil
	}
	s, err := l.js.Stream(ctx, Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		l.made = false
		// Not given up in the middle: a server that is stopped just then would leave
		// something of it running.
		making, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
		defer cancel()
		s, err = l.js.CreateStream(making, l.stream())
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", Stream, err)
	}
	cfg := s.CachedInfo().Config
	if !slices.Equal(cfg.Subjects, []string{subject}) {
		return errForeign
	}
	if want := l.stream().MaxAge; !l.made && cfg.MaxAge != want {
		cfg.MaxAge = want
		if s, err = l.js.UpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("stream %s: keeping records for %d days: %w", Stream, l.cfg.Days, err)
		}
	}
	l.made = true
	l.last, l.hash = s.CachedInfo().State.LastSeq, ""
	if s.CachedInfo().State.Msgs > 0 {
		m, err := s.GetMsg(ctx, l.last)
		if err != nil {
			return fmt.Errorf("the newest record: %w", err)
		}
		l.hash = hashOf(m.Data)
	}
	l.know = true
	return nil
}

// stream is how the stream is made: the server itself refuses to take records out.
func (l *Log) stream() jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: Stream, Description: "who has changed what", Subjects: []string{subject},
		MaxAge: time.Duration(l.cfg.Days) * 24 * time.Hour, DenyDelete: true, DenyPurge: true}
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// isWrongSequence reports whether somebody else has stored something meanwhile, or, in
// a cluster, is about to.
func isWrongSequence(err error) bool {
	var e *jetstream.APIError
	return errors.As(err, &e) &&
		(e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
