package jetkv

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/kvtest"
)

type (
	// question and answer are of one operation on a key.
	question struct {
		op       string // get, put, cas, delete
		key      int
		value    string
		expected uint64
	}
	answer struct {
		revision uint64 // 0: it is not there
		value    string
		conflict bool
	}
	// register is what a key holds.
	register struct {
		revision uint64
		value    string
	}
)

var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[int][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(question).key
			byKey[key] = append(byKey[key], o)
		}
		return slices.Collect(maps.Values(byKey))
	},
	Init: func() any { return register{} },
	Step: func(state, in, out any) (bool, any) {
		return step(state.(register), in.(question), out.(answer))
	},
}

func step(r register, q question, a answer) (bool, register) {
	switch {
	case q.op == "get":
		return a.revision == r.revision && a.value == r.value, r
	case q.op == "delete":
		return true, register{}
	case a.conflict:
		return r.revision != q.expected, r
	case q.op == "cas" && r.revision != q.expected:
		return false, r
	}
	return a.revision > r.revision, register{a.revision, q.value}
}

// Reads, writes, compare-and-set and deletes of several clients are such as if one had come after the other.
func TestHistoriesAreLinearizable(t *testing.T) {
	const clients, each, keys = 6, 60, 2
	js := server(t)
	name := create(t, js, Config{}).Name()
	var mu sync.Mutex
	var history []porcupine.Operation
	var wg sync.WaitGroup
	begin := time.Now()
	for client := range clients {
		b, err := Open(t.Context(), js, name)
		must(t, err)
		wg.Go(func() {
			var known [keys]uint64
			for n := range each {
				q := question{op: []string{"get", "put", "cas", "cas", "delete"}[rand.IntN(5)], key: rand.IntN(keys), value: fmt.Sprint(client, ".", n)}
				q.expected = known[q.key]
				call := time.Since(begin).Nanoseconds()
				a, err := ask(t, b, q)
				if err != nil {
					t.Error(err)
					return
				}
				known[q.key] = a.revision
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: q, Call: call, Output: a, Return: time.Since(begin).Nanoseconds()})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if result := porcupine.CheckOperationsTimeout(model, history, kvtest.Patience); result != porcupine.Ok {
		t.Errorf("the history of %d operations is not linearizable: %s", len(history), result)
	}
}

// ask does one operation.
func ask(t *testing.T, b *Bucket, q question) (answer, error) {
	key := fmt.Sprint("k", q.key)
	switch q.op {
	case "get":
		e, err := b.Get(t.Context(), key)
		if errors.Is(err, kv.ErrNotFound) {
			return answer{}, nil
		}
		return answer{revision: e.Revision, value: string(e.Value)}, err
	case "delete":
		return answer{}, b.Delete(t.Context(), key)
	case "put":
		revision, err := b.Put(t.Context(), key, []byte(q.value))
		return answer{revision: revision}, err
	}
	revision, err := b.Put(t.Context(), key, []byte(q.value), kv.IfRevision(q.expected))
	var conflict *kv.ConflictError
	if errors.As(err, &conflict) {
		return answer{revision: conflict.Current, conflict: true}, nil
	}
	return answer{revision: revision}, err
}

// A checker that takes everything would find nothing.
func TestWhatIsNotLinearizableIsFound(t *testing.T) {
	at := func(q question, a answer, call, back int64) porcupine.Operation {
		return porcupine.Operation{Input: q, Output: a, Call: call, Return: back}
	}
	lost := []porcupine.Operation{
		at(question{op: "put", value: "1"}, answer{revision: 1}, 1, 2),
		at(question{op: "cas", value: "2", expected: 1}, answer{revision: 2}, 3, 6),
		at(question{op: "cas", value: "3", expected: 1}, answer{revision: 3}, 4, 5),
	}
	stale := []porcupine.Operation{lost[0], at(question{op: "get"}, answer{}, 3, 4)}
	for _, history := range [][]porcupine.Operation{lost, stale} {
		if porcupine.CheckOperations(model, history) {
			t.Errorf("it takes %+v", history)
		}
	}
}
