// Command embed is a program that hosts functions: one of its own, and those of
// a folder, behind its own HTTP server.
//
//	go run ./examples/embed -functions examples -http 127.0.0.1:9090
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"

	"github.com/fnhost/fnhost/host"
)

type ping struct{ From string }
type pong struct{ Answer string }

func main() {
	folder := flag.String("functions", "examples", "folder to watch")
	data := flag.String("data", "data", "data directory")
	address := flag.String("http", "127.0.0.1:9090", "address to listen on")
	flag.Parse()
	if err := run(*folder, *data, *address); err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
}

func run(folder, data, address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	h, err := host.New(host.Config{Dir: data, Watch: []string{folder}})
	if err != nil {
		return err
	}
	defer h.Close()
	err = h.Handle("ping", func(ctx context.Context, in ping) (pong, error) {
		return pong{Answer: "pong, " + in.From}, nil
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/fn/", http.StripPrefix("/fn", h.Gateway()))
	server := &http.Server{Addr: address, Handler: mux}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.ListenAndServe()

	out, err := h.Invoke(ctx, "hello", []byte(`{"Name":"Ada"}`))
	if err != nil {
		return err
	}
	fmt.Println(string(out))
	return h.Run(ctx)
}
