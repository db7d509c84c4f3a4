package logs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func collect(t *testing.T, h *Hub, q Query) (messages []string) {
	t.Helper()
	if err := h.Read(t.Context(), q, func(r Record) error {
		messages = append(messages, r.Message)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return messages
}

func TestTheLatestRecordsAreKept(t *testing.T) {
	h := NewHub(5)
	start := time.Now()
	for i := range 8 {
		h.Add(Record{Time: start.Add(time.Duration(i) * time.Second), Function: []string{"a", "b"}[i%2], Invocation: fmt.Sprint("i", i), Message: fmt.Sprint(i)})
	}
	tests := []struct {
		name string
		q    Query
		want []string
	}{
		{"all", Query{}, []string{"3", "4", "5", "6", "7"}},
		{"of one invocation", Query{Invocation: "i6"}, []string{"6"}},
		{"of one function", Query{Function: "b"}, []string{"3", "5", "7"}},
		{"since", Query{Since: start.Add(5 * time.Second)}, []string{"5", "6", "7"}},
		{"tail", Query{Tail: 2}, []string{"6", "7"}},
		{"tail of one function", Query{Function: "a", Tail: 1}, []string{"6"}},
		{"none", Query{Tail: -1}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := collect(t, h, test.q); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestFollowingGoesOnWithWhatComes(t *testing.T) {
	h := NewHub(0)
	h.Add(Record{Function: "a", Message: "kept"})
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan string)
	done := make(chan error, 1)
	go func() {
		done <- h.Read(ctx, Query{Function: "a", Follow: true}, func(r Record) error {
			got <- r.Message
			return nil
		})
	}()
	if m := <-got; m != "kept" {
		t.Errorf("first %q", m)
	}
	h.Add(Record{Function: "b", Message: "of another"})
	h.Add(Record{Function: "a", Message: "new"})
	if m := <-got; m != "new" {
		t.Errorf("then %q", m)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Read = %v", err)
	}
}

func TestASlowFollowerIsToldWhatItHasLost(t *testing.T) {
	h := NewHub(10)
	started, goOn := make(chan struct{}), make(chan struct{})
	stop := errors.New("enough")
	done := make(chan error, 1)
	var messages []string
	go func() {
		done <- h.Read(t.Context(), Query{Follow: true}, func(r Record) error {
			if len(messages) == 0 {
				close(started)
				<-goOn
			}
			messages = append(messages, r.Message)
			if r.Source == Host {
				return stop
			}
			return nil
		})
	}()
	for {
		h.Add(Record{Message: "x"})
		select {
		case <-started:
		default:
			time.Sleep(time.Millisecond)
			continue
		}
		break
	}
	for range 3000 { // never blocks
		h.Add(Record{Message: "y"})
	}
	close(goOn)
	if err := <-done; err != stop {
		t.Errorf("Read = %v", err)
	}
}
