package gateway

import (
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// hopByHop are the headers that concern one connection alone (RFC 9110, 7.6.1).
var hopByHop = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

func isHopByHop(name string) bool { return hopByHop[name] }

// requestHeader appends to h what a function gets to know of a request.
func requestHeader(h wire.Header, r *http.Request, t *target) (wire.Header, error) {
	h = h.Add(wire.KeyMethod, r.Method)
	fits := true
	add := func(key, value string) {
		if fits = fits && h.Fits(key, value); fits {
			h = h.Add(key, value)
		}
	}
	uri := t.uri
	if r.URL.RawQuery != "" {
		uri += "?" + r.URL.RawQuery
		add(wire.KeyQuery, r.URL.RawQuery)
	}
	add(wire.KeyURI, uri)
	add(wire.KeyHost, r.Host)
	add(wire.KeyRemote, r.RemoteAddr)
	if r.TLS != nil {
		h = h.Add(wire.KeyScheme, "https")
	}
	for _, name := range t.values {
		add(wire.KeyValue, name+"="+r.PathValue(name))
	}
	dropped := connectionHeaders(r.Header)
	for name, values := range r.Header {
		if isHopByHop(name) || strings.HasPrefix(name, "X-Fn-") || strings.HasPrefix(name, ":") || name == prefixHeader || dropped[name] || t.isProof(name) {
			continue
		}
		if name == "Cookie" {
			values = t.cookiesFor(values)
		}
		for _, value := range values {
			add(name, value)
		}
	}
	if t.identity.Account != "" {
		add(wire.KeyIdentity, t.identity.Encoded)
	}
	if prefix := mountedAt(r) + t.prefix; prefix != "" && t.endpoint.Kind == wire.EndpointHTTP {
		add(prefixHeader, prefix)
	}
	if !fits || len(h) > wire.MaxHeader-reserved {
		return h, wire.Errorf(wire.HeaderLarge, "the request's headers are larger than %d bytes", wire.MaxHeader-reserved)
	}
	return h, nil
}

// prefixHeader tells a handler what stands before its own path. Links are made
// with it, so that it is never taken from the client.
const prefixHeader = "X-Forwarded-Prefix"

// mountedAt returns what was stripped of the path before it came to the gateway,
// where it is mounted in a server of somebody else.
func mountedAt(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if mount, ok := strings.CutSuffix(path, r.URL.EscapedPath()); ok && strings.HasPrefix(mount, "/") {
		return mount
	}
	return ""
}

// reserved is the room that the invoker's own fields need.
const reserved = 1 << 10

// connectionHeaders returns the headers that Connection names, which are then
// hop-by-hop, too.
func connectionHeaders(h http.Header) map[string]bool {
	values := h["Connection"]
	if len(values) == 0 {
		return nil
	}
	var named map[string]bool
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if name == "" || name == "Close" || name == "Keep-Alive" {
				continue
			}
			if named == nil {
				named = make(map[string]bool)
			}
			named[name] = true
		}
	}
	return named
}

// setLength says how long a complete response is.
func setLength(h http.Header, r *http.Request, result *trigger.Result) {
	switch {
	case result.Status() == http.StatusNoContent:
		h.Del("Content-Length")
		return
	case result.Status() == http.StatusNotModified || r.Method == http.MethodHead && h["Content-Length"] != nil:
		return
	}
	h["Content-Length"] = []string{strconv.Itoa(len(result.Payload))}
}

// inlineBody is up to what length a body is read before the invocation.
const inlineBody = wire.MaxPayload

// readBody gives the request's body to the invocation: whole, if it is short,
// else as a stream, which is returned and must be released.
func readBody(w http.ResponseWriter, r *http.Request, t *target, inv *trigger.Invocation) (*streamedBody, error) {
	limit := t.fn.Manifest.Body
	switch {
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		return nil, nil
	case r.ContentLength > limit:
		return nil, trigger.BodyTooLarge(limit)
	case t.endpoint.Kind == wire.EndpointJSON && isMultipart(r):
		return nil, readMultipart(w, r, limit, inv)
	case r.ContentLength > 0 && r.ContentLength <= inlineBody:
		inv.Payload = make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, inv.Payload); err != nil {
			return nil, bodyError(err)
		}
		return nil, nil
	}
	b := &streamedBody{req: r, w: w, r: r.Body, limit: limit, left: limit, rc: http.NewResponseController(w)}
	b.rc.EnableFullDuplex() // not needed, and refused, for HTTP/2
	b.rc.SetReadDeadline(time.Time{})
	inv.Body = b
	return b, nil
}

