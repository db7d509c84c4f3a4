package bus

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// guard takes the connections of the network when not everybody may do everything, and
// hands them on to the server through pipes. It ends TLS, shows the door who is there,
// and looks at what those send who may not do all: the server does not ask
// whether an answer may go where it is asked to. JetStream, and the host, would
// publish there for a client what it may not publish itself.
type guard struct {
	door     *door
	srv      *server.Server
	tls      *tls.Config
	listener net.Listener
	said     *sparingLog

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	wg     sync.WaitGroup
}

// visit is a client of the network whose connection the server is about to see.
type visit struct {
	login   Login
	decided chan struct{} // closed when grant is set, or stays nil
	grant   *Grant
}

const (
	// visitor is the user of connections that the guard hands on; the password says which.
	visitor = "visitor"
	// maxLine bounds a line of the protocol; the server has a lower bound, but there are
	// long proofs, which it does not see.
	maxLine = 32 << 10
	// maxRequest bounds what is sent to JetStream to make a consumer.
	maxRequest = 1 << 20
	// refusedReply begins a subject that no client may publish to: the server says so to
	// a client, and in the log, in place of a message that was refused.
	refusedReply = "_REPLY_."
	// writeTimeout bounds how long a client may take nothing of what is sent to it.
	writeTimeout = 30 * time.Second
)

func newGuard(d *door, cfg Config) (*guard, error) {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("bus: NATS: %w: stop what uses the address, or choose another one", err)
	}
	return &guard{door: d, tls: cfg.TLS, listener: l, said: d.violated, conns: make(map[net.Conn]bool)}, nil
}

// start takes connections, for a server that runs.
func (g *guard) start(srv *server.Server) {
	g.srv = srv
	g.wg.Go(func() {
		for {
			c, err := g.listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // too many open files, mostly
				g.said.info("NATS: a connection was not taken: " + err.Error())
				time.Sleep(10 * time.Millisecond)
				continue
			}
			if g.add(c) {
				g.wg.Go(func() { g.serve(c) })
			}
		}
	})
}

// stop ends all connections, and waits.
func (g *guard) stop() {
	g.mu.Lock()
	g.closed = true
	_ = g.listener.Close()
	for c := range g.conns {
		_ = c.Close()
	}
	g.mu.Unlock()
	g.wg.Wait()
}

func (g *guard) add(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		_ = c.Close()
		return false
	}
	g.conns[c] = true
	return true
}

// serve carries one connection, to its end.
func (g *guard) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		g.mu.Lock()
		delete(g.conns, c)
		g.mu.Unlock()
	}()
	pipe, err := g.srv.InProcessConn()
	if err != nil {
		return
	}
	defer pipe.Close()
	if err := g.carry(c, pipe); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, os.ErrDeadlineExceeded) {
		g.said.info("NATS: a connection was ended: "+err.Error(), "remote", c.RemoteAddr().String())
	}
}

func (g *guard) carry(c, pipe net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(loginTimeout))
	_ = pipe.SetReadDeadline(time.Now().Add(loginTimeout))
	from := bufio.NewReaderSize(pipe, 32<<10)
	remote := c.RemoteAddr()
	state, c, err := g.greet(c, from)
	if err != nil {
		return err
	}
	_ = pipe.SetReadDeadline(time.Time{})
	in := bufio.NewReaderSize(c, maxLine)
	opts, err := introduction(in)
	if err != nil {
		return err
	}
	v := &visit{decided: make(chan struct{}), login: Login{User: opts.Username, Password: opts.Password, Token: opts.Token, Name: opts.Name, Remote: remote, TLS: state}}
	line, forget, err := g.door.announce(v, opts)
	if err != nil {
		return err
	}
	defer forget()
	_ = c.SetDeadline(time.Time{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		toClient(c, from)
		_ = c.Close() // whoever reads from it ends, too
		_ = pipe.Close()
	}()
	defer func() { <-ended }()
	if _, err := pipe.Write(line); err != nil {
		return err
	}
	select {
	case <-v.decided:
	case <-ended:
		return nil
	}
	if v.grant == nil {
		return nil // the server says so, and ends it
	}
	defer pipe.Close()
	if v.grant.All {
		_, err = io.Copy(pipe, in)
		return err
	}
	return (&filter{in: in, out: bufio.NewWriterSize(pipe, 32<<10), inbox: v.grant.Inbox}).run()
}

func toClient(c net.Conn, from *bufio.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// greet passes on the server's first line, and begins TLS after it.
func (g *guard) greet(c net.Conn, from *bufio.Reader) (*tls.ConnectionState, net.Conn, error) {
	line, err := from.ReadBytes('\n')
	if err != nil {
		return nil, nil, err
	}
	if g.tls == nil {
		_, err = c.Write(line)
		return nil, c, err
	}
	var info map[string]any
	rest, ok := strings.CutPrefix(string(line), "INFO ")
	if err := json.Unmarshal([]byte(rest), &info); err != nil || !ok {
		return nil, nil, errors.New("the server begins with something else than its INFO")
	}
	info["tls_required"] = true
	delete(info, "tls_available")
	b, err := json.Marshal(info)
	if err != nil {
		return nil, nil, err
	}
	if _, err := fmt.Fprintf(c, "INFO %s\r\n", b); err != nil {
		return nil, nil, err
	}
	secure := tls.Server(c, g.tls)
	ctx, cancel := context.WithTimeout(context.Background(), loginTimeout)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, nil, fmt.Errorf("TLS: %w", err)
	}
	state := secure.ConnectionState()
	return &state, secure, nil
}

// introduction reads the line by which a client begins.
func introduction(in *bufio.Reader) (*server.ClientOpts, error) {
	line, err := readLine(in)
	if err != nil {
		return nil, err
	}
	op, arg, _ := strings.Cut(line, " ")
	opts := &server.ClientOpts{Verbose: true, Pedantic: true, Echo: true} // where it does not say
	if !strings.EqualFold(op, "CONNECT") || json.Unmarshal([]byte(arg), opts) != nil {
		return nil, errors.New("it does not begin with CONNECT and who it is")
	}
	return opts, nil
}

// announce makes a visit known to the door, and returns the line that the server is
// to see: with a key for the visit, and without proofs.
func (d *door) announce(v *visit, opts *server.ClientOpts) (line []byte, forget func(), err error) {
	key := rand.Text()
	b, err := json.Marshal(server.ClientOpts{
		Echo: opts.Echo, Verbose: opts.Verbose, Pedantic: opts.Pedantic, Username: visitor, Password: key, Name: opts.Name, Lang: opts.Lang,
		Version: opts.Version, Protocol: opts.Protocol, Headers: opts.Headers, NoResponders: opts.NoResponders,
	})
	if err != nil {
		return nil, nil, err
	}
	d.mu.Lock()
	d.visits[key] = v
	d.mu.Unlock()
	return fmt.Appendf(nil, "CONNECT %s\r\n", b), func() { d.takeVisit(key) }, nil
}

func (d *door) takeVisit(key string) *visit {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.visits[key]
	delete(d.visits, key)
	return v
}

func readLine(in *bufio.Reader) (string, error) {
	b, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("a line is longer than %d bytes", maxLine)
	}
	if err != nil {
		return "", err
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if strings.ContainsAny(line, "\r\x00") {
		return "", errors.New("a line holds what no line may")
	}
	return line, nil
}
