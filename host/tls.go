package host

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// ACME says how certificates are had from an authority that speaks RFC 8555, such as
// Let's Encrypt: at the first connection for a domain, and anew before they end.
// Certificates and the account's key are kept in the folder acme of Config.Dir. The
// authority proves a domain by a connection to port 443, which must lead to the
// gateway, or to port 80, if that leads to HTTP. To have one is to agree to its terms.
type ACME struct {
	// Domains are the names that certificates are had for, without wildcards. Default:
	// none, and no ACME.
	Domains []string
	// Email is told to the authority, for messages about the account. Default: none.
	Email string
	// Directory is the URL of the authority. Default: that of Let's Encrypt.
	Directory string
	// Roots are whom to trust with the authority's own certificate. Default: those of the
	// system.
	Roots *x509.CertPool
	// HTTP is an address that proofs over port 80 are answered on; all else there is
	// redirected to https. Default: none, proofs come to the gateway alone.
	HTTP string
}

func (c *ACME) check(cfg *Config) error {
	if len(c.Domains) == 0 {
		if c.Email != "" || c.Directory != "" || c.HTTP != "" {
			return errors.New("host: ACME without a domain: name one that leads to this host")
		}
		return nil
	}
	if cfg.TLSCert != "" {
		return errors.New("host: both a certificate and ACME are set: choose one")
	}
	if cfg.HTTP == "" {
		return errors.New("host: ACME needs the gateway: set its address, Config.HTTP")
	}
	for _, d := range c.Domains {
		if net.ParseIP(d) != nil || !strings.Contains(d, ".") || strings.ContainsAny(d, "*/:@ ") {
			return fmt.Errorf("host: ACME for %q: want a domain such as fn.example.com, without a wildcard", d)
		}
	}
	if u, err := url.Parse(c.Directory); c.Directory != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		return fmt.Errorf("host: ACME directory %q: want https://HOST/PATH", c.Directory)
	}
	return nil
}

// hasTLS reports whether the gateway is served with TLS.
func (c *Config) hasTLS() bool { return c.TLSCert != "" || len(c.ACME.Domains) > 0 }

// openTLS finds out where certificates come from, if there are any.
func (h *Host) openTLS() error {
	switch {
	case h.cfg.TLSCert != "":
		files, err := openCertFiles(h.cfg.TLSCert, h.cfg.TLSKey, h.log)
		if err != nil {
			return fmt.Errorf("host: %w: name PEM files, of a certificate and of its own key", err)
		}
		h.tls = &tls.Config{GetCertificate: files.get}
	case len(h.cfg.ACME.Domains) > 0:
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: h.cfg.ACME.Roots, MinVersion: tls.VersionTLS12}
		h.closers = append(h.closers, transport.CloseIdleConnections)
		h.acme = &autocert.Manager{
			Prompt: autocert.AcceptTOS, Email: h.cfg.ACME.Email, HostPolicy: autocert.HostWhitelist(h.cfg.ACME.Domains...),
			Cache:  autocert.DirCache(filepath.Join(h.cfg.Dir, "acme")),
			Client: &acme.Client{DirectoryURL: h.cfg.ACME.Directory, UserAgent: "fnhost", HTTPClient: &http.Client{Transport: whileOpen{h, transport}}},
		}
		if h.cfg.ACME.Directory == "" {
			h.acme.Client.DirectoryURL = autocert.DefaultACMEDirectory
		}
		h.acmeWarn.Interval = time.Minute
		h.tls = &tls.Config{GetCertificate: h.acmeCertificate, NextProtos: []string{acme.ALPNProto}}
	default:
		return nil
	}
	h.tls.MinVersion = tls.VersionTLS12
	return nil
}

// whileOpen sends the requests of a host that is not closed: a certificate is renewed by
// a timer, which nothing ends.
type whileOpen struct {
	h    *Host
	next http.RoundTripper
}

func (w whileOpen) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.h.isClosed() {
		return nil, ErrClosed
	}
	return w.next.RoundTrip(r)
}

// acmeCertificate is that of the domain that a client names, or of the first one for a
// client that names none.
func (h *Host) acmeCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello.ServerName == "" {
		named := *hello
		named.ServerName = h.cfg.ACME.Domains[0]
		hello = &named
	}
	cert, err := h.acme.GetCertificate(hello)
	if err != nil && h.acme.HostPolicy(hello.Context(), hello.ServerName) == nil {
		h.acmeWarn.Do(func() {
			h.log.Warn("no certificate: "+err.Error()+": the authority must reach this host by that name on port 443, or on port 80 where ACME has an HTTP address", "domain", hello.ServerName)
		})
	}
	return cert, err
}

// certCheck is how long files of a certificate are not looked at again.
const certCheck = 10 * time.Second

// certFiles is a certificate in files, which is read anew when they have changed.
type certFiles struct {
	cert, key string
	log       *slog.Logger
	now       func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]os.FileInfo // of the files when they were read
	looked  time.Time
}

func openCertFiles(cert, key string, log *slog.Logger) (*certFiles, error) {
	c := &certFiles{cert: cert, key: key, log: log, now: time.Now}
	c.looked = c.now()
	seen, missing := c.stat()
	if err := cmp.Or(c.load(seen), missing); err != nil {
		return nil, fmt.Errorf("TLS with certificate %s and key %s: %w", cert, key, err)
	}
	return c, nil
}

// get returns the certificate for a connection.
func (c *certFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= certCheck {
		c.looked = now
		c.refresh()
	}
	return c.current, nil
}

// refresh reads files that have changed. Of such that do not belong together, as while
// one after the other is replaced, the certificate stays what it was.
func (c *certFiles) refresh() {
	seen, err := c.stat()
	if err == nil && same(seen[0], c.seen[0]) && same(seen[1], c.seen[1]) {
		return
	}
	if err == nil {
		err = c.load(seen)
	}
	if err != nil {
		c.log.Warn("the certificate was not replaced, the one before goes on: "+err.Error(), "cert", c.cert, "key", c.key)
		return
	}
	c.log.Info("the certificate was replaced", "cert", c.cert, "until", c.current.Leaf.NotAfter)
}

func (c *certFiles) stat() (seen [2]os.FileInfo, err error) {
	for i, name := range []string{c.cert, c.key} {
		if seen[i], err = os.Stat(name); err != nil {
			return seen, err
		}
	}
	return seen, nil
}

func (c *certFiles) load(seen [2]os.FileInfo) error {
	cert, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.current, c.seen = &cert, seen
	return nil
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// secured adds to answers over TLS that browsers are to ask for this name with TLS alone
// from now on: not for a name that is of this machine, where others serve, too.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Host
		if host, _, err := net.SplitHostPort(name); err == nil {
			name = host
		}
		if net.ParseIP(strings.Trim(name, "[]")) == nil && name != "localhost" && !strings.HasSuffix(name, ".localhost") {
			w.Header()["Strict-Transport-Security"] = hsts
		}
		next.ServeHTTP(w, r)
	})
}

var hsts = []string{"max-age=31536000"}

// challenges serves the proofs of domains over HTTP, and redirects all else.
func (h *Host) challenges() *http.Server {
	answer := h.acme.HTTPHandler(nil)
	return h.server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, _, err := net.SplitHostPort(r.Host); err == nil {
			r.Host = name // the port is that of who asks, where it was forwarded
		}
		answer.ServeHTTP(w, r)
	}), false)
}
