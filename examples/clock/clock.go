// Package clock tells the time, as a stream that goes on until the caller leaves.
//
//	curl -N localhost:8080/clock
package clock

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Handle sends a server-sent event each ?every= (default 1s), ?count= of them
// (default: no end).
func Handle(w http.ResponseWriter, r *http.Request) {
	every := time.Second
	if s := r.URL.Query().Get("every"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d < time.Millisecond {
			http.Error(w, fmt.Sprintf("every %q: want a duration such as 500ms", s), http.StatusBadRequest)
			return
		}
		every = d
	}
	count, _ := strconv.Atoi(r.URL.Query().Get("count"))
	if r.Method == http.MethodPost && count == 0 {
		count = 1 // a NATS request wants an answer that ends
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w).Flush
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for n := 1; ; n++ {
		fmt.Fprintf(w, "id: %d\ndata: %s\n\n", n, time.Now().Format(time.RFC3339Nano))
		if flush() != nil || n == count {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}
