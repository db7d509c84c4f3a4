package host_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/nats-io/nats.go"
)

// registerSource does one thing to a key, and says where it stands.
const registerSource = `package register

import (
	"context"
	"errors"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/kv"
)

type In struct {
	Op, Key, Value string
	Revision       uint64
}

type Out struct {
	Value    string
	Revision uint64
	Conflict bool
}

func Handle(ctx context.Context, in In) (out Out, err error) {
	b := functions.KV(ctx, "register")
	switch in.Op {
	case "get":
		var e kv.Entry
		e, err = b.Get(ctx, in.Key)
		out = Out{Value: string(e.Value), Revision: e.Revision}
		if errors.Is(err, kv.ErrNotFound) {
			err = nil
		}
	case "put":
		out.Revision, err = b.Put(ctx, in.Key, []byte(in.Value))
	case "cas":
		out.Revision, err = b.Put(ctx, in.Key, []byte(in.Value), kv.IfRevision(in.Revision))
		if errors.Is(err, kv.ErrConflict) {
			out, err = Out{Conflict: true}, nil
		}
	}
	return out, err
}
` + "\n"

// stateOp is one operation on a key. A key's values are all different, so that a value stands for its revision.
type stateOp struct {
	op, key, value string
	expected       string // value that a cas wants to replace
}

// stateAnswer is its answer; unknown if the host was killed before it came.
type stateAnswer struct {
	value             string
	conflict, unknown bool
}

// stateModel is a key that holds a value, "" for none.
var stateModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(stateOp).key
			byKey[key] = append(byKey[key], o)
		}
		return slices.Collect(maps.Values(byKey))
	},
	Init: func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		held, q, a := state.(string), in.(stateOp), out.(stateAnswer)
		fits := q.op != "cas" || held == q.expected
		switch {
		case q.op == "get":
			return a.value == held, held
		case a.unknown && !fits:
			return true, held
		case a.conflict:
			return !fits, held
		}
		return fits, q.value
	},
}

// stateClients write and read by the function while the host is killed, and note what
// they saw.
type stateClients struct {
	*killable
	begin time.Time

	mu      sync.Mutex
	history []porcupine.Operation
	unknown int
}

// known is what a client knows of a key.
type known struct {
	value    string
	revision uint64
}

// ask does an operation. ok is false if its answer did not come.
func (c *stateClients) ask(nc *nats.Conn, client int, q stateOp, revision uint64) (k known, ok bool) {
	in, _ := json.Marshal(map[string]any{"Op": q.op, "Key": q.key, "Value": q.value, "Revision": revision})
	o := porcupine.Operation{ClientId: client, Input: q, Call: time.Since(c.begin).Nanoseconds()}
	reply, err := nc.Request("fn.register", in, 5*time.Second)
	o.Return = time.Since(c.begin).Nanoseconds()
	var out struct {
		Value    string
		Revision uint64
		Conflict bool
	}
	ok = err == nil && reply.Header.Get("Nats-Service-Error") == "" && json.Unmarshal(reply.Data, &out) == nil
	a := stateAnswer{value: out.Value, conflict: out.Conflict, unknown: !ok}
	switch {
	case ok && q.op != "get" && !out.Conflict:
		out.Value = q.value
	case !ok && q.op == "get":
		return known{}, false
	case !ok:
		o.Return = math.MaxInt64 // it may happen at any time, or never
	}
	o.Output = a
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history = append(c.history, o)
	if !ok {
		c.unknown++
	}
	return known{out.Value, out.Revision}, ok
}

