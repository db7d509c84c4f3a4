package host_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// noopSource is a function that handles events by doing nothing; timedSource one
// that tells how long an event took to reach it.
const noopSource = `package noop

import (
	"context"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error { return nil }
`

const noopBatchSource = `package noop

import "github.com/fnhost/fnhost/functions"

func Handle(list []functions.Event) error { return nil }
`

const timedSource = `package timed

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	took := uint64(time.Now().UnixNano()) - binary.BigEndian.Uint64(e.Data)
	return functions.Publish(ctx, "took", binary.BigEndian.AppendUint64(nil, took))
}
`

const mortalSource = `package mortal

import (
	"context"
	"os"
	"strconv"
	"time"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	if e.Attempt > 1 {
		return functions.Publish(ctx, "again", "")
	}
	if err := functions.Publish(ctx, "pid", strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	time.Sleep(10 * time.Second)
	return nil
}
`

// plainConsumer acknowledges the events of the stream and the consumer in
// FNHOST_BENCH_CONSUMER, taking as many at once as that says, at FNHOST_BENCH_NATS.
func plainConsumer(ctx context.Context) error {
	nc, err := nats.Connect(os.Getenv("FNHOST_BENCH_NATS"))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	var stream, name string
	var inFlight int
	fmt.Sscan(os.Getenv("FNHOST_BENCH_CONSUMER"), &stream, &name, &inFlight)
	c, err := js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 10 * time.Second,
		MaxDeliver: -1, MaxAckPending: inFlight + 10_000, DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return err
	}
	consuming, err := c.Consume(func(m jetstream.Msg) { m.Ack() }, jetstream.PullMaxMessages(inFlight))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	consuming.Stop()
	return nil
}

// eventManifest has an event trigger, with nothing to wait for between retries.
func eventManifest(subject string, inFlight int) string {
	return fmt.Sprintf("triggers:\n  event:\n    - {subject: %s, start: all, inFlight: %d}\n", subject, inFlight)
}

// eventBench starts a host of functions, and connects to it.
func eventBench(b *testing.B, files map[string]string, ready int) (string, *nats.Conn, jetstream.JetStream) {
	b.Helper()
	files["echo/echo.go"] = echoSource
	dir := benchDir(b, files)
	address := strings.Fields(process(b, "host", nil, "FNHOST_BENCH_DIR="+dir, "FNHOST_BENCH_WAIT="+strconv.Itoa(ready+1)))[1]
	nc, err := nats.Connect(address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	return address, nc, js
}

// awaitConsumer waits for the consumer of a subject.
func awaitConsumer(b *testing.B, js jetstream.JetStream, subject string) (stream, name string) {
	b.Helper()
	for range 1000 {
		if stream, err := js.StreamNameBySubject(b.Context(), subject); err == nil {
			if s, err := js.Stream(b.Context(), stream); err == nil {
				name := ""
				list := s.ListConsumers(b.Context())
				for info := range list.Info() {
					if info.Config.FilterSubject == subject {
						name = info.Name
					}
				}
				if name != "" {
					return stream, name
				}
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.Fatalf("no consumer of %s", subject)
	return "", ""
}

func BenchmarkEventLatency(b *testing.B) {
	_, nc, js := eventBench(b, map[string]string{"timed/timed.go": timedSource, "timed/function.yaml": eventManifest("bench.timed", 32)}, 1)
	awaitConsumer(b, js, "bench.timed")
	sub, err := nc.SubscribeSync("took")
	if err != nil {
		b.Fatal(err)
	}
	var times []time.Duration
	for range b.N + 20 {
		if _, err := js.Publish(b.Context(), "bench.timed", binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))); err != nil {
			b.Fatal(err)
		}
		m, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Duration(binary.BigEndian.Uint64(m.Data)))
	}
	times = times[20:]
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1000, "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/1000, "p99-µs")
}

// fill stores b.N events in a stream, and nothing else.
func fill(b *testing.B, js jetstream.JetStream, subject, stream string) {
	b.Helper()
	s, err := js.Stream(b.Context(), stream)
	if err == nil {
		err = s.Purge(b.Context(), jetstream.WithPurgeSubject(subject))
	}
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 100)
	for range b.N {
		if _, err := js.PublishAsync(subject, payload); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}

// drained measures how fast a consumer that has just been made goes through a stream.
func drained(b *testing.B, js jetstream.JetStream, stream, name string) {
	b.Helper()
	var start time.Time
	first := uint64(0)
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		c, err := js.Consumer(b.Context(), stream, name)
		if err != nil {
			continue
		}
		info := c.CachedInfo()
		switch {
		case start.IsZero() && info.Delivered.Consumer > 0:
			b.ResetTimer()
			start, first = time.Now(), info.Delivered.Consumer
		case !start.IsZero() && info.NumPending == 0 && info.NumAckPending == 0:
			b.StopTimer()
			b.ReportMetric(float64(info.Delivered.Consumer-first)/time.Since(start).Seconds(), "events/s")
			return
		}
	}
	b.Fatal("it takes too long")
}

