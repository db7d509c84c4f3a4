package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// echo answers with the body, or with what was wrong with it.
func echo(_ context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
	body, err := readAll(inv)
	if err != nil {
		return nil, err
	}
	return result(body), nil
}

// unsized hides how long a body is, so that it is sent in chunks.
type unsized struct{ io.Reader }

func TestBodiesReachTheFunction(t *testing.T) {
	f := start(t, nil, function("f", ""), function("typed", ":"+wire.EndpointJSON))
	f.run = echo
	for _, path := range []string{"/f", "/typed"} {
		for _, size := range []int{0, 1, wire.MaxPayload, wire.MaxPayload + 1, 1 << 20} {
			want := strings.Repeat("x", size)
			for _, body := range []io.Reader{strings.NewReader(want), unsized{strings.NewReader(want)}} {
				resp, got := f.do(t, f.request(t, "POST", path, body))
				if resp.StatusCode != 200 || got != want {
					t.Errorf("%s, %T of %d bytes: status %d, %d bytes", path, body, size, resp.StatusCode, len(got))
				}
			}
		}
	}
}

func TestConnectionIsKeptAfterAStreamedBody(t *testing.T) {
	f := start(t, nil, function("f", ""))
	f.run = echo
	reused := 0
	for range 5 {
		req := f.request(t, "POST", "/f", unsized{strings.NewReader(strings.Repeat("x", 100_000))})
		trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
			if info.Reused {
				reused++
			}
		}}
		f.do(t, req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	}
	if reused != 4 {
		t.Errorf("connection reused %d times, want 4", reused)
	}
}

func TestBodiesOverTheLimit(t *testing.T) {
	small, typed := function("f", ""), function("typed", ":"+wire.EndpointJSON)
	small.Manifest.Body, typed.Manifest.Body = 100_000, 100_000
	f := start(t, nil, small, typed)
	f.run = echo
	tooLarge := strings.Repeat("x", 100_001)
	for _, path := range []string{"/f", "/typed"} {
		for _, body := range []io.Reader{strings.NewReader(tooLarge), unsized{strings.NewReader(tooLarge)}} {
			resp, text := f.do(t, f.request(t, "POST", path, body))
			p := checkProblem(t, resp, text, 413, wire.TooLarge)
			if !strings.Contains(p.Detail, "limit of 100000 bytes: raise `body:` in its function.yaml") {
				t.Errorf("detail %q does not name the limit", p.Detail)
			}
		}
		fits := unsized{strings.NewReader(tooLarge[1:])}
		if resp, got := f.do(t, f.request(t, "POST", path, fits)); resp.StatusCode != 200 || len(got) != 100_000 {
			t.Errorf("exactly the limit: status %d, %d bytes", resp.StatusCode, len(got))
		}
	}
}