// work goes on until the host is killed.
func (c *stateClients) work(client, round, keys int) {
	nc, err := nats.Connect(c.nats, nats.NoReconnect())
	if err != nil {
		return
	}
	defer nc.Close()
	of := make(map[string]known)
	for n := 0; ; n++ {
		key := fmt.Sprintf("r%d.k%d", round, mathrand.IntN(keys))
		q := stateOp{op: []string{"get", "put", "cas", "cas"}[mathrand.IntN(4)], key: key, value: fmt.Sprintf("%d.%d.%d", round, client, n)}
		q.expected = of[key].value
		k, ok := c.ask(nc, client, q, of[key].revision)
		if !ok {
			return
		}
		if k.value == "" { // a conflict, or nothing there: look before the next cas
			if k, ok = c.ask(nc, client, stateOp{op: "get", key: key}, 0); !ok {
				return
			}
		}
		of[key] = k
		time.Sleep(time.Duration(mathrand.IntN(4)) * time.Millisecond)
	}
}

// look reads all keys of the rounds before.
func (c *stateClients) look(rounds, keys int) {
	nc, _, err := c.connect()
	if err != nil {
		c.t.Fatal(err)
	}
	defer nc.Close()
	for round := range rounds {
		for k := range keys {
			q := stateOp{op: "get", key: fmt.Sprintf("r%d.k%d", round, k)}
			if _, ok := c.ask(nc, -1, q, 0); !ok {
				c.t.Fatalf("%s cannot be read", q.key)
			}
		}
	}
}

// TestAHostKilledUnderWritesKeepsThem kills it 6 times, or as often as
// FNHOST_KV_KILLS says. What was acknowledged is there, and compare-and-set holds.
func TestAHostKilledUnderWritesKeepsThem(t *testing.T) {
	kills, keys, clients := 6, 4, 6
	if n, err := strconv.Atoi(os.Getenv("FNHOST_KV_KILLS")); err == nil {
		kills = n
	}
	k := &killable{t: t, dir: benchDir(t, map[string]string{"register/r.go": registerSource, "register/function.yaml": "{}\n", "echo/echo.go": echoSource})}
	t.Cleanup(func() { k.kill() })
	t.Setenv("FNHOST_BENCH_WAIT", "2")
	c := &stateClients{killable: k, begin: time.Now()}
	for round := range kills {
		k.start()
		if round > 0 {
			c.look(round, keys)
		}
		timer := time.AfterFunc(time.Duration(150+mathrand.IntN(350))*time.Millisecond, func() { k.cmd.Process.Kill() })
		var wg sync.WaitGroup
		for client := range clients {
			wg.Go(func() { c.work(client, round, keys) })
		}
		wg.Wait()
		timer.Stop()
		k.kill()
	}
	k.start()
	c.look(kills, keys)
	t.Logf("%d operations, %d without an answer, %d kills", len(c.history), c.unknown, kills)
	if len(c.history) < 20*kills {
		t.Errorf("only %d operations", len(c.history))
	}
	if result := porcupine.CheckOperationsTimeout(stateModel, c.history, time.Minute); result != porcupine.Ok {
		t.Errorf("the history is not linearizable: %s", result)
	}
}

// A checker that takes everything would find nothing.
func TestLostWritesAreFound(t *testing.T) {
	at := func(op, value, expected string, a stateAnswer, call, back int64) porcupine.Operation {
		return porcupine.Operation{Input: stateOp{op: op, key: "k", value: value, expected: expected}, Output: a, Call: call, Return: back}
	}
	for name, history := range map[string][]porcupine.Operation{
		"an acknowledged write is gone": {at("put", "1", "", stateAnswer{}, 1, 2), at("get", "", "", stateAnswer{}, 3, 4)},
		"two took the same value's place": {at("put", "1", "", stateAnswer{}, 1, 2),
			at("cas", "2", "1", stateAnswer{}, 3, 6), at("cas", "3", "1", stateAnswer{}, 4, 5)},
		"an unknown write is undone": {at("put", "1", "", stateAnswer{unknown: true}, 1, math.MaxInt64),
			at("get", "", "", stateAnswer{value: "1"}, 2, 3), at("get", "", "", stateAnswer{}, 4, 5)},
	} {
		if porcupine.CheckOperations(stateModel, history) {
			t.Errorf("not found: %s", name)
		}
	}
}
