package backup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Account is one of the NATS server, whose streams are backed up.
type Account struct {
	Name string
	Conn *nats.Conn
}

// Source is what is backed up.
type Source struct {
	Accounts  []Account
	Dir       string   // the data directory
	Version   string   // of fnhost
	Keys      []string // see [Header]
	Encrypted bool
}

// live is a stream that is being backed up.
type live struct {
	account Account
	name    string
	prefix  string // of its entries
	created time.Time
	config  streamConfig
	last    uint64 // the last sequence of its snapshot
}

// streamConfig is what of the configuration of a stream matters here.
type streamConfig struct {
	Name        string                    `json:"name"`
	Retention   jetstream.RetentionPolicy `json:"retention"`
	PerSubject  int64                     `json:"max_msgs_per_subject"`
	AllowRollup bool                      `json:"allow_rollup_hdrs"`
	AllowDirect bool                      `json:"allow_direct"`
}

// Write writes a backup to w while the host serves, in bounded memory. Streams that are kept in memory
// alone are left out: they do not survive their host. Whoever calls it holds what is removed
// once nothing names it any more; see the package. When it returns an error w has got no backup: what it has got
// does not pass [Verify].
//
// w must not block for longer than some seconds: the NATS server breaks a snapshot off which nobody reads for five.
func Write(ctx context.Context, w io.Writer, src Source) error {
	out := newWriter(w)
	h := Header{Format: Format, Time: time.Now().UTC(), Version: src.Version, Dir: src.Dir, Keys: src.Keys, Encrypted: src.Encrypted}
	h.Host, _ = os.Hostname()
	for _, a := range src.Accounts {
		h.Accounts = append(h.Accounts, a.Name)
	}
	if err := out.addJSON(headerName, h); err != nil {
		return err
	}
	kept, err := out.addSnapshots(ctx, src.Accounts)
	if err != nil {
		return err
	}
	if err := out.addFiles(ctx, src.Dir); err != nil {
		return err
	}
	slices.SortStableFunc(kept, func(a, b *live) int { return cmp.Compare(a.turn(), b.turn()) })
	for _, s := range kept {
		if err := out.addTail(ctx, s); err != nil && !isGone(err) {
			return s.failed(err)
		}
	}
	return out.end()
}

// addSnapshots writes what the server gives of all streams, and returns these. A stream that was made meanwhile
// may hold what an event has led to that is acknowledged in another one: they are listed until none is new.
func (w *writer) addSnapshots(ctx context.Context, accounts []Account) (kept []*live, err error) {
	known := make(map[string]bool)
	for found := true; found; {
		list, err := listStreams(ctx, accounts)
		if err != nil {
			return nil, err
		}
		found = false
		for _, s := range list {
			if known[s.prefix] {
				continue
			}
			err := w.addSnapshot(ctx, s)
			if isGone(err) {
				continue // removed meanwhile
			}
			if err != nil {
				return nil, s.failed(err)
			}
			known[s.prefix], found = true, true
			kept = append(kept, s)
		}
	}
	return kept, nil
}

func (s *live) failed(err error) error {
	return fmt.Errorf("backup: stream %s of account %s: %w", s.name, s.account.Name, err)
}

// turn is when the tail of a stream is read; see the package for why.
func (s *live) turn() int {
	switch {
	case s.name == "seen":
		return 0
	case s.name == "later":
		return 1
	case s.name == "calls":
		return 2
	case s.name == "callbacks":
		return 3
	case s.config.Retention != jetstream.LimitsPolicy:
		return 4
	case s.name == "effects":
		return 9
	case strings.HasPrefix(s.name, "OBJ_"):
		return 8 // what other streams name
	case s.name == "dead", s.name == "runs", s.name == "ran":
		return 7 // where things come to their end
	case strings.HasPrefix(s.name, "KV_"):
		return 6
	}
	return 5
}

