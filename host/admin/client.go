package admin

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/trigger/codec"
)

// ErrUnreachable is wrapped by the errors of a [Client] that finds no host.
var ErrUnreachable = errors.New("no fnhost answers")

// Client speaks to the management API of a host. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	space string      // namespace, "" for the default one
	knows atomic.Bool // the host is known to have namespaces
	http  *http.Client

	fresh  func(ctx context.Context, refused string) (string, error) // ClientOptions.Fresh
	proved atomic.Bool                                               // the host has taken a token of it
}

// ClientOptions say how a client is to be let in. The zero value is for hosts
// without a token.
type ClientOptions struct {
	Token string         // that the host wants
	CA    *x509.CertPool // to trust, instead of those of the system

	// Fresh returns the token for a request, in place of Token, which is good for a while: it is
	// asked before each. If the host has refused one, it is asked with that one, and the
	// request is sent again if it has another. Its error is that of the request.
	Fresh func(ctx context.Context, refused string) (string, error)

	// Namespace is the one that requests are for. Default: "default".
	Namespace string
}

// NewClient returns a Client of the host whose admin listener is at base, a URL
// such as "http://127.0.0.1:8081". It refuses to send a token without TLS to an
// address that is not of this machine.
func NewClient(base string, o ClientOptions) (*Client, error) {
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("admin: %q is not the URL of a host: want http://HOST:PORT", base)
	}
	if (o.Token != "" || o.Fresh != nil) && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("admin: the token would go to %s in the clear: use https", base)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if o.CA != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: o.CA, MinVersion: tls.VersionTLS12}
	}
	return &Client{base: strings.TrimSuffix(base, "/"), token: o.Token, fresh: o.Fresh, space: o.Namespace, http: &http.Client{Transport: transport}}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// URL returns the address of the host.
func (c *Client) URL() string { return c.base }

// Info returns what host answers.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var v Info
	return v, c.get(ctx, "/v1/info", &v)
}

// Functions returns all functions.
func (c *Client) Functions(ctx context.Context) ([]Function, error) {
	var v []Function
	return v, c.get(ctx, "/v1/functions", &v)
}

// Function returns one. The error is of code NoFunction if there is none of that name.
func (c *Client) Function(ctx context.Context, name string) (Function, error) {
	var v Function
	return v, c.get(ctx, "/v1/functions/"+url.PathEscape(name), &v)
}

// Result is the answer of a function. Its Body must be closed.
type Result struct {
	ContentType string
	Status      int // that it would have over HTTP
	Version     string
	Invocation  string
	Body        io.ReadCloser
}

// Invoke runs "function" or "function/endpoint". The function sees header, but
// for what concerns the connection alone, and query as its parameters.
func (c *Client) Invoke(ctx context.Context, name string, header http.Header, query url.Values, body io.Reader) (*Result, error) {
	uri := ""
	if len(query) > 0 {
		uri = "/?" + query.Encode()
	}
	return c.Request(ctx, name, "", uri, header, body)
}

// Request is Invoke with the method and the URI, such as "/x?width=10", that a
// handler in the style of net/http sees: "" is POST, and "/".
func (c *Client) Request(ctx context.Context, name, method, uri string, header http.Header, body io.Reader) (*Result, error) {
	sent := invokeHeaders(method, uri, header)
	resp, err := c.do(ctx, http.MethodPost, "/v1/invoke/"+name, sent, body)
	if err != nil {
		return nil, err
	}
	status, err := strconv.Atoi(resp.Header.Get("X-Fn-Status"))
	if err != nil {
		status = resp.StatusCode
	}
	return &Result{
		ContentType: resp.Header.Get("Content-Type"), Status: status, Body: resp.Body,
		Version: resp.Header.Get("X-Fn-Version"), Invocation: resp.Header.Get("X-Fn-Invocation"),
	}, nil
}

// invokeHeaders are the headers of the request for an invocation.
func invokeHeaders(method, uri string, header http.Header) http.Header {
	sent := make(http.Header)
	for key, values := range header {
		sent[passPrefix+http.CanonicalHeaderKey(key)] = values
	}
	if method != "" {
		sent.Set(methodHeader, method)
	}
	if uri != "" {
		sent.Set(uriHeader, uri)
	}
	return sent
}

