// Package orders is a function with several endpoints: /orders/create and
// /orders/list, and GET /api/orders/{id} by a route of its manifest.
//
// It keeps nothing in memory: an order's number says what was ordered.
package orders

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/fnhost/fnhost/functions"
)

// NewOrder is what a customer wants.
type NewOrder struct {
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
}

// Order is one that was accepted.
type Order struct {
	ID       string `json:"id"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
	Cents    int    `json:"cents"`
}

// Created is an order that is new.
type Created struct{ Order }

// StatusCode makes the answer over HTTP 201.
func (Created) StatusCode() int { return http.StatusCreated }

// HandleCreate accepts an order, at the price that the function prices says.
func HandleCreate(ctx context.Context, in NewOrder) (Created, error) {
	if in.Quantity < 1 || in.Quantity > 1000 {
		return Created{}, functions.Errorf(functions.Unprocessed, "quantity %d: want 1 to 1000", in.Quantity)
	}
	order, err := priced(ctx, in)
	if err != nil {
		return Created{}, err
	}
	functions.Log(ctx).Info("order accepted", "id", order.ID, "cents", order.Cents)
	return Created{order}, nil
}

// ByID names an order.
type ByID struct {
	ID string `json:"id"`
}

// HandleGet returns an order.
func HandleGet(ctx context.Context, in ByID) (Order, error) {
	item, quantity, ok := strings.Cut(in.ID, "-")
	n, err := strconv.Atoi(quantity)
	if !ok || err != nil {
		return Order{}, functions.Errorf(functions.NotFound, "no order %q", in.ID)
	}
	return priced(ctx, NewOrder{Item: item, Quantity: n})
}

// Filter says which items to list.
type Filter struct {
	Item  []string `json:"item"`
	Limit int      `json:"limit"`
}

// HandleList returns what one of each item would cost: ?item=apple&item=bread&limit=1.
func HandleList(ctx context.Context, in Filter) ([]Order, error) {
	list := []Order{}
	for _, item := range in.Item {
		if in.Limit > 0 && len(list) == in.Limit {
			break
		}
		order, err := priced(ctx, NewOrder{Item: item, Quantity: 1})
		if err != nil {
			return nil, err
		}
		list = append(list, order)
	}
	return list, nil
}

// priced asks another function for the price.
func priced(ctx context.Context, in NewOrder) (Order, error) {
	var price struct {
		Cents int `json:"cents"`
	}
	err := functions.Call(ctx, "prices", map[string]string{"item": in.Item}, &price)
	if errors.Is(err, functions.ErrNotFound) {
		return Order{}, functions.Errorf(functions.Unprocessed, "%q is not for sale", in.Item)
	}
	if err != nil {
		return Order{}, err
	}
	return Order{ID: fmt.Sprintf("%s-%d", in.Item, in.Quantity), Item: in.Item, Quantity: in.Quantity, Cents: price.Cents * in.Quantity}, nil
}
