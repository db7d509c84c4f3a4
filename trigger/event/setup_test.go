package event

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
)

// All that a stream has is new if there was none, or another, before.
func TestAStreamThatIsMadeLaterAndAnew(t *testing.T) {
	f := newFixture(t)
	f.trigger.retryStream = f.trigger.retrySetup // the server tells of it anyway
	f.trigger.Update(table(map[string][]manifest.Event{"shop": {spec("a", func(s *manifest.Event) { s.Stream, s.Start = "LATER", "new" })}}))
	f.await("it waits", func() bool {
		err := f.reported()
		return err != nil && strings.Contains(err.Error(), "there is no stream LATER")
	})
	for i, text := range []string{"x", "y", "z"} {
		f.stream("LATER", "a")
		if _, err := f.js.Publish(t.Context(), "a", []byte(text), jetstream.WithExpectStream("LATER")); err != nil {
			t.Fatal(err)
		}
		f.await("it is handled", func() bool { return len(f.seen(text)) == 1 })
		if err := f.js.DeleteStream(t.Context(), "LATER"); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			f.await("it waits again", func() bool {
				err := f.reported()
				return err != nil && strings.Contains(err.Error(), "there is no stream LATER")
			})
		}
	}
}
