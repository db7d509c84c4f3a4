package host_test

import (
	"bufio"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
)

const observedSource = `package observed

import (
	"context"
	"os"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	if string(e.Data) == "exit" && e.Attempt == 1 {
		os.Exit(3)
	}
	return functions.Publish(ctx, "seen", e.Data)
}
`

// atomicSource has its effect once, even where its worker ends right after it.
const atomicSource = `package observed

import (
	"context"
	"os"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	err := functions.Atomically(ctx, func(ctx context.Context) error {
		return functions.Publish(ctx, "seen", e.Data)
	})
	if err == nil && string(e.Data) == "exit" && e.Attempt == 1 {
		os.Exit(3)
	}
	return err
}
`

const observedManifest = "triggers:\n  event:\n    - {subject: work, start: all, retries: 1000, backoff: 10ms, backoffMax: 100ms}\n"

// killable is a host in a process of its own, on the data of those before it.
type killable struct {
	t    *testing.T
	dir  string // of the functions and the data
	cmd  *exec.Cmd
	nats string
	http string // address of the gateway
}

func (k *killable) start() {
	k.t.Helper()
	self, err := os.Executable()
	if err != nil {
		k.t.Fatal(err)
	}
	k.cmd = exec.Command(self)
	k.cmd.Env = append(os.Environ(), "FNHOST_BENCH_ROLE=host", "FNHOST_BENCH_DIR="+k.dir)
	log, err := os.Create(filepath.Join(k.dir, "host.log"))
	if err != nil {
		k.t.Fatal(err)
	}
	defer log.Close()
	k.cmd.Stderr = log
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := k.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		said, _ := os.ReadFile(log.Name())
		k.t.Fatalf("the host does not start: %v\n%s", err, said)
	}
	k.http, k.nats = strings.Fields(line)[0], strings.Fields(line)[1]
}

func (k *killable) kill() {
	k.cmd.Process.Kill()
	k.cmd.Wait()
}

// connect connects to the host's server, which fails where the host was killed.
func (k *killable) connect() (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(k.nats, nats.NoReconnect())
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		k.t.Fatal(err)
	}
	return nc, js, nil
}

// killWorkers kills the host's children.
func (k *killable) killWorkers() (n int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", k.cmd.Process.Pid, k.cmd.Process.Pid))
	pids := strings.Fields(string(b))
	if tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", k.cmd.Process.Pid)); err == nil {
		for _, task := range tasks { // a thread of its own starts them
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", k.cmd.Process.Pid, task.Name()))
			pids = append(pids, strings.Fields(string(b))...)
		}
	}
	for _, text := range pids {
		if pid, err := strconv.Atoi(text); err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
			n++
		}
	}
	return n
}

// publish sends numbered events until there are so many, or the host is killed, and
// keeps those that it has accepted.
func (k *killable) publish(accepted *[]string, most int) {
	nc, js, err := k.connect()
	if err != nil {
		return
	}
	defer nc.Close()
	for i := len(*accepted); i < most; i++ {
		text := fmt.Sprint("n", i)
		if i%500 == 250 {
			text = "exit" // and takes its neighbours along
		}
		if _, err := js.Publish(k.t.Context(), "work", []byte(text), jetstream.WithRetryAttempts(0)); err != nil {
			return
		}
		*accepted = append(*accepted, text)
	}
}

// observed returns how often each event was handled, from the stream of what the
// function has published.
func (k *killable) observed() (counts map[string]int, pending uint64, waiting int) {
	nc, js, err := k.connect()
	if err != nil {
		k.t.Fatal(err)
	}
	defer nc.Close()
	for name := range consumersOf(k.t, js, "events") {
		c, err := js.Consumer(k.t.Context(), "events", name)
		if err != nil {
			k.t.Fatal(err)
		}
		info := c.CachedInfo()
		pending, waiting = info.NumPending, info.NumAckPending
	}
	return k.texts(js, "SEEN"), pending, waiting
}

// texts returns how often a stream has each text.
func (k *killable) texts(js jetstream.JetStream, stream string) map[string]int {
	c, err := js.OrderedConsumer(k.t.Context(), stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		k.t.Fatal(err)
	}
	counts := make(map[string]int)
	for {
		batch, err := c.FetchNoWait(1000)
		if err != nil {
			k.t.Fatal(err)
		}
		n := 0
		for m := range batch.Messages() {
			counts[string(m.Data())]++
			n++
		}
		if n == 0 {
			return counts
		}
	}
}

// built waits until the function is built, and its trigger is there: a host that is
// killed takes its builds along.
func (k *killable) built() {
	nc, js, err := k.connect()
	if err != nil {
		k.t.Fatal(err)
	}
	defer nc.Close()
	for deadline := time.Now().Add(time.Minute); len(consumersOf(k.t, js, "events")) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			k.t.Fatal("the function is not built within a minute")
		}
	}
}

func consumersOf(t *testing.T, js jetstream.JetStream, stream string) map[string]bool {
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	list := s.ConsumerNames(t.Context())
	for name := range list.Name() {
		names[name] = true
	}
	if list.Err() != nil {
		t.Fatal(list.Err())
	}
	return names
}

