// Package prices knows what things cost. The function orders calls it.
package prices

import "github.com/fnhost/fnhost/functions"

// Query asks for a price.
type Query struct {
	Item string `json:"item"`
}

// Price is in cents.
type Price struct {
	Item  string `json:"item"`
	Cents int    `json:"cents"`
}

var cents = map[string]int{"apple": 40, "bread": 320, "cheese": 780}

// Handle returns the price of an item.
func Handle(q Query) (Price, error) {
	c, ok := cents[q.Item]
	if !ok {
		return Price{}, functions.Errorf(functions.NotFound, "nobody sells %q here", q.Item)
	}
	return Price{Item: q.Item, Cents: c}, nil
}
