package runs

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/outbound"
	"github.com/fnhost/fnhost/trigger"
)

// Callbacks are messages of the stream "callbacks" until they are delivered.
const (
	CallbackStream = "callbacks"
	callbackPrefix = "$FN.callback."

	callbackRetries  = 5
	callbackBackoff  = time.Second // which doubles
	callbackTimeout  = 10 * time.Second
	callbackInFlight = 32
	callbackWait     = 4 * callbackTimeout // until the server gives it to somebody else
)

// Headers of a callback.
const (
	HeaderSignature = "X-Fn-Signature"
	HeaderCallID    = "X-Call-Id"
	HeaderFunction  = "X-Function-Name"
	HeaderStatus    = "X-Function-Status"
	HeaderDuration  = "X-Duration-Seconds"
	HeaderDropped   = "X-Fn-Output-Dropped" // "true" if the output was too large to be kept
)

// Callback has the end of a run told to its callback URL: it is stored when Callback
// returns nil.
func (s *Store) Callback(ctx context.Context, run *trigger.Run) error {
	if run.Callback == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if err := s.ensure(ctx, jetstream.StreamConfig{
		Name: CallbackStream, Description: "results of calls on their way to callback URLs", Subjects: []string{callbackPrefix + ">"},
		Retention: jetstream.WorkQueuePolicy, MaxAge: Keep,
	}); err != nil {
		return err
	}
	c := *run
	c.Data = nil
	m, err := message(callbackPrefix+run.Function, &c)
	if err != nil {
		return err
	}
	id := fmt.Sprintf("%s:%d", run.ID, run.Input.Sequence)
	if _, err = s.js.PublishMsg(ctx, m, jetstream.WithMsgID(id), jetstream.WithExpectStream(CallbackStream)); err != nil {
		return fmt.Errorf("callback of %s: %w", run.ID, err)
	}
	s.deliverAll()
	return nil
}

// resume goes on with callbacks that an earlier host has left.
func (s *Store) resume() {
	for {
		_, err := s.js.Stream(s.ctx, CallbackStream)
		if err == nil {
			s.deliverAll()
		}
		none := errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled)
		if err == nil || none || s.sleep(2*time.Second) != nil {
			return
		}
	}
}

func (s *Store) sleep(d time.Duration) error {
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// deliverAll begins to deliver, if that has not been done.
func (s *Store) deliverAll() {
	s.delivers.Do(func() {
		s.tasks.Go(func() {
			failed := ""
			for s.ctx.Err() == nil {
				err := s.consume()
				if err != nil && s.ctx.Err() == nil && err.Error() != failed {
					failed = err.Error()
					s.log.Error("callbacks are not delivered: " + failed)
				}
				s.sleep(2 * time.Second)
			}
		})
	})
}

// consume delivers callbacks until the store is closed, or something is wrong.
func (s *Store) consume() error {
	ctx, cancel := context.WithTimeout(s.ctx, opTimeout)
	defer cancel()
	c, err := s.js.CreateOrUpdateConsumer(ctx, CallbackStream, jetstream.ConsumerConfig{
		Durable: CallbackStream, AckPolicy: jetstream.AckExplicitPolicy, AckWait: callbackWait, MaxDeliver: -1, MaxAckPending: callbackInFlight + 10_000,
	})
	if err != nil {
		return err
	}
	it, err := c.Messages(jetstream.PullMaxMessages(callbackInFlight))
	if err != nil {
		return err
	}
	defer context.AfterFunc(s.ctx, it.Stop)()
	places := make(chan bool, callbackInFlight)
	for {
		m, err := it.Next()
		if err != nil {
			return err
		}
		places <- true
		s.tasks.Go(func() {
			s.deliver(m)
			<-places
		})
	}
}

// deliver tries a callback once, and says what becomes of it.
func (s *Store) deliver(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		return
	}
	run, err := parse(m.Headers(), m.Data(), meta.Sequence.Stream)
	if err != nil {
		s.log.Error("a callback is lost: " + err.Error())
		m.Term()
		return
	}
	err = s.send(run)
	attempt := int(meta.NumDelivered)
	switch {
	case err == nil:
		m.Ack()
	case s.ctx.Err() != nil:
		m.Nak()
	case errors.Is(err, outbound.ErrPrivate) || attempt > callbackRetries:
		s.log.Error("a callback was given up: "+err.Error(), "function", run.Function, "run", run.ID, "attempts", attempt)
		if s.cfg.Failed != nil {
			s.cfg.Failed(run, err)
		}
		m.Term()
	default:
		delay := callbackBackoff << (attempt - 1)
		delay += time.Duration(mathrand.Int64N(int64(delay) / 5))
		s.log.Warn("a callback failed and is tried again: "+err.Error(), "function", run.Function, "run", run.ID, "attempt", attempt, "after", delay)
		m.NakWithDelay(delay)
	}
}