// makeStreams makes the stream that the observer reads, and that of the events,
// before any host is there.
func makeStreams(t *testing.T, dir, work string, duplicates time.Duration) {
	b, err := bus.Start(bus.Config{StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	for name, subject := range map[string]string{"SEEN": "seen", "events": work} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Duplicates: duplicates}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAHostKilledDuringEventsLosesNone(t *testing.T) {
	k, counts, accepted := killedDuringEvents(t, observedSource, 5000, 2*time.Minute)
	lost, again := tally(t, k, counts, accepted)
	t.Logf("%d events accepted: %d lost, %d handled more than once", len(accepted), lost, again)
	if again > len(accepted)/2 { // those in flight at each kill, and at each exit
		t.Errorf("%d events, %d came again", len(accepted), again)
	}
}

// TestEffectsOfEventsAreExactWhateverIsKilled has streams that find no duplicates by
// themselves.
func TestEffectsOfEventsAreExactWhateverIsKilled(t *testing.T) {
	k, counts, accepted := killedDuringEvents(t, atomicSource, 20_000, 100*time.Millisecond)
	lost, again := tally(t, k, counts, accepted)
	t.Logf("%d events accepted: %d lost, %d with a second effect", len(accepted), lost, again)
	if again > 0 {
		t.Errorf("%d of %d events had a second effect", again, len(accepted))
	}
}

// countedSource counts each event under a key of its own.
const countedSource = `package observed

import (
	"context"
	"fmt"
	"os"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	err := functions.Atomically(ctx, func(ctx context.Context) error {
		if _, err := functions.KV(ctx, "counted").Add(ctx, fmt.Sprint(e.Stream, ".", e.Sequence), 1); err != nil {
			return err
		}
		return functions.Publish(ctx, "seen", e.Data)
	})
	if err == nil && string(e.Data) == "exit" && e.Attempt == 1 {
		os.Exit(3)
	}
	return err
}
`

func TestStateOfEventsIsExactWhateverIsKilled(t *testing.T) {
	k, counts, accepted := killedDuringEvents(t, countedSource, 600, 100*time.Millisecond)
	lost, again := tally(t, k, counts, accepted)
	nc, js, err := k.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	b, err := jetkv.Open(t.Context(), js, "counted")
	if err != nil {
		t.Fatal(err)
	}
	keys, twice := 0, 0
	for e, err := range kv.All(t.Context(), b, kv.Query{Values: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if keys++; string(e.Value) != "1" {
			twice++
			t.Errorf("%s was counted %s times", e.Key, e.Value)
		}
	}
	t.Logf("%d events accepted: %d lost, %d published again, %d keys, %d counted more than once", len(accepted), lost, again, keys, twice)
	if keys < len(accepted) {
		t.Errorf("%d keys of %d events", keys, len(accepted))
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) { // the names of what happened once go, too
		s, err := b.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Keys < int64(keys+keys/10) { // but for those of which a kill came between
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d subjects of %d keys", s.Keys, keys)
		}
	}
}

// tally returns how many events were lost, and how many effects there were beyond
// one each. What counts is what is stored: an event whose host was killed before it could
// say so is sent again, and is two.
func tally(t *testing.T, k *killable, counts map[string]int, accepted []string) (lost, again int) {
	nc, js, err := k.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	stored := k.texts(js, "events")
	for text, n := range stored {
		if missing := n - counts[text]; missing > 0 {
			lost += missing
			t.Errorf("of %d events %s %d are lost", n, text, missing)
		}
		again += max(counts[text]-n, 0)
	}
	for i, text := range accepted {
		if stored[text]--; stored[text] < 0 {
			lost++
			t.Errorf("event %d, %s, is not stored", i, text)
		}
	}
	return lost, again
}

// killedDuringEvents publishes events while the host and its workers are killed again
// and again, and returns how often the function has published each, and which were
// accepted.
func killedDuringEvents(t *testing.T, source string, events int, duplicates time.Duration) (k *killable, counts map[string]int, accepted []string) {
	const kills = 6
	k = &killable{t: t, dir: benchDir(t, map[string]string{"observed/observed.go": source, "observed/function.yaml": observedManifest, "echo/echo.go": echoSource})}
	makeStreams(t, filepath.Join(k.dir, "data"), "work", duplicates)
	t.Cleanup(func() { k.kill() })
	k.start()
	k.built()
	k.kill()
	workers := 0
	begin := time.Now()
	for i := range kills {
		k.start()
		timer := time.AfterFunc(time.Duration(400+mathrand.IntN(800))*time.Millisecond, func() { k.cmd.Process.Kill() })
		done := make(chan bool)
		go func() {
			defer close(done)
			for range 3 {
				time.Sleep(100 * time.Millisecond)
				workers += k.killWorkers()
			}
		}()
		k.publish(&accepted, events*(i+1)/kills)
		<-done
		timer.Stop()
		k.kill()
	}
	k.start()
	k.publish(&accepted, events)
	killed := time.Since(begin)
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		var pending uint64
		var waiting int
		if counts, pending, waiting = k.observed(); pending == 0 && waiting == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d events wait, and %d are in flight", pending, waiting)
		}
	}
	t.Logf("%d kills of the host and %d of workers in %v; the rest took %v", kills, workers, killed.Round(time.Second), (time.Since(begin) - killed).Round(time.Second))
	if len(accepted) < events {
		t.Errorf("%d events, want %d", len(accepted), events)
	}
	return k, counts, accepted
}
