package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

func TestBothWaysAtOnce(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture, client *http.Client) {
		f.run = func(_ context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
			pr, pw := io.Pipe()
			go func() {
				lines := bufio.NewScanner(inv.Body)
				for lines.Scan() {
					fmt.Fprintf(pw, "echo %s\n", lines.Text())
				}
				pw.CloseWithError(lines.Err())
			}()
			return &trigger.Result{Body: pr}, nil
		}
		pr, pw := io.Pipe()
		resp, err := client.Do(f.request(t, "POST", "/f", pr))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewReader(resp.Body)
		for i := range 10 {
			fmt.Fprintf(pw, "%d\n", i)
			if got, err := lines.ReadString('\n'); err != nil || got != fmt.Sprintf("echo %d\n", i) {
				t.Fatalf("line %q, %v", got, err)
			}
		}
		pw.Close()
		if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
			t.Errorf("after the end: %q, %v", rest, err)
		}
	})
}

func TestEventsArriveAsTheyAreWritten(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture, client *http.Client) {
		pr, pw := io.Pipe()
		f.run = func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
			r := result("", "Content-Type", "text/event-stream", "Content-Length", "99")
			r.Body = pr
			return r, nil
		}
		resp, err := client.Do(f.request(t, "GET", "/f", nil)) // the head comes before the first event
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.Header.Get("Content-Type") != "text/event-stream" || resp.ContentLength != -1 {
			t.Errorf("headers %v, length %d", resp.Header, resp.ContentLength)
		}
		buf := make([]byte, 100)
		for i := range 5 {
			event := fmt.Sprintf("data: %d\n\n", i)
			io.WriteString(pw, event)
			if n, err := io.ReadFull(resp.Body, buf[:len(event)]); err != nil || string(buf[:n]) != event {
				t.Fatalf("event %q, %v", buf[:n], err)
			}
		}
		pw.Close()
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("after the end: %q, %v", rest, err)
		}
	})
}

func TestClientThatGoesCancels(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture, client *http.Client) {
		entered, ended := make(chan bool), make(chan error, 1)
		f.run = func(ctx context.Context, _ *trigger.Invocation) (*trigger.Result, error) {
			close(entered)
			select {
			case <-ctx.Done():
				ended <- nil
			case <-time.After(10 * time.Second):
				ended <- errors.New("the context goes on without its client")
			}
			return nil, ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-entered
			cancel()
		}()
		if _, err := client.Do(f.request(t, "GET", "/f", nil).WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v", err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestClientThatGoesInTheMiddleClosesTheBody(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture, client *http.Client) {
		e := &endless{make(chan struct{})}
		f.run = func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
			return &trigger.Result{Body: e}, nil
		}
		resp, err := client.Do(f.request(t, "GET", "/f", nil))
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(resp.Body, make([]byte, 40))
		resp.Body.Close()
		select {
		case <-e.closed:
		case <-time.After(10 * time.Second):
			t.Error("the body is still read")
		}
	})
}

func TestBrokenResponseIsNotTakenForAWhole(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture, client *http.Client) {
		for _, failure := range []error{wire.Errorf(wire.Crashed, "the worker ended"), io.ErrUnexpectedEOF, context.DeadlineExceeded} {
			pr, pw := io.Pipe()
			f.run = func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
				return &trigger.Result{Payload: []byte("part"), Body: pr}, nil
			}
			resp, err := client.Do(f.request(t, "GET", "/f", nil))
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(pw, "more")
			pw.CloseWithError(failure)
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil || string(body) != "partmore" {
				t.Errorf("%v: %q, %v; want an error after the part", failure, body, err)
			}
		}
		f.server.Close() // all has been logged
		if n := strings.Count(f.log.String(), "response broken off"); n != 3 {
			t.Errorf("log: %s", f.log)
		}
	})
}

func TestLargeResponses(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture, client *http.Client) {
		want := strings.Repeat("0123456789", 300_000)
		for _, streamed := range []bool{false, true} {
			f.run = func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
				r := result(want)
				if streamed {
					r.Payload, r.Body = []byte(want[:100]), io.NopCloser(strings.NewReader(want[100:]))
				}
				return r, nil
			}
			resp, err := client.Do(f.request(t, "GET", "/f", nil))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(body) != want || !streamed && resp.ContentLength != int64(len(want)) {
				t.Errorf("streamed %v: %d bytes of %d, %v, length %d", streamed, len(body), len(want), err, resp.ContentLength)
			}
		}
	})
}