// listStreams returns the streams of accounts that are kept in files.
func listStreams(ctx context.Context, accounts []Account) (list []*live, err error) {
	for _, a := range accounts {
		js, err := jetstream.New(a.Conn)
		if err != nil {
			return nil, fmt.Errorf("backup: account %s: %w", a.Name, err)
		}
		streams := js.ListStreams(ctx)
		for info := range streams.Info() {
			if info.Config.Storage == jetstream.FileStorage {
				list = append(list, &live{account: a, name: info.Config.Name, created: info.Created, prefix: streamsDir + a.Name + "/" + info.Config.Name + "/"})
			}
		}
		if err := streams.Err(); err != nil {
			return nil, fmt.Errorf("backup: streams of account %s: %w", a.Name, err)
		}
	}
	slices.SortFunc(list, func(a, b *live) int { return strings.Compare(a.prefix, b.prefix) })
	return list, nil
}

// The server's API, and what of its answers matters.
const (
	apiSnapshot = "$JS.API.STREAM.SNAPSHOT."
	apiRestore  = "$JS.API.STREAM.RESTORE."
	apiInfo     = "$JS.API.STREAM.INFO."
	apiGet      = "$JS.API.STREAM.MSG.GET."
	apiDirect   = "$JS.API.DIRECT.GET."
)

type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return e.Description }

// Codes of the server's errors.
const (
	codeNoStream  = 10059
	codeNoMessage = 10037
)

func isGone(err error) bool {
	var e *apiError
	return errors.As(err, &e) && e.ErrCode == codeNoStream
}

func isNoMessage(err error) bool {
	var e *apiError
	return errors.As(err, &e) && e.ErrCode == codeNoMessage
}

// streamState is what of the state of a stream matters.
type streamState struct {
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	First    uint64 `json:"first_seq"`
	Last     uint64 `json:"last_seq"`
}

// request asks the server for something. Its answer is decoded into v.
func request(ctx context.Context, conn *nats.Conn, subject string, req, v any) error {
	data, err := json.Marshal(req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	m, err := conn.RequestWithContext(ctx, subject, data)
	if err != nil {
		return fmt.Errorf("%s: %w", strings.TrimPrefix(subject, "$JS.API."), err)
	}
	return decode(m.Data, v)
}

// apiTimeout bounds one request, beside a context that ends sooner: a server on a slow disk may take a while.
const apiTimeout = time.Minute

// decode decodes an answer of the server.
func decode(data []byte, v any) error {
	var answer struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	if answer.Error != nil {
		return answer.Error
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(data, v)
}

// addSnapshot writes what the server gives of a stream.
func (w *writer) addSnapshot(ctx context.Context, s *live) error {
	conn := s.account.Conn
	inbox := conn.NewInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer sub.Unsubscribe()
	sub.SetPendingLimits(-1, -1) // the window bounds it
	var about streamEntry
	err = request(ctx, conn, apiSnapshot+s.name, map[string]any{
		"deliver_subject": inbox, "jsck": true, "chunk_size": snapshotChunk, "window_size": snapshotWindow,
	}, &about)
	if err != nil {
		return err
	}
	var state streamState
	if err := errors.Join(json.Unmarshal(about.Config, &s.config), json.Unmarshal(about.State, &state)); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	s.last = state.Last
	if err := w.addJSON(s.prefix+streamName, about); err != nil {
		return err
	}
	out := &parts{w: w, prefix: s.prefix + partPrefix}
	if err := receive(ctx, sub, out); err != nil {
		return err
	}
	return out.flush()
}

// A snapshot comes in chunks, of which so many bytes may be on their way.
const (
	snapshotChunk  = 128 << 10
	snapshotWindow = 4 << 20
	chunkTimeout   = time.Minute
)

// receive copies the chunks of a snapshot, each of which is acknowledged when out has taken it, so that the server
// sends no faster than they are taken.
func receive(ctx context.Context, sub *nats.Subscription, out io.Writer) error {
	for {
		m, err := nextChunk(ctx, sub)
		if err != nil {
			return err
		}
		if len(m.Data) == 0 {
			if status := m.Header.Get("Status"); status != "" && status != "204" {
				return fmt.Errorf("the server has broken the snapshot off: %s %s", status, m.Header.Get("Description"))
			}
			return nil
		}
		if _, err := out.Write(m.Data); err != nil {
			return err
		}
		if m.Reply != "" {
			if err := m.Respond(nil); err != nil {
				return err
			}
		}
	}
}

func nextChunk(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	waiting, cancel := context.WithTimeout(ctx, chunkTimeout)
	defer cancel()
	m, err := sub.NextMsgWithContext(waiting)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("the server sends no more of the snapshot: %w", err)
	}
	return m, err
}