// The reading of a body must not touch the response, which another goroutine
// writes meanwhile.
func TestLimitIsHitWhileTheResponseIsWritten(t *testing.T) {
	fn := function("f", "")
	fn.Manifest.Body = 200_000
	f := start(t, nil, fn)
	f.run = func(_ context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
		pr, pw := io.Pipe()
		go func() {
			_, err := readAll(inv)
			if codeOf(err) != wire.TooLarge && !errors.Is(err, errReleased) {
				t.Errorf("the body ended with %v", err)
			}
			pw.Close()
		}()
		r := result("head", "X-A", "1", "X-B", "2")
		r.Body = pr
		return r, nil
	}
	for range 20 {
		resp, err := f.server.Client().Do(f.request(t, "POST", "/f", unsized{strings.NewReader(strings.Repeat("x", 300_000))}))
		if err != nil {
			continue // the server may close while the client writes
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

func codeOf(err error) wire.Code {
	if e := wire.AsError(err); e != nil {
		return e.Code
	}
	return ""
}

func TestSlowBody(t *testing.T) {
	f := start(t, func(s *httptest.Server) { s.Config.ReadTimeout = 100 * time.Millisecond }, function("f", ""), function("typed", ":"+wire.EndpointJSON))
	f.run = echo
	for name, head := range map[string]string{
		"short":     "POST /f HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegin",
		"multipart": "POST /typed HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n",
	} {
		answer := f.raw(t, head)
		if !strings.HasPrefix(answer, "HTTP/1.1 408 Request Timeout\r\n") || !strings.Contains(answer, `"code":"request_timeout"`) {
			t.Errorf("%s: %s", name, answer)
		}
		if f.invocation() != nil {
			t.Errorf("%s: the function was invoked", name)
		}
	}
}

func TestBodyThatBreaksOff(t *testing.T) {
	f := start(t, nil, function("f", ""))
	got := make(chan error, 1)
	f.run = func(_ context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
		_, err := readAll(inv)
		got <- err
		return nil, err
	}
	conn, err := net.Dial("tcp", f.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "POST /f HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")
	conn.Close()
	if err := <-got; codeOf(err) != wire.BadRequest {
		t.Errorf("the body ended with %v", err)
	}
}

// What a function leaves of a body must not be in the way of the next request.
func TestUnreadBodies(t *testing.T) {
	f := start(t, nil, function("f", ""))
	f.run = func(_ context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
		n, err := strconv.Atoi(inv.Header.Get("X-Read"))
		if err != nil {
			return nil, err
		}
		if _, err := io.CopyN(io.Discard, inv.Body, int64(n)); err != nil {
			return nil, err
		}
		return result("ok"), nil
	}
	for i := range 60 {
		read := strconv.Itoa([]int{0, 100, 99_999, 100_000}[i%4])
		body := io.Reader(unsized{strings.NewReader(strings.Repeat("x", 100_000))})
		if i%3 == 0 {
			body = strings.NewReader(strings.Repeat("x", 1_000_000))
		}
		if resp, got := f.do(t, f.request(t, "POST", "/f", body, "X-Read", read)); resp.StatusCode != 200 || got != "ok" {
			t.Fatalf("request %d: status %d, %s", i, resp.StatusCode, got)
		}
	}
}

// What follows a response in the middle of a body is no request.
func TestRestOfABodyIsNotARequest(t *testing.T) {
	f := start(t, nil, function("f", ""))
	requests := 0
	for _, streamed := range []bool{false, true} {
		f.run = func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
			requests++
			if streamed {
				return &trigger.Result{Body: io.NopCloser(strings.NewReader("early"))}, nil
			}
			return result("early"), nil
		}
		conn, err := net.Dial("tcp", f.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, "POST /f HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegin")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "early" || resp.Close == streamed {
			t.Errorf("streamed %v: %q, %v, close %v", streamed, body, err, resp.Close)
		}
		io.WriteString(conn, "GET /f HTTP/1.1\r\nHost: a\r\n\r\n")
		if rest, _ := io.ReadAll(conn); len(rest) > 0 {
			t.Errorf("streamed %v: answered %q", streamed, rest)
		}
		conn.Close()
	}
	if requests != 2 {
		t.Errorf("%d requests, want 2", requests)
	}
}

// A client that stalls with a body that nobody wants must not hold the server.
func TestUnwantedBody(t *testing.T) {
	f := start(t, nil, function("f", ""))
	f.run = func(_ context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
		if inv.Body == nil {
			t.Error("the body is not streamed")
		}
		return result("early"), nil
	}
	begin := time.Now()
	answer := f.raw(t, "POST /f HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(answer, "early") {
		t.Errorf("answer %s", answer)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the connection was held for %v", took)
	}
}

// A function that goes on reading when its response has ended must not hold it.
func TestBodyIsReadAfterTheEnd(t *testing.T) {
	f := start(t, nil, function("f", ""))
	ended := make(chan error, 1)
	f.run = func(_ context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
		go func() {
			_, err := readAll(inv)
			ended <- err
		}()
		time.Sleep(20 * time.Millisecond) // so that it reads
		return result("early"), nil
	}
	answer := f.raw(t, "POST /f HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")
	if !strings.HasSuffix(answer, "early") {
		t.Errorf("answer %s", answer)
	}
	if err := <-ended; err == nil {
		t.Error("the reading ended without an error")
	}
}

func TestMultipart(t *testing.T) {
	typed := function("typed", ":"+wire.EndpointJSON)
	typed.Manifest.Body = 10_000
	f := start(t, nil, typed, function("raw", ":"+wire.EndpointRaw))
	f.run = echo
	form := func(fill func(w *multipart.Writer)) (io.Reader, string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		fill(w)
		w.Close()
		return &b, w.FormDataContentType()
	}
	fill := func(w *multipart.Writer) {
		w.WriteField("name", "a&b=c")
		w.WriteField("tag", "1")
		w.WriteField("tag", "2")
		file, _ := w.CreateFormFile("file", "x.bin")
		file.Write([]byte{0, 255})
		nameless, _ := w.CreatePart(nil)
		nameless.Write([]byte("nobody's"))
	}
	body, contentType := form(fill)
	resp, got := f.do(t, f.request(t, "POST", "/typed", body, "Content-Type", contentType, "X-Other", "1"))
	want := url.Values{"name": {"a&b=c"}, "tag": {"1", "2"}, "file": {"AP8="}}.Encode()
	h := f.invocation().Header
	if resp.StatusCode != 200 || got != want || h.Get("Content-Type") != "application/x-www-form-urlencoded" || h.Get("X-Other") != "1" || h.Get("Content-Length") != "" {
		t.Errorf("status %d, %q, want %q; header %q", resp.StatusCode, got, want, h)
	}
	body, contentType = form(fill)
	resp, got = f.do(t, f.request(t, "POST", "/raw", body, "Content-Type", contentType))
	if resp.StatusCode != 200 || !strings.Contains(got, "Content-Disposition") || f.invocation().Header.Get("Content-Type") != contentType {
		t.Errorf("raw: status %d, %q", resp.StatusCode, got)
	}
	for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, func(r io.Reader) io.Reader { return unsized{r} }} {
		body, contentType = form(func(w *multipart.Writer) { w.WriteField("a", strings.Repeat("x", 10_000)) })
		resp, got = f.do(t, f.request(t, "POST", "/typed", wrap(body), "Content-Type", contentType))
		checkProblem(t, resp, got, 413, wire.TooLarge)
	}
	for name, text := range map[string]string{"cut short": "--x\r\nContent-Disposition: form-data; name=a\r\n\r\nvalue", "no form": "hello"} {
		resp, got = f.do(t, f.request(t, "POST", "/typed", strings.NewReader(text), "Content-Type", "multipart/form-data; boundary=x"))
		if p := checkProblem(t, resp, got, 400, wire.BadRequest); !strings.Contains(p.Detail, "multipart form") {
			t.Errorf("%s: %+v", name, p)
		}
	}
	resp, got = f.do(t, f.request(t, "POST", "/typed", strings.NewReader("x"), "Content-Type", "multipart/form-data"))
	checkProblem(t, resp, got, 400, wire.BadRequest)
}

// protocols are the ways to speak to a server without TLS.
var protocols = map[string]func(*http.Protocols){
	"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
	"h2c":      func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
}

// eachProtocol runs test with a client and server of each.
func eachProtocol(t *testing.T, test func(t *testing.T, f *fixture, client *http.Client)) {
	for name, set := range protocols {
		t.Run(name, func(t *testing.T) {
			var p http.Protocols
			set(&p)
			f := start(t, func(s *httptest.Server) { s.Config.Protocols = &p }, function("f", ""))
			transport := &http.Transport{Protocols: &p}
			t.Cleanup(transport.CloseIdleConnections)
			test(t, f, &http.Client{Transport: transport})
		})
	}
}

func TestLimitOverEachProtocol(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture, client *http.Client) {
		fn := function("f", "")
		fn.Manifest.Body = 100_000
		f.gateway.Update(&trigger.Table{Functions: map[string]*trigger.Function{"f": fn}})
		f.run = echo
		resp, err := client.Do(f.request(t, "POST", "/f", unsized{strings.NewReader(strings.Repeat("x", 150_000))}))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		checkProblem(t, resp, string(body), 413, wire.TooLarge)
		if want := fmt.Sprint(fn.Manifest.Body); !strings.Contains(string(body), want) {
			t.Errorf("body %s", body)
		}
	})
}
