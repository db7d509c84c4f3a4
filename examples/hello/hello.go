// Package hello greets.
package hello

import "context"

type Request struct{ Name string }
type Greeting struct{ Message string }

// Handle greets somebody by name.
func Handle(ctx context.Context, req Request) (Greeting, error) {
	return Greeting{Message: "Hello, " + req.Name}, nil
}