// send posts a result to its callback URL.
func (s *Store) send(run *trigger.Run) error {
	secret, err := s.secret()
	if err != nil {
		return err
	}
	body, contentType := run.Output, run.Header.Get("Content-Type")
	status := run.Status
	if e := run.Err(); e != nil && run.Status == 0 {
		status, contentType = trigger.StatusOf(e), "application/problem+json"
		title := http.StatusText(status)
		if run.State == trigger.RunCanceled {
			title = "Canceled"
		}
		if body, err = json.Marshal(struct {
			Title    string    `json:"title"`
			Status   int       `json:"status"`
			Detail   string    `json:"detail"`
			Code     wire.Code `json:"code"`
			Function string    `json:"function"`
		}{title, status, e.Error(), wire.AsError(e).Code, run.Function}); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, run.Callback, bytes.NewReader(body))
	if err != nil {
		return err
	}
	h := req.Header
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	if encoding := run.Header.Get("Content-Encoding"); encoding != "" {
		h.Set("Content-Encoding", encoding)
	}
	if run.Dropped {
		h.Set(HeaderDropped, "true")
	}
	h.Set("User-Agent", "fnhost")
	h.Set(HeaderCallID, run.ID)
	h.Set(HeaderFunction, run.Function)
	h.Set(HeaderStatus, strconv.Itoa(status))
	h.Set(HeaderDuration, strconv.FormatFloat(run.Duration.Seconds(), 'f', 6, 64))
	h.Set(HeaderSignature, Sign(secret, time.Now(), h, body))
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be kept
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s", req.URL.Redacted(), resp.Status)
	}
	return nil
}

// Sign returns the signature of a callback: t=<seconds since 1970>,v1=<hex of
// HMAC-SHA256 of "t.function.id.status.body">, with X-Function-Name, X-Call-Id and
// X-Function-Status of its header. A receiver computes the same of the t that it gets,
// refuses one that is old, and compares in constant time.
func Sign(secret string, at time.Time, h http.Header, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	t := strconv.FormatInt(at.Unix(), 10)
	io.WriteString(mac, strings.Join([]string{t, h.Get(HeaderFunction), h.Get(HeaderCallID), h.Get(HeaderStatus), ""}, "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// Secret returns the key that callbacks are signed with. It is made at first use.
func (s *Store) Secret() (string, error) { return s.secret() }

const secretFile = "callback.key"

func loadSecret(dir string) (string, error) {
	path := filepath.Join(dir, secretFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if err = writeNew(path, rand.Text()+rand.Text()+"\n"); err == nil {
			b, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return "", fmt.Errorf("key of callbacks: %w", err)
	}
	secret := strings.TrimSpace(string(b))
	if len(secret) < 32 {
		return "", fmt.Errorf("key of callbacks: %s is damaged: remove it for a new key", path)
	}
	return secret, nil
}

// writeNew makes a file with all of its content, unless there is one.
func writeNew(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)) // for its owner alone
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
