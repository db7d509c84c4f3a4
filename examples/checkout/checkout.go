// Package checkout is a chain of steps, each of which an event starts:
//
//	fnhost send checkout.placed -d '{"id":"1","card":"4000","cents":900}'
//
// A step that fails is tried again, and is a dead letter in the end; what came
// before it is not done again.
//
//	fnhost send checkout.placed -d '{"id":"2","card":"stolen","cents":900}'
//	fnhost dead ls checkout
package checkout

import (
	"context"
	"errors"

	"github.com/fnhost/fnhost/functions"
)

// Order is what somebody buys.
type Order struct {
	ID    string `json:"id"`
	Card  string `json:"card"`
	Cents int    `json:"cents"`
}

// HandleCharge takes the money for an order that was placed.
func HandleCharge(ctx context.Context, o Order) error {
	switch {
	case o.ID == "" || o.Cents <= 0:
		return functions.Permanent(errors.New("no order: it needs an id and cents"))
	case o.Card == "stolen":
		return functions.Permanent(errors.New("the card is stolen"))
	}
	// Under one ID the next step is begun once, even if this one is tried again.
	return functions.Publish(ctx, "checkout.paid", o, functions.ID("paid-"+o.ID))
}

// HandleShip sends what was paid for. The first attempt finds nobody at the
// counter.
func HandleShip(ctx context.Context, e functions.Event) error {
	var o Order
	if err := e.Decode(&o); err != nil {
		return functions.Permanent(err)
	}
	if e.Attempt == 1 {
		return errors.New("nobody is at the counter")
	}
	functions.Log(ctx).Info("shipped", "order", o.ID, "attempt", e.Attempt)
	return functions.Publish(ctx, "checkout.shipped", o, functions.ID("shipped-"+o.ID))
}
