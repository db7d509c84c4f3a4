// Package orders is a function with several endpoints:
//
//	curl localhost:8080/orders/create -d '{"item":"apple","quantity":3}'
//	curl localhost:8080/api/orders/3-apple
//	curl 'localhost:8080/orders/list?id=3-apple&id=1-bread&item=apple'
//	nats request fn.orders.create '{"item":"apple","quantity":3}'
//
// Workers come and go, so it keeps nothing in memory. It stores nothing either:
// the id of an order says all that there is to know of it.
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

const (
	maxQuantity = 1000
	maxList     = 100
)

// NewOrder is what a customer asks for.
type NewOrder struct {
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
}

// Order is what a customer gets.
type Order struct {
	ID       string `json:"id"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
	Cents    int    `json:"cents"`
}

// Created is an order that is new.
type Created struct{ Order }

// StatusCode is that of the answer over HTTP, where 200 is not the right one.
func (Created) StatusCode() int { return http.StatusCreated }

// HandleCreate accepts an order.
func HandleCreate(ctx context.Context, in NewOrder) (Created, error) {
	if in.Quantity < 1 || in.Quantity > maxQuantity {
		return Created{}, functions.Errorf(functions.Unprocessed, "quantity %d: want 1 to %d", in.Quantity, maxQuantity)
	}
	order, err := price(ctx, in)
	if errors.Is(err, functions.ErrNotFound) {
		return Created{}, functions.Errorf(functions.Unprocessed, "item: %v", err)
	}
	if err != nil {
		return Created{}, err
	}
	functions.Log(ctx).Info("order accepted", "id", order.ID, "cents", order.Cents)
	return Created{order}, nil
}

// ByID names an order. The field takes the {id} of the route in function.yaml.
type ByID struct {
	ID string `json:"id"`
}

// HandleGet returns an order.
func HandleGet(ctx context.Context, in ByID) (Order, error) {
	number, item, _ := strings.Cut(in.ID, "-")
	quantity, err := strconv.Atoi(number)
	if err != nil || quantity < 1 || quantity > maxQuantity {
		return Order{}, functions.Errorf(functions.NotFound, "no order %q", in.ID)
	}
	return price(ctx, NewOrder{Item: item, Quantity: quantity})
}

// Filter chooses orders: ?id=3-apple&id=1-bread&item=apple&limit=10.
type Filter struct {
	ID    []string `json:"id"`
	Item  string   `json:"item"`  // only those of it
	Limit int      `json:"limit"` // at most so many
}

// HandleList returns those of the orders that the filter lets through.
func HandleList(ctx context.Context, in Filter) ([]Order, error) {
	if in.Limit < 0 || in.Limit > maxList {
		return nil, functions.Errorf(functions.BadRequest, "limit %d: want 1 to %d", in.Limit, maxList)
	}
	if in.Limit == 0 {
		in.Limit = maxList
	}
	list := []Order{} // in JSON [], and not null
	for _, id := range in.ID {
		order, err := HandleGet(ctx, ByID{id})
		if err != nil {
			return nil, err
		}
		if in.Item != "" && order.Item != in.Item {
			continue
		}
		if list = append(list, order); len(list) == in.Limit {
			break
		}
	}
	return list, nil
}

// price asks the function prices. An error of code NotFound stays one.
func price(ctx context.Context, in NewOrder) (Order, error) {
	var one struct {
		Cents int `json:"cents"`
	}
	err := functions.Call(ctx, "prices", map[string]string{"item": in.Item}, &one)
	if err != nil {
		return Order{}, err
	}
	return Order{
		ID: fmt.Sprintf("%d-%s", in.Quantity, in.Item), Item: in.Item, Quantity: in.Quantity,
		Cents: in.Quantity * one.Cents,
	}, nil
}
