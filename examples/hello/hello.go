// Package hello greets.
package hello

import "context"

// Request says whom to greet.
type Request struct {
	Name string // of who is greeted
}

// Greeting is what they hear.
type Greeting struct{ Message string }

// Handle greets somebody by name.
func Handle(ctx context.Context, req Request) (Greeting, error) {
	return Greeting{Message: "Hello, " + req.Name}, nil
}
