package gitpush

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"sync"
)

// way is how git connects to a repository.
type way struct {
	env, config []string
	gate        *gate // nil without Config.Dial, and for ssh
}

// wayTo returns the way to u, which is to be closed.
func (s *Server) wayTo(ctx context.Context, u *url.URL) (*way, error) {
	if u.Scheme == "ssh" {
		command, err := s.sshCommand(ctx, u)
		return &way{env: []string{"GIT_SSH_COMMAND=" + command}}, err
	}
	if s.cfg.Dial == nil {
		return &way{}, nil
	}
	g, err := s.openGate()
	if err != nil {
		return nil, err
	}
	proxy := url.URL{Scheme: "http", User: url.UserPassword("fnhost", g.secret), Host: g.addr}
	return &way{gate: g, config: []string{"http.proxyAuthMethod=basic"},
		env: []string{"http_proxy=" + proxy.String(), "https_proxy=" + proxy.String(), "no_proxy="}}, nil
}

func (w *way) close() {
	if w.gate != nil {
		w.gate.close()
	}
}

// refused returns why a connection was not made, nil if all were.
func (w *way) refused() error {
	if w.gate == nil {
		return nil
	}
	w.gate.mu.Lock()
	defer w.gate.mu.Unlock()
	return w.gate.refused
}

// gate is an HTTP proxy that one fetch goes through, so that each of its connections, of
// redirects, too, is made by Config.Dial. It lets in who knows its secret.
type gate struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	secret string
	srv    *http.Server
	addr   string
	tasks  sync.WaitGroup
	plain  *http.Transport // for http://, which is not tunneled

	mu      sync.Mutex
	refused error // the latest connection that could not be made
	tunnels []net.Conn
	closed  bool
}

func (s *Server) openGate() (*gate, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("gitpush: %w", err)
	}
	g := &gate{dial: s.cfg.Dial, secret: rand.Text(), addr: l.Addr().String()}
	g.plain = &http.Transport{DialContext: g.connect, DisableCompression: true}
	g.srv = &http.Server{Handler: g, ReadHeaderTimeout: grace, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	g.tasks.Go(func() { g.srv.Serve(l) })
	return g, nil
}

// close ends all connections.
func (g *gate) close() {
	g.srv.Close()
	g.plain.CloseIdleConnections()
	g.mu.Lock()
	g.closed = true
	for _, c := range g.tunnels {
		c.Close()
	}
	g.mu.Unlock()
	g.tasks.Wait()
}

func (g *gate) connect(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := g.dial(ctx, network, address)
	if err != nil && ctx.Err() == nil {
		g.mu.Lock()
		g.refused = err
		g.mu.Unlock()
	}
	return c, err
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("fnhost:"+g.secret))
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Proxy-Authorization")), []byte(want)) != 1 {
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	switch {
	case r.Method == http.MethodConnect:
		g.tunnel(w, r)
	case r.URL.Scheme == "http":
		proxy := httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}, Transport: g.plain, FlushInterval: -1,
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}
		// An answer may begin before the end of the request was read, which the server would
		// then read by itself: the request, and with it the answer, would be broken off.
		http.NewResponseController(w).EnableFullDuplex()
		proxy.ServeHTTP(w, r)
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
}

// tunnel connects a client with whom it names, until one of both ends.
func (g *gate) tunnel(w http.ResponseWriter, r *http.Request) {
	out, err := g.connect(r.Context(), "tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	in, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		out.Close()
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		in.Close()
		out.Close()
		return
	}
	g.tunnels = append(g.tunnels, in, out)
	io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
	for from, to := range map[net.Conn]net.Conn{in: out, out: in} {
		g.tasks.Go(func() {
			io.Copy(to, from)
			to.Close()
			from.Close()
		})
	}
}

var plainHost = regexp.MustCompile(`^[0-9A-Za-z]([0-9A-Za-z.:_-]*[0-9A-Za-z])?$`)

// sshCommand is the command that git connects by to u: to an address that may be
// connected to, under the name that the key of the host is known by.
func (s *Server) sshCommand(ctx context.Context, u *url.URL) (string, error) {
	command := "ssh -o BatchMode=yes"
	if s.cfg.Lookup == nil {
		return command, nil
	}
	host := u.Hostname()
	if !plainHost.MatchString(host) { // it stands in a line of a shell
		return "", rejectf("%q is not the name of a host", host)
	}
	list, err := s.cfg.Lookup(ctx, host)
	if err != nil || len(list) == 0 {
		return "", rejectf("%s: %v", host, err)
	}
	addr := list[0]
	for _, a := range list {
		if a.Is4() {
			addr = a
			break
		}
	}
	alias := host
	if port := u.Port(); port != "" && port != "22" {
		alias = fmt.Sprintf("[%s]:%s", host, port)
	}
	return fmt.Sprintf("%s -o 'HostName=%s' -o 'HostKeyAlias=%s'", command, addr, alias), nil
}
