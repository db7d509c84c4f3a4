package functions

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/fnhost/fnhost/functions/wire"
)

// BatchError is the error of a handler that takes a batch, a slice of events or of
// their data, and could not handle some: by their index, from 0. The others count as
// handled. Each of its errors is treated as that of a single event: [Permanent] and
// [RetryAfter] mark it. A nil error, and an index that there is not, mean nothing.
type BatchError map[int]error

// Error implements error with the number of those that failed and the first one.
func (e BatchError) Error() string {
	for _, i := range slices.Sorted(maps.Keys(e)) {
		if e[i] != nil {
			return fmt.Sprintf("%d of the batch failed: item %d: %v", len(e), i, e[i])
		}
	}
	return "none of the batch failed"
}

// Unwrap returns the errors, in the order of their items.
func (e BatchError) Unwrap() (list []error) {
	for _, i := range slices.Sorted(maps.Keys(e)) {
		if e[i] != nil {
			list = append(list, e[i])
		}
	}
	return list
}

var eventsType = reflect.TypeFor[[]Event]()

// batch makes the slice that a handler takes of a batch of n events.
func (h *handler) batch(n int, body []byte) (reflect.Value, error) {
	if h.in.Kind() != reflect.Slice || h.in == bytesType {
		return reflect.Value{}, Permanent(Errorf(BadRequest, "%s takes %v, and no batch: want a slice, such as []functions.Event", h.name(), h.in))
	}
	messages, err := wire.Messages(body)
	if err != nil || len(messages) != n {
		return reflect.Value{}, fmt.Errorf("a batch of %d has %d events: %w", n, len(messages), err)
	}
	list := reflect.MakeSlice(h.in, n, n)
	for i, m := range messages {
		if err := checkValue(m.Header); err != nil && h.in != eventsType {
			if n > 1 { // the others are no worse for it: each comes again, alone
				err = Errorf(BadRequest, "item %d of the batch: %v", i, err)
			}
			return reflect.Value{}, err
		}
		item := list.Index(i).Addr().Interface()
		switch item := item.(type) {
		case *Event:
			*item = newEvent(m.Header, m.Payload)
		case *[]byte:
			*item = m.Payload
		case *string:
			*item = string(m.Payload)
		default:
			data := bareData(m.Header, m.Payload)
			if err := json.Unmarshal(data, item); err != nil {
				return reflect.Value{}, fmt.Errorf("item %d of the batch: %w", i, badJSON(data, err))
			}
		}
	}
	return list, nil
}

// failed answers with the errors of some items, if that is what err is. The whole
// invocation has failed otherwise.
func failed(r *Request, w Responder, err error) error {
	var items BatchError
	n, ok := r.Header.Int(wire.KeyBatch)
	if !ok || !errors.As(err, &items) {
		return err
	}
	var body []byte
	count := int64(0)
	for _, i := range slices.Sorted(maps.Keys(items)) {
		if e := wire.AsError(items[i]); e != nil && i >= 0 && i < int(n) {
			body = wire.AppendItemError(body, i, e)
			count++
		}
	}
	return w.Respond(wire.Header(nil).AddInt(wire.KeyFailed, count), body, false)
}
