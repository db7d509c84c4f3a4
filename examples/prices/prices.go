// Package prices knows what things cost. The function orders calls it.
//
//	curl localhost:8080/prices?item=apple
package prices

import "github.com/fnhost/fnhost/functions"

// Query asks for the price of an item.
type Query struct {
	Item string `json:"item"`
}

// Price is that of one of an item.
type Price struct {
	Item  string `json:"item"`
	Cents int    `json:"cents"`
}

var cents = map[string]int{"apple": 40, "bread": 320, "cheese": 780}

// Handle returns the price of an item.
func Handle(q Query) (Price, error) {
	c, ok := cents[q.Item]
	if !ok {
		return Price{}, functions.Errorf(functions.NotFound, "%q is not for sale", q.Item)
	}
	return Price{Item: q.Item, Cents: c}, nil
}
