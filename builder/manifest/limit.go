package manifest

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Values of [Limit.Per].
const (
	PerCaller  = "caller"
	PerAddress = "address"
	PerAll     = "all"
)

// Limit says how many HTTP requests are let in. In the file it may be the rate alone.
type Limit struct {
	// Rate is a number of requests in a second, a minute or an hour, such as 100/s; see
	// [ParseRate].
	Rate string `json:"rate"`
	// Burst is how many may come at once, from 1 to MaxRate. Default 0: the number of
	// Rate.
	Burst int `json:"burst,omitzero"`
	// Per says whose requests count together: those of one caller, which is the account
	// that it has proved, and else its address; of one address; or all. Default PerCaller.
	Per string `json:"per"`
}

// Parsed returns the limit as numbers.
func (l *Limit) Parsed() (events int, per time.Duration, burst int) {
	events, per = ParseRate(l.Rate)
	if burst = l.Burst; burst == 0 {
		burst = events
	}
	return events, per, burst
}

var rateSchema = schema{"pattern": ratePattern.String()}

var limitKeys = keys[Limit]{
	fields: []field[Limit]{
		required(key("rate", text(rateSchema, checkRequestRate), func(l *Limit) *string { return &l.Rate },
			"Requests in a second, a minute or an hour: 100/s, 100/m, 100/h.")),
		key("burst", integer(1, MaxRate), func(l *Limit) *int { return &l.Burst },
			"How many may come at once. Default: the number of the rate."),
		key("per", oneOf(PerCaller, PerAddress, PerAll), func(l *Limit) *string { return &l.Per },
			"Whose requests count together: of one caller (its account, or else its address), of one address, or all."),
	},
	init: func(l *Limit) { l.Per = PerCaller },
}

func checkRequestRate(s string) *problem {
	p := checkRate(s)
	if p != nil && !ratePattern.MatchString(s) {
		p.message = "must be a number of requests in a time" + p.message[len("must be a number of events in a time"):]
	}
	return p
}

// limits is the rate alone, or a mapping.
func limits() value[Limit] {
	whole := mapping(limitKeys)
	return value[Limit]{
		read: func(r *reader, n node, into *Limit) {
			if _, ok := n.Node.(*ast.MappingNode); !ok {
				if _, ok := n.Node.(*ast.MappingValueNode); !ok {
					limitKeys.init(into)
					text(rateSchema, checkRequestRate).read(r, n, &into.Rate)
					return
				}
			}
			whole.read(r, n, into)
		},
		schema: func(def Limit) schema {
			return whole.schema(def).with("type", []string{"string", "object"}).with("pattern", ratePattern.String())
		},
	}
}