// The plain consumer does one event after the other, and takes as many in advance
// as the function handles at once.
func BenchmarkEvents(b *testing.B) {
	files := map[string]string{}
	sizes := []int{32, 256}
	for _, n := range sizes {
		name := fmt.Sprint("noop", n)
		files[name+"/noop.go"], files[name+"/function.yaml"] = noopSource, eventManifest("bench."+name, n)
	}
	files["batch/noop.go"] = noopBatchSource
	files["batch/function.yaml"] = "triggers:\n  event:\n    - {subject: bench.batch, start: all, inFlight: 4, batch: {size: 64, window: 10ms}}\n"
	address, _, js := eventBench(b, files, len(sizes)+1)
	measure := func(name, subject string) {
		stream, consumer := awaitConsumer(b, js, subject)
		b.Run(name, func(b *testing.B) {
			fill(b, js, subject, stream)
			for pending := true; pending; time.Sleep(time.Millisecond) {
				c, err := js.Consumer(b.Context(), stream, consumer)
				pending = err != nil || c.CachedInfo().NumPending+uint64(c.CachedInfo().NumAckPending) > 0
			}
			if err := js.DeleteConsumer(b.Context(), stream, consumer); err != nil { // the host makes it again
				b.Fatal(err)
			}
			drained(b, js, stream, consumer)
		})
	}
	for _, n := range sizes {
		plain := fmt.Sprint("plain", n)
		if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: plain, Subjects: []string{plain}}); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("plain/inflight=%d", n), func(b *testing.B) {
			fill(b, js, plain, plain)
			js.DeleteConsumer(b.Context(), plain, plain) // of the run before
			process(b, "events", nil, "FNHOST_BENCH_NATS="+address, fmt.Sprintf("FNHOST_BENCH_CONSUMER=%s %s %d", plain, plain, n))
			drained(b, js, plain, plain)
		})
		measure(fmt.Sprintf("fnhost/inflight=%d", n), fmt.Sprint("bench.noop", n))
	}
	measure("fnhost/batches of 64", "bench.batch")
}

// BenchmarkEventOfAKilledWorker is from the kill of a worker in the middle of an
// event to the second attempt, of functions that have not crashed before: workers
// that end one after the other are started ever more slowly.
func BenchmarkEventOfAKilledWorker(b *testing.B) {
	const functions = 10
	files := map[string]string{}
	for i := range functions {
		name := fmt.Sprint("mortal", i)
		files[name+"/mortal.go"], files[name+"/function.yaml"] = mortalSource, eventManifest("bench."+name, 32)
	}
	_, nc, js := eventBench(b, files, functions)
	for i := range functions {
		awaitConsumer(b, js, fmt.Sprint("bench.mortal", i))
	}
	pids, err := nc.SubscribeSync("pid")
	if err != nil {
		b.Fatal(err)
	}
	again, err := nc.SubscribeSync("again")
	if err != nil {
		b.Fatal(err)
	}
	var times []time.Duration
	for i := range functions {
		if _, err := js.Publish(b.Context(), fmt.Sprint("bench.mortal", i), nil); err != nil {
			b.Fatal(err)
		}
		m, err := pids.NextMsg(10 * time.Second)
		if err != nil {
			b.Fatal(err)
		}
		pid := outside(b, os.Getpid(), fmt.Sprint("mortal", i), string(m.Data))[0]
		start := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		if _, err := again.NextMsg(10 * time.Second); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(times[len(times)-1].Microseconds())/1000, "max-ms")
}
