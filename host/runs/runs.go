// Package runs keeps what has become of asynchronous calls, and of events, and tells
// of the ends of calls by callbacks.
//
// The state of a call is one message, on $FN.run.<function>.<id> in the stream "runs",
// and the latest one wins; each is stored only if nobody has stored another one
// meanwhile. Attempts at events are messages on $FN.ran.<function> in the stream
// "ran", of which the latest thousand of each function are kept. Both are
// forgotten after a week, and the result of a call when its function's manifest says.
//
// The input of a call that is done, or was canceled, is not kept; that of one that
// failed is, beside its result. The input of an attempt at an event is in the stream of the event, as long
// as that has it.
package runs

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// Names in JetStream.
const (
	Stream      = "runs"
	EventStream = "ran"

	runPrefix = "$FN.run."
	ranPrefix = "$FN.ran."
	runHeader = "Fn-Run" // what is known of a run, as JSON
)

// Limits.
const (
	Keep      = 7 * 24 * time.Hour // of all records
	PerFunc   = 1000               // attempts at events that are kept of a function
	Successes = 20                 // attempts that went well and are recorded, of a function in a second

	opTimeout = 10 * time.Second
)

// Config says how a Store works.
type Config struct {
	Conn *nats.Conn
	// Dir is where the key is kept that callbacks are signed with.
	Dir string
	// PrivateCallbacks allows callbacks to addresses that are not public: of this
	// machine, and of networks around it.
	PrivateCallbacks bool
	// Failed is told of a callback that was given up. Default: nobody but the log.
	Failed func(run *trigger.Run, err error)
	Logger *slog.Logger // default: slog.Default
}

// Store keeps runs. Its methods are safe for concurrent use.
type Store struct {
	cfg Config
	js  jetstream.JetStream
	log *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	made    sync.Map // names of streams that are there → the stream
	making  sync.Mutex
	buckets sync.Map // function → *bucket
	records chan *trigger.Run
	start   sync.Once    // of keeping records
	left    atomic.Int64 // records that were left out

	secret   func() (string, error)
	client   *http.Client
	delivers sync.Once
}

// New returns a Store, which goes on with the callbacks that are stored.
func New(cfg Config) (*Store, error) {
	js, err := jetstream.New(cfg.Conn)
	if err != nil {
		return nil, fmt.Errorf("runs: %w", err)
	}
	s := &Store{cfg: cfg, js: js, log: cmp.Or(cfg.Logger, slog.Default()), records: make(chan *trigger.Run, 4096)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.secret = onceWell(func() (string, error) { return loadSecret(cfg.Dir) })
	s.client = guard(cfg.PrivateCallbacks).Client(callbackTimeout)
	s.tasks.Go(s.resume)
	return s, nil
}

// Close stops: callbacks in progress are handed back, for another node or the next
// start.
func (s *Store) Close() {
	s.cancel()
	s.tasks.Wait()
	s.client.CloseIdleConnections()
}

// ensure makes a stream if it is not there.
func (s *Store) ensure(ctx context.Context, cfg jetstream.StreamConfig) error {
	if _, ok := s.made.Load(cfg.Name); ok {
		return nil
	}
	s.making.Lock()
	defer s.making.Unlock()
	stream, err := s.js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		// Not given up in the middle: a server that is stopped just then would leave
		// something of it running.
		making, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
		defer cancel()
		stream, err = s.js.CreateStream(making, cfg)
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", cfg.Name, err)
	}
	if !slices.Equal(stream.CachedInfo().Config.Subjects, cfg.Subjects) {
		return fmt.Errorf("stream %s is somebody else's: rename that one", cfg.Name)
	}
	s.made.Store(cfg.Name, stream)
	return nil
}

// stream returns a stream that may be there; the server is asked for it once.
func (s *Store) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	if stream, ok := s.made.Load(name); ok {
		return stream.(jetstream.Stream), nil
	}
	stream, err := s.js.Stream(ctx, name)
	if err == nil {
		s.made.Store(name, stream)
	}
	return stream, err
}

func runStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: Stream, Description: "asynchronous calls of functions", Subjects: []string{runPrefix + ">"},
		MaxMsgsPerSubject: 1, MaxAge: Keep, AllowMsgTTL: true, AllowDirect: true}
}

func ranStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: EventStream, Description: "attempts of functions at events", Subjects: []string{ranPrefix + ">"},
		MaxMsgsPerSubject: PerFunc, MaxAge: Keep, AllowDirect: true}
}

