package functions_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/functest"
)

type reading struct{ Value int }

func TestShapesThatTakeABatch(t *testing.T) {
	var got any
	three := []functions.Event{{Subject: "a", Data: []byte(`{"Value":1}`)}, {Subject: "b", Data: []byte(`{"value":2}`), Attempt: 2},
		{Subject: "c", Data: []byte(`{"specversion":"1.0","id":"i","source":"s","type":"t","data":{"Value":3}}`),
			Header: map[string][]string{"Content-Type": {"application/cloudevents+json"}}}}
	tests := []struct {
		name    string
		handler any
		want    string
	}{
		{"events", func(_ context.Context, list []functions.Event) {
			got = fmt.Sprint(list[0].Subject, list[1].Attempt, list[2].Type)
		}, "a2t"},
		{"values", func(list []reading) { got = fmt.Sprint(list) }, "[{1} {2} {3}]"},
		{"pointers", func(list []*reading) error { got = fmt.Sprint(list[0].Value, list[2].Value); return nil }, "1 3"},
		{"strings", func(list []string) { got = list[0] + list[1] }, `{"Value":1}{"value":2}`},
		{"bytes", func(list [][]byte) { got = string(list[1]) }, `{"value":2}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got = nil
			var host functest.Host
			if err := host.SendBatch(t.Context(), test.handler, three); err != nil || got != test.want {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestAHandlerOfEventsTakesASingleOne(t *testing.T) {
	var got []functions.Event
	var host functest.Host
	err := host.Send(t.Context(), func(list []functions.Event) { got = list }, functions.Event{Subject: "a", Data: []byte("x")})
	if err != nil || len(got) != 1 || got[0].Subject != "a" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestItemsOfABatchFailOneByOne(t *testing.T) {
	var host functest.Host
	events := make([]functions.Event, 5)
	err := host.SendBatch(t.Context(), func(list []functions.Event) error {
		return fmt.Errorf("some: %w", functions.BatchError{
			0: nil, 1: errors.New("one"), 2: functions.Permanent(errors.New("two")), 3: functions.RetryAfter(functions.Errorf(functions.Conflict, "three"), time.Second),
			5: errors.New("there is no such"), -1: errors.New("nor such"),
		})
	}, events)
	var items functions.BatchError
	if !errors.As(err, &items) || len(items) != 3 {
		t.Fatalf("%v", err)
	}
	retries := map[int]time.Duration{}
	for i, err := range items {
		var e *functions.Error
		if !errors.As(err, &e) {
			t.Fatalf("item %d: %T", i, err)
		}
		retries[i] = e.Retry
	}
	if want := map[int]time.Duration{1: 0, 2: -time.Microsecond, 3: time.Second}; !reflect.DeepEqual(retries, want) || !errors.Is(items[3], functions.ErrConflict) {
		t.Errorf("%v, %v", retries, items[3])
	}
}

func TestWhatABatchGetsWhereItDoesNotFit(t *testing.T) {
	events := []functions.Event{{Data: []byte(`{"Value":1}`)}, {Data: []byte(`[`)}}
	var e *functions.Error
	var host functest.Host
	for name, handler := range map[string]any{"no slice": func(reading) {}, "bytes": func([]byte) (reading, error) { return reading{}, nil }} {
		if err := host.SendBatch(t.Context(), handler, events); !errors.As(err, &e) || e.Retry >= 0 || e.Code != functions.BadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := host.SendBatch(t.Context(), func([]reading) {}, events); !errors.As(err, &e) || e.Code != functions.BadRequest || e.Retry != 0 {
		t.Errorf("no JSON: %v", err)
	}
	if err := host.SendBatch(t.Context(), func([]reading) error { return functions.BatchError{} }, events[:1]); err != nil {
		t.Errorf("nothing that failed: %v", err)
	}
	if err := host.SendBatch(t.Context(), func([]reading) error { return errors.New("all") }, events[:1]); err == nil || err.Error() != "all" {
		t.Errorf("all that failed: %v", err)
	}
}
