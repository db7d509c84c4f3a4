package host_test

import (
	"fmt"
	mathrand "math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const orderedSource = `package ordered

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	time.Sleep(time.Millisecond)
	if e.Attempt == 1 && strings.HasSuffix(string(e.Data), "7") {
		return errors.New("not yet")
	}
	return functions.Publish(ctx, "seen", e.Data)
}
`

const orderedManifest = "triggers:\n  event:\n    - {subject: work.*, start: all, retries: 1000, backoff: 10ms, backoffMax: 100ms, inFlight: 8, order: key}\n"

// publishKeys sends events of some keys in turn, "key number", until there are so many.
func (k *killable) publishKeys(from, to, keys int) (sent int) {
	nc, js, err := k.connect()
	if err != nil {
		return from
	}
	defer nc.Close()
	for i := from; i < to; i++ {
		m := nats.NewMsg(fmt.Sprint("work.", i%keys))
		m.Data = fmt.Appendf(nil, "%d %d", i%keys, i)
		if _, err := js.PublishMsg(k.t.Context(), m, jetstream.WithRetryAttempts(0), jetstream.WithMsgID(fmt.Sprint(i))); err != nil {
			return i
		}
	}
	return to
}

// handled returns the events in the order in which they have first ended well, by key.
func (k *killable) handled() (byKey map[string][]int, all, again int) {
	nc, js, err := k.connect()
	if err != nil {
		k.t.Fatal(err)
	}
	defer nc.Close()
	seen, err := js.OrderedConsumer(k.t.Context(), "SEEN", jetstream.OrderedConsumerConfig{})
	if err != nil {
		k.t.Fatal(err)
	}
	byKey, known := make(map[string][]int), make(map[int]bool)
	for {
		batch, err := seen.FetchNoWait(1000)
		if err != nil {
			k.t.Fatal(err)
		}
		came := 0
		for m := range batch.Messages() {
			came++
			key, number, _ := strings.Cut(string(m.Data()), " ")
			n, err := strconv.Atoi(number)
			if err != nil {
				k.t.Fatal(err)
			}
			if known[n] {
				again++
				continue
			}
			known[n] = true
			byKey[key] = append(byKey[key], n)
		}
		if came == 0 {
			return byKey, len(known), again
		}
	}
}

// awaitHandled waits until so many events are.
func (k *killable) awaitHandled(events int) (byKey map[string][]int, again int) {
	k.t.Helper()
	all := 0
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if byKey, all, again = k.handled(); all >= events {
			return byKey, again
		}
		if time.Now().After(deadline) {
			k.t.Fatalf("%d of %d events are handled", all, events)
		}
	}
}

func TestAHostKilledDuringEventsKeepsTheirOrder(t *testing.T) {
	const events, keys, kills = 1500, 20, 2
	k := &killable{t: t, dir: benchDir(t, map[string]string{"ordered/ordered.go": orderedSource, "ordered/function.yaml": orderedManifest, "echo/echo.go": echoSource})}
	makeStreams(t, filepath.Join(k.dir, "data"), "work.*", 2*time.Minute)
	t.Cleanup(func() { k.kill() })
	k.start()
	k.built()
	sent, workers := 0, 0
	for i := range kills {
		sent = k.publishKeys(sent, events*(i+1)/(kills+1), keys)
		k.awaitHandled(sent / 2)
		time.Sleep(time.Duration(mathrand.IntN(100)) * time.Millisecond)
		workers += k.killWorkers()
		sent = k.publishKeys(sent, sent+events/20, keys)
		k.kill()
		k.start()
	}
	if sent = k.publishKeys(sent, events, keys); sent != events {
		t.Fatalf("%d of %d events are stored", sent, events)
	}
	begin := time.Now()
	byKey, again := k.awaitHandled(events)
	wrong := 0
	for key, list := range byKey {
		for i := 1; i < len(list); i++ {
			if list[i] < list[i-1] {
				if wrong++; wrong < 5 {
					t.Errorf("key %s: %d comes after %d", key, list[i], list[i-1])
				}
			}
		}
	}
	t.Logf("%d events, %d kills of the host and %d of workers: %d out of order, %d handled more than once; the rest took %v",
		events, kills, workers, wrong, again, time.Since(begin).Round(100*time.Millisecond))
	if workers == 0 {
		t.Error("no worker was killed")
	}
}
