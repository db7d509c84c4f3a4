package examples_test

import (
	"bytes"
	"image"
	"image/png"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/trigger/event"
)

// listen returns a function that waits for a message on a subject.
func (r *running) listen(t *testing.T, subject string) func() *nats.Msg {
	t.Helper()
	sub, err := r.Conn().SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	return func() *nats.Msg {
		t.Helper()
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		return m
	}
}

// send publishes an event, when the stream that takes it is there.
func (r *running) send(t *testing.T, subject string, data []byte) {
	t.Helper()
	js, err := jetstream.New(r.Conn())
	if err != nil {
		t.Fatal(err)
	}
	await(t, "a stream that takes "+subject, func() bool {
		_, err := js.StreamNameBySubject(t.Context(), subject)
		return err == nil
	})
	if stored, err := r.Publish(t.Context(), &nats.Msg{Subject: subject, Data: data}); err != nil || stored.Stream == "" {
		t.Fatalf("%s: %+v, %v", subject, stored, err)
	}
}

func testCheckout(t *testing.T, r *running) {
	shipped := r.listen(t, "checkout.shipped")
	r.send(t, "checkout.placed", []byte(`{"id":"1","card":"4000","cents":900}`))
	if got := string(shipped().Data); got != `{"id":"1","card":"4000","cents":900}` {
		t.Errorf("shipped %s", got)
	}
	r.send(t, "checkout.placed", []byte(`{"id":"2","card":"stolen","cents":900}`))
	await(t, "a dead letter", func() bool {
		found := false
		err := r.DeadLetters(t.Context(), "checkout", func(l *event.Letter) bool {
			found = strings.Contains(l.Error, "stolen") && l.Endpoint == "charge" && l.Attempts == 1
			return !found
		})
		return err == nil && found
	})
}

func testThumbnailer(t *testing.T, r *running) {
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 800, 600))); err != nil {
		t.Fatal(err)
	}
	thumbnail := r.listen(t, "thumbnails.cat")
	r.send(t, "uploads.cat", picture.Bytes())
	small, _, err := image.DecodeConfig(bytes.NewReader(thumbnail().Data))
	if err != nil || small.Width >= 800 || small.Width == 0 {
		t.Errorf("thumbnail of %d × %d, %v", small.Width, small.Height, err)
	}
	r.send(t, "uploads.text", []byte("no picture"))
	await(t, "a dead letter", func() bool {
		n := 0
		err := r.DeadLetters(t.Context(), "thumbnailer", func(*event.Letter) bool { n++; return true })
		return err == nil && n == 1
	})
}

func testNightly(t *testing.T, r *running) {
	done := r.listen(t, "nightly.done")
	for range 2 {
		if _, err := time.Parse(time.RFC3339, string(done().Data)); err != nil {
			t.Error(err)
		}
	}
}
