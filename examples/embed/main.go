// Command embed is a server of its own with a host inside: one function is part
// of the program, those of a folder are built, watched and run.
//
//	go run ./examples/embed -functions examples
//	curl localhost:9090/fn/hello?name=Ada
//	curl localhost:9090/fn/ping?from=Ada
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"

	"github.com/fnhost/fnhost/host"
)

// Ping is what the function ping takes.
type Ping struct{ From string }

// Pong is its answer.
type Pong struct{ To string }

func ping(ctx context.Context, in Ping) (Pong, error) {
	return Pong{To: in.From}, nil
}

func main() {
	address := flag.String("http", "localhost:9090", "`address` to listen on")
	data := flag.String("data", ".fnhost/embed", "data `directory`, which no other host uses")
	functions := flag.String("functions", "examples", "`directory` of functions")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *address, *data, *functions); err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, address, data, functions string) error {
	h, err := host.New(host.Config{Dir: data, Watch: []string{functions}})
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.Handle("ping", ping); err != nil { // a function of this program
		return err
	}
	greeting, err := h.Invoke(ctx, "hello", []byte(`{"Name":"Ada"}`)) // waits until it is built
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle("/fn/", http.StripPrefix("/fn", h.Gateway())) // beside handlers of your own
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux}
	go server.Serve(listener)
	defer server.Shutdown(context.Background())         // last, the answers of those requests
	context.AfterFunc(ctx, func() { listener.Close() }) // first, no more connections
	fmt.Printf("%s\nlistening on http://%s/fn/\n", greeting, listener.Addr())
	return h.Run(ctx) // until ctx ends and what runs then has ended
}