// Logs calls yield with the records that q chooses, until there are no more,
// yield returns an error, or, when following, ctx ends or the host goes away.
func (c *Client) Logs(ctx context.Context, q logs.Query, yield func(logs.Record) error) error {
	v := url.Values{"follow": {strconv.FormatBool(q.Follow)}, "tail": {strconv.Itoa(q.Tail)}}
	if q.Function != "" {
		v.Set("function", q.Function)
	}
	if q.Invocation != "" {
		v.Set("invocation", q.Invocation)
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	resp, err := c.do(ctx, http.MethodGet, "/v1/logs?"+v.Encode(), nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for {
		line, err := r.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var rec logs.Record
			if err := codec.Unmarshal(line, &rec); err != nil {
				return fmt.Errorf("logs: %w", err)
			}
			if err := yield(rec); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("logs: %w", err)
		}
	}
}

func (c *Client) get(ctx context.Context, path string, v any) error {
	resp, err := c.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	return decode(resp, v)
}

func decode(resp *http.Response, v any) error {
	defer resp.Body.Close()
	return codec.Decode(resp.Body, v)
}

// send sends v as JSON, and decodes the answer into result, if that is not nil.
func (c *Client) send(ctx context.Context, method, path string, v, result any) error {
	var body io.Reader
	if v != nil {
		b, err := codec.Marshal(v)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.do(ctx, method, path, http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if result == nil {
		return nil
	}
	return codec.Decode(resp.Body, result)
}

// do sends a request. Answers other than 2xx become errors.
func (c *Client) do(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	if c.space == "" || c.space == DefaultNamespace || managesNamespaces(path) {
		return c.request(ctx, method, path, header, body)
	}
	if !c.knows.Load() { // a host that does not know the header would do it in the default one
		resp, err := c.request(ctx, http.MethodGet, "/healthz", nil, nil)
		if err != nil {
			return nil, err
		}
		resp.Body.Close()
		if theirs := resp.Header.Get(versionHeader); older(theirs, namespacesSince) {
			return nil, fmt.Errorf("the host at %s speaks version %s of the management API, which has no namespaces: update fnhost there", c.base, cmp.Or(theirs, "1.0"))
		}
		c.knows.Store(true)
	}
	h := maps.Clone(header)
	if h == nil {
		h = make(http.Header)
	}
	h.Set(HeaderNamespace, c.space)
	return c.request(ctx, method, path, h, body)
}

func (c *Client) request(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	resp, err := c.roundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if _, ok := err.(*url.Error); !ok { // there was no token to send it with
			return nil, err
		}
		if errors.Is(err, http.ErrSchemeMismatch) {
			return nil, fmt.Errorf("%s speaks no TLS: use http://%s; a management API has TLS only on an address that other machines reach", c.base, strings.TrimPrefix(c.base, "https://"))
		}
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base, errors.Unwrap(err))
		}
		return nil, fmt.Errorf("the host at %s went away before it answered: %w", c.base, errors.Unwrap(err))
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	var p Problem
	data, _ := io.ReadAll(io.LimitReader(resp.Body, codec.MaxSize))
	theirs := resp.Header.Get(versionHeader)
	if codec.Unmarshal(data, &p) != nil || p.Code == "" || theirs == "" && p.Code != string(wire.NotFound) {
		if strings.HasPrefix(c.base, "http://") && bytes.Contains(data, []byte("HTTP request to an HTTPS server")) {
			return nil, fmt.Errorf("%s speaks TLS: use https://%s", c.base, strings.TrimPrefix(c.base, "http://"))
		}
		return nil, fmt.Errorf("%s answers %s: it is a gateway, or something else, but no admin address: try port 8081", c.base, resp.Status)
	}
	if p.Code == string(wire.NotFound) && older(theirs, APIVersion) {
		return nil, fmt.Errorf("the host at %s speaks version %s of the management API, and this needs %s: update fnhost there", c.base, cmp.Or(theirs, "1.0"), APIVersion)
	}
	if len(p.Diagnostics) > 0 {
		return nil, &p
	}
	return nil, &wire.Error{Code: wire.Code(p.Code), Message: p.Detail}
}

// older reports whether an API version is before another one; one that is not
// told is that of the first hosts.
func older(a, b string) bool {
	number := func(s string) (n int) {
		major, minor, _ := strings.Cut(s, ".")
		x, _ := strconv.Atoi(major)
		y, _ := strconv.Atoi(minor)
		return x*1000 + y
	}
	return number(a) < number(b)
}