// streamedBody is a body that is read while the function runs. The server wants
// nobody to read it any more when the handler has returned. It is not read by
// the goroutine that writes the response, so that it must not touch that, as
// [http.MaxBytesReader] does.
type streamedBody struct {
	req   *http.Request
	w     http.ResponseWriter // of release alone
	r     io.Reader
	rc    *http.ResponseController
	limit int64

	mu       sync.Mutex // held while reading
	left     int64      // of limit
	err      error      // the end, or what went wrong
	released bool
}

var errReleased = errors.New("the request is over")

func (b *streamedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.released:
		return 0, errReleased
	case b.err != nil:
		return 0, b.err
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left+1)])
	if int64(n) > b.left {
		n, err = int(b.left), &http.MaxBytesError{Limit: b.limit}
	}
	b.left -= int64(n)
	if err != nil && err != io.EOF {
		err = bodyError(err)
	}
	b.err = err
	return n, err
}

// What is left of a body that nobody wanted is read for so long, so that the
// connection can be kept.
const (
	leftoverTime = 5 * time.Millisecond
	leftoverSize = 256 << 10
)

// release ends the reading. It is called by the goroutine that writes the
// response. A connection whose body was not read to its end is closed after the
// response: what is left of it must not be taken for the next request, which is
// what the server does with it in full duplex after a failed read (and it panics
// over an end that it finds by itself).
func (b *streamedBody) release() {
	if !b.mu.TryLock() {
		b.rc.SetReadDeadline(time.Unix(1, 0)) // wakes a read that waits for the client
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if b.released {
		return
	}
	b.released = true
	if b.err == io.EOF || b.req.ProtoMajor != 1 {
		return
	}
	if (b.err == nil || wire.AsError(b.err).Code == wire.TooLarge) && b.req.Header.Get("Expect") == "" {
		b.rc.SetReadDeadline(time.Now().Add(leftoverTime))
		if _, err := io.CopyN(io.Discard, b.r, leftoverSize); err == io.EOF {
			b.rc.SetReadDeadline(time.Time{})
			return
		}
	}
	b.rc.SetReadDeadline(time.Unix(1, 0))
	closeAfterResponse(b.w)
}

// closeAfterResponse makes the server close the connection of w. The one way to
// tell it when the headers are out is a body over its limit.
func closeAfterResponse(w http.ResponseWriter) {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = wrapper.Unwrap()
	}
	http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
}

func isMultipart(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data")
}

// readMultipart turns a multipart form into a plain one, which typed endpoints
// decode without linking a MIME parser. Files become base64, as []byte is in JSON.
func readMultipart(w http.ResponseWriter, r *http.Request, limit int64, inv *trigger.Invocation) error {
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	parts, err := r.MultipartReader()
	if err != nil {
		return wire.Errorf(wire.BadRequest, "multipart form: %v", err)
	}
	values := make(url.Values)
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return multipartError(err)
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return multipartError(err)
		}
		text := string(data)
		if part.FileName() != "" {
			text = base64.StdEncoding.EncodeToString(data)
		}
		if name := part.FormName(); name != "" {
			values.Add(name, text)
		}
	}
	inv.Payload = []byte(values.Encode())
	inv.Header = replaceContentType(inv.Header, "application/x-www-form-urlencoded")
	return nil
}

func multipartError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) || errors.Is(err, os.ErrDeadlineExceeded) {
		return bodyError(err)
	}
	return wire.Errorf(wire.BadRequest, "multipart form: %v", err)
}

func replaceContentType(h wire.Header, contentType string) wire.Header {
	changed := make(wire.Header, 0, len(h)+64)
	for key, value := range h.All() {
		if key != "Content-Type" && key != "Content-Length" {
			changed = changed.Add(key, value)
		}
	}
	return changed.Add("Content-Type", contentType)
}

// wantsHTML reports whether a browser asks, rather than a program.
func wantsHTML(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		media, params, err := mime.ParseMediaType(part)
		if err == nil && media == "text/html" && params["q"] != "0" {
			return true
		}
	}
	return false
}