// Put stores the state of a call, and sets its Revision. It returns an error of code
// Conflict if what is stored is not of that revision any more, 0 being that
// nothing is. A run that has ended is kept for that long.
func (s *Store) Put(ctx context.Context, run *trigger.Run, keep time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if err := s.ensure(ctx, runStream()); err != nil {
		return err
	}
	m, err := message(runPrefix+run.Function+"."+run.ID, run)
	if err != nil {
		return err
	}
	if limit := s.cfg.Conn.MaxPayload(); int64(m.Size()) > limit {
		c := *run
		c.Data = nil // a long input and a long answer do not fit both
		if m, err = message(m.Subject, &c); err != nil {
			return err
		}
	}
	opts := []jetstream.PublishOpt{jetstream.WithExpectStream(Stream), jetstream.WithExpectLastSequencePerSubject(run.Revision)}
	if run.State.Ended() {
		opts = append(opts, jetstream.WithMsgTTL(max(keep.Truncate(time.Second), time.Second)))
	}
	ack, err := s.js.PublishMsg(ctx, m, opts...)
	if isWrongSequence(err) {
		return wire.Errorf(wire.Conflict, "the state of the run %s has changed meanwhile", run.ID)
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", run.ID, err)
	}
	run.Revision = ack.Sequence
	return nil
}

// isWrongSequence reports whether somebody else has stored something meanwhile, or, in
// a cluster, is about to.
func isWrongSequence(err error) bool {
	var e *jetstream.APIError
	return errors.As(err, &e) &&
		(e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Get returns a call of a function, "*" for any. The error is of code NotFound if
// there is none of that ID.
func (s *Store) Get(ctx context.Context, function, id string) (*trigger.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	stream, err := s.stream(ctx, Stream)
	if err == nil {
		var m *jetstream.RawStreamMsg
		if m, err = stream.GetLastMsgForSubject(ctx, runPrefix+function+"."+id); err == nil {
			return parse(m.Header, m.Data, m.Sequence)
		}
	}
	return nil, lost(id, err)
}

// Event returns an attempt at an event, by the ID that it has in lists.
func (s *Store) Event(ctx context.Context, id string) (*trigger.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	seq, err := strconv.ParseUint(strings.TrimPrefix(id, EventID), 10, 64)
	if err != nil || seq == 0 {
		return nil, lost(id, jetstream.ErrMsgNotFound)
	}
	stream, err := s.stream(ctx, EventStream)
	if err == nil {
		var m *jetstream.RawStreamMsg
		if m, err = stream.GetMsg(ctx, seq); err == nil {
			return parseEvent(m.Header, m.Data, m.Sequence)
		}
	}
	return nil, lost(id, err)
}

// Input returns the data of an event that is the input of a run, nil if its stream
// does not hold it any more.
func (s *Store) Input(ctx context.Context, in trigger.RunInput) []byte {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, in.Stream)
	if err != nil {
		return nil
	}
	m, err := stream.GetMsg(ctx, in.Sequence)
	if err != nil || m.Subject != in.Subject {
		return nil
	}
	return m.Data
}

// EventID begins the IDs of attempts at events; no call has such a one.
const EventID = "@"

func lost(id string, err error) error {
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return wire.Errorf(wire.NotFound, "no run %.64q: it never was, or is not kept any more", id)
	}
	return fmt.Errorf("run %s: %w", id, err)
}

// message makes the one that stores a run.
func message(subject string, run *trigger.Run) (*nats.Msg, error) {
	text, err := json.Marshal(run)
	if err != nil {
		return nil, err
	}
	m := nats.NewMsg(subject)
	m.Header.Set(runHeader, string(text))
	data := make([]byte, 0, 8+len(run.Header)+len(run.Output)+len(run.Data))
	data = append(binary.BigEndian.AppendUint32(data, uint32(len(run.Header))), run.Header...)
	data = append(binary.BigEndian.AppendUint32(data, uint32(len(run.Output))), run.Output...)
	m.Data = append(data, run.Data...)
	return m, nil
}

var errDamaged = errors.New("a record of a run is damaged")

// parse is the reverse of message. A record without its data has no answer.
func parse(h nats.Header, data []byte, seq uint64) (*trigger.Run, error) {
	run := &trigger.Run{Revision: seq}
	if err := json.Unmarshal([]byte(h.Get(runHeader)), run); err != nil {
		return nil, fmt.Errorf("%w: %v", errDamaged, err)
	}
	for _, part := range []*[]byte{(*[]byte)(&run.Header), &run.Output} {
		if len(data) < 4 {
			return run, nil
		}
		n := binary.BigEndian.Uint32(data)
		if int64(n) > int64(len(data)-4) {
			return nil, errDamaged
		}
		*part, data = data[4:4+n], data[4+n:]
	}
	if len(data) > 0 {
		run.Data = data
	}
	return run, nil
}

func parseEvent(h nats.Header, data []byte, seq uint64) (*trigger.Run, error) {
	run, err := parse(h, data, seq)
	if err == nil {
		run.ID = EventID + strconv.FormatUint(seq, 10)
	}
	return run, err
}

// onceWell is [sync.OnceValues] that tries again after an error.
func onceWell[T any](do func() (T, error)) func() (T, error) {
	var mu sync.Mutex
	var done bool
	var v T
	return func() (T, error) {
		mu.Lock()
		defer mu.Unlock()
		if done {
			return v, nil
		}
		var err error
		if v, err = do(); err == nil {
			done = true
		}
		return v, err
	}
}
