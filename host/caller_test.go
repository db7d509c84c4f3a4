package host

import (
	"testing"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// Whoever knows the ID of an invocation that runs can have an asynchronous call of the same ID.
func TestAnInvocationOfTheIDOfAnotherOneIsNotForWhomThatIs(t *testing.T) {
	as := func(identity, how string) *trigger.Invocation {
		inv := &trigger.Invocation{ID: "i1", Trigger: how}
		if identity != "" {
			inv.Header = inv.Header.Add(wire.KeyIdentity, identity)
		}
		return inv
	}
	for _, test := range []struct {
		name          string
		first, second *trigger.Invocation
		both          string // for whom is called while both run
	}{
		{"nobody after ada", as("ada", trigger.HTTP), as("", trigger.Async), ""},
		{"eve after ada", as("ada", trigger.HTTP), as("eve", trigger.Async), ""},
		{"ada after nobody", as("", trigger.Async), as("ada", trigger.HTTP), ""},
		{"ada twice", as("ada", trigger.Async), as("ada", trigger.Async), "ada"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c callers
			first, second := c.begin(test.first), c.begin(test.second)
			if got := c.header("i1").Get(wire.KeyIdentity); got != test.both {
				t.Errorf("what it calls is for %q, want %q", got, test.both)
			}
			first()
			first() // the end of a body is told more than once
			if got := c.header("i1").Get(wire.KeyIdentity); got != test.both {
				t.Errorf("after the first has ended, what the other one calls is for %q, want %q", got, test.both)
			}
			second()
			if len(c.m) != 0 {
				t.Errorf("something stays: %v", c.m)
			}
		})
	}
	if (&callers{}).begin(as("", trigger.HTTP)) != nil {
		t.Error("an invocation for nobody is noted")
	}
}
