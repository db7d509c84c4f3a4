package host

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// makeCert returns a certificate of that serial number, and its key.
func makeCert(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func TestACertificateIsReplacedWhenItsFilesChange(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	replace := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(name+".new", data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	c1, k1 := makeCert(t, 1)
	replace(cert, c1)
	replace(key, k1)
	var out bytes.Buffer
	files, err := openCertFiles(cert, key, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	files.now = func() time.Time { return now }
	serial := func() int64 {
		t.Helper()
		c, err := files.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.Int64()
	}
	c2, k2 := makeCert(t, 2)
	steps := []struct {
		name string
		do   func()
		want int64
		log  string
	}{
		{"nothing has changed", func() { now = now.Add(certCheck) }, 1, ""},
		{"one file has changed, and not yet the other", func() { replace(cert, c2); now = now.Add(certCheck) }, 1, "not replaced"},
		{"both have changed, a moment ago", func() { replace(key, k2) }, 1, ""},
		{"both have changed", func() { now = now.Add(certCheck) }, 2, "was replaced"},
		{"a file is gone", func() { os.Remove(key); now = now.Add(certCheck) }, 2, "not replaced"},
		{"it is back", func() { replace(key, k2); now = now.Add(certCheck) }, 2, ""},
	}
	for _, step := range steps {
		out.Reset()
		step.do()
		if got := serial(); got != step.want || !strings.Contains(out.String(), step.log) {
			t.Errorf("%s: certificate %d, want %d; log %q, want %q", step.name, got, step.want, out.String(), step.log)
		}
	}
}

func TestBrowsersAreToldToStayWithTLSForNamesThatAreNotThisMachines(t *testing.T) {
	h := secured(http.NotFoundHandler())
	for name, want := range map[string]bool{"fn.example.com": true, "fn.example.com:8443": true, "localhost:8443": false, "a.localhost": false, "192.0.2.1": false, "[::1]:443": false} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = name
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Strict-Transport-Security") != ""; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
