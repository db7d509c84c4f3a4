package host_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const poisonedSource = `package poisoned

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	if string(e.Data) == "poison" {
		if err := functions.Publish(ctx, "attempt", ""); err != nil {
			return err
		}
		return errors.New("never")
	}
	took := uint64(time.Now().UnixNano()) - binary.BigEndian.Uint64(e.Data)
	return functions.Publish(ctx, "took", binary.BigEndian.AppendUint64(nil, took))
}
`

const tickSource = `package tick

import (
	"context"
	"time"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context) error {
	now := time.Now()
	return functions.Publish(ctx, "late", now.Sub(now.Truncate(time.Second)).String())
}
`

// BenchmarkNeighboursOfAPoisonEvent is the time from publishing to the handler of
// 10,000 events, without an event that always fails and with one in each hundred.
func BenchmarkNeighboursOfAPoisonEvent(b *testing.B) {
	const events, retries = 10_000, 3
	_, nc, js := eventBench(b, map[string]string{"poisoned/f.go": poisonedSource, "poisoned/function.yaml": fmt.Sprintf(
		"triggers:\n  event:\n    - {subject: bench.poison, start: all, retries: %d, backoff: 10ms, backoffMax: 100ms}\n", retries)}, 1)
	awaitConsumer(b, js, "bench.poison")
	took, err := nc.SubscribeSync("took")
	if err != nil {
		b.Fatal(err)
	}
	attempts, err := nc.SubscribeSync("attempt")
	if err != nil {
		b.Fatal(err)
	}
	took.SetPendingLimits(-1, -1)
	run := func(poison int) time.Duration {
		sent := 0
		for i := range events {
			data := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
			if poison > 0 && i%poison == 0 {
				data = []byte("poison")
				sent++
			}
			if _, err := js.PublishAsync("bench.poison", data); err != nil {
				b.Fatal(err)
			}
			time.Sleep(100 * time.Microsecond)
		}
		times := make([]time.Duration, 0, events)
		for range events - sent {
			m, err := took.NextMsg(30 * time.Second)
			if err != nil {
				b.Fatal(err)
			}
			times = append(times, time.Duration(binary.BigEndian.Uint64(m.Data)))
		}
		for range sent * (retries + 1) {
			if _, err := attempts.NextMsg(30 * time.Second); err != nil {
				b.Fatal(err)
			}
		}
		if m, err := attempts.NextMsg(300 * time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
			b.Fatalf("there was another attempt: %v %v", m, err)
		}
		if n := letters(b, js); n != sent {
			b.Fatalf("%d dead letters of %d events that fail", n, sent)
		}
		slices.Sort(times)
		return times[len(times)*99/100]
	}
	run(0)
	for b.Loop() {
		without := run(0)
		with := run(100)
		b.ReportMetric(without.Seconds()*1000, "p99-without-ms")
		b.ReportMetric(with.Seconds()*1000, "p99-with-ms")
	}
}

// letters returns how many dead letters there are, and removes them.
func letters(b *testing.B, js jetstream.JetStream) int {
	b.Helper()
	s, err := js.Stream(b.Context(), "dead")
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Purge(b.Context()); err != nil {
		b.Fatal(err)
	}
	return int(s.CachedInfo().State.Msgs)
}

// BenchmarkScheduleLateness is how late a function begins that runs each second.
func BenchmarkScheduleLateness(b *testing.B) {
	_, nc, _ := eventBench(b, map[string]string{"tick/f.go": tickSource, "tick/function.yaml": "triggers:\n  schedule:\n    - {cron: \"* * * * * *\"}\n"}, 1)
	late, err := nc.SubscribeSync("late")
	if err != nil {
		b.Fatal(err)
	}
	var times []time.Duration
	for b.Loop() {
		m, err := late.NextMsg(10 * time.Second)
		if err != nil {
			b.Fatal(err)
		}
		d, err := time.ParseDuration(strings.TrimSpace(string(m.Data)))
		if err != nil {
			b.Fatal(err)
		}
		times = append(times, d)
	}
	slices.Sort(times)
	b.ReportMetric(times[len(times)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(times[len(times)-1].Seconds()*1000, "max-ms")
}
