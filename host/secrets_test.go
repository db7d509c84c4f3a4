package host_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/kv/secrets"
	"github.com/fnhost/fnhost/trigger/event"
)

// vault is a function that reads secrets, and tells them in all ways that it should not.
const vault = `package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"strings"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, name string) (string, error) { return functions.Secret(ctx, name) }

func HandleProcess() string {
	return fmt.Sprintf("%d %s %s", os.Getpid(), strings.Join(os.Environ(), " "), strings.Join(os.Args, " "))
}

func HandleLeak(ctx context.Context, name string) error {
	s, err := functions.Secret(ctx, name)
	if err != nil {
		return err
	}
	fmt.Println("out:", s)
	fmt.Fprintln(os.Stderr, "err:", base64.StdEncoding.EncodeToString([]byte("user:"+s)))
	functions.Log(ctx).Info("log: "+url.QueryEscape(s), "password", s, "all", []string{s, "x"})
	return errors.New("cannot log in with " + s)
}

func HandlePanic(ctx context.Context, name string) {
	s, _ := functions.Secret(ctx, name)
	panic("panic with " + s)
}

func HandleStream(ctx context.Context, name string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		yield("first", nil)
		s, _ := functions.Secret(ctx, name)
		yield("", errors.New("streamed "+s))
	}
}

func HandleBatch(ctx context.Context, list []functions.Event) error {
	s, _ := functions.Secret(ctx, "db")
	return functions.BatchError{0: functions.Permanent(errors.New("batched " + s))}
}
`

const vaultManifest = `access:
  secrets: [db, "mail*"]
triggers:
  event:
    - {subject: vault.in, endpoint: batch, batch: {size: 2, window: 100ms}, retries: 0}
`

const password = `hunter2/"huntér"+2`

func (f *fixture) setSecret(name, value string) {
	f.t.Helper()
	if _, err := f.SetSecret(f.t.Context(), name, []byte(value), "ada"); err != nil {
		f.t.Fatal(err)
	}
}

// hides fails if a text has the password in it, in any form.
func hides(t testing.TB, where, text string) {
	t.Helper()
	quoted, _ := json.Marshal(password)
	for _, form := range []string{password, string(quoted[1 : len(quoted)-1]), "aHVudGVyMi8i", "h1bnRlcjIvI", "odW50ZXIyLy", "hunter2"} {
		if strings.Contains(text, form) {
			t.Errorf("%s has %s: %.2000s", where, form, text)
		}
	}
}

func TestSecretsOfFunctions(t *testing.T) {
	f := start(t, map[string]string{"vault/v.go": vault, "vault/function.yaml": vaultManifest}, nil)
	f.setSecret("db", "before")
	f.setSecret("mail/smtp", "of mail")
	f.setSecret("other", "of others")
	if out, err := f.Invoke(t.Context(), "vault", []byte("db")); err != nil || string(out) != "before" {
		t.Fatalf("%q, %v", out, err)
	}
	f.setSecret("db", password)
	if out, err := f.Invoke(t.Context(), "vault", []byte("db")); err != nil || string(out) != password {
		t.Fatalf("after it was set again: %q, %v", out, err)
	}
	tests := []struct{ name, secret, want string }{
		{"not allowed", "other", `add it to access.secrets in its function.yaml`},
		{"not there", "mail/smpt", `did you mean "mail/smtp"?`},
		{"not there, and near to one that is not allowed", "mailother", "there is no secret"},
	}
	for _, test := range tests {
		_, err := f.Invoke(t.Context(), "vault", []byte(test.secret))
		if !errors.Is(err, &functions.Error{Code: functions.Internal}) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), `"other"?`) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	large := strings.Repeat("0123456789abcdef", secrets.MaxValue/16)
	f.setSecret("mail/large", large)
	if out, err := f.Invoke(t.Context(), "vault", []byte("mail/large")); err != nil || string(out) != large {
		t.Errorf("a large one: %d bytes, %v", len(out), err)
	}
	_, err := f.SetSecret(t.Context(), "mail/large", []byte(large+"x"), "")
	if !errors.Is(err, functions.ErrBadRequest) {
		t.Errorf("one that is too large: %v", err)
	}
	if err := f.RemoveSecret(t.Context(), "db"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Invoke(t.Context(), "vault", []byte("db")); !errors.Is(err, &functions.Error{Code: functions.Internal}) {
		t.Errorf("after it was removed: %v", err)
	}
}

// What a function tells of its secrets by accident leaves it without their values.
func TestSecretsDoNotLeaveTheHost(t *testing.T) {
	var log lockedBuffer
	f := start(t, map[string]string{"vault/v.go": vault, "vault/function.yaml": vaultManifest},
		func(c *host.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	f.setSecret("db", password)
	_, err := f.Invoke(t.Context(), "vault/leak", []byte("db"))
	if err == nil || err.Error() != "cannot log in with [secret db]" {
		t.Errorf("the error is %v", err)
	}
	_, err = f.Invoke(t.Context(), "vault/panic", []byte("db"))
	if !errors.Is(err, functions.ErrPanicked) {
		t.Errorf("the panic is %v", err)
	}
	out, err := f.Invoke(t.Context(), "vault/stream", []byte("db"))
	if err == nil || !strings.Contains(err.Error(), "streamed [secret db]") {
		t.Errorf("the stream is %q, %v", out, err)
	}
	if _, err := f.Publish(t.Context(), &nats.Msg{Subject: "vault.in", Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	var dead string
	f.await("the event is a dead letter", func() bool {
		f.DeadLetters(t.Context(), "vault", func(l *event.Letter) bool { dead = l.Error; return false })
		return dead != ""
	})
	if !strings.Contains(dead, "batched [secret db]") {
		t.Errorf("the dead letter says %q", dead)
	}
	var records []byte
	f.await("all records", func() bool {
		records, _ = json.Marshal(f.KeptRecords("vault"))
		text := string(records)
		return strings.Contains(text, "out: [secret db]") && strings.Contains(text, "[secret db]") && strings.Contains(text, "panic with [secret db]") && strings.Contains(text, `"password":"[secret db]"`)
	})
	hides(t, "the log", string(records))
	if !strings.Contains(string(records), "log: [secret db]") || !strings.Contains(string(records), `"all":["[secret db]","x"]`) {
		t.Errorf("records: %s", records)
	}
	process, err := f.Invoke(t.Context(), "vault/process", nil)
	if err != nil {
		t.Fatal(err)
	}
	hides(t, "the worker", string(process))
	id, _, _ := strings.Cut(string(process), " ")
	pid := outside(t, os.Getpid(), "vault", id)[0]
	for _, path := range []string{fmt.Sprintf("/proc/%d/environ", pid), fmt.Sprintf("/proc/%d/cmdline", pid), "/proc/self/environ", "/proc/self/cmdline"} {
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			t.Errorf("%s: %v", path, err)
		}
		hides(t, path, string(b))
	}
	info, _ := json.Marshal(f.Functions())
	hides(t, "the functions", string(info))
	list, err := f.Secrets()
	if err != nil || len(list) != 1 {
		t.Errorf("secrets %+v, %v", list, err)
	}
	hides(t, "the secrets", fmt.Sprintf("%+v", list))
	f.stop()
	hides(t, "the host's log", log.String())
	if !strings.Contains(log.String(), "the master key was made in "+filepath.Join(f.data, "master.key")) {
		t.Errorf("the host's log says nothing of the key: %s", &log)
	}
	holds(t, f.data, false, []byte(password), []byte("hunter2"), []byte("aHVudGVyMi8i"))
}

// lockedBuffer is a buffer for several.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// holds looks whether any file below dir has one of some texts in it, as it should.
func holds(t testing.TB, dir string, want bool, texts ...[]byte) {
	t.Helper()
	files, found := 0, 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		files++
		for _, text := range texts {
			if bytes.Contains(b, text) {
				if found++; !want {
					t.Errorf("%s has %q in it", path, text)
				}
			}
		}
		return err
	})
	if err != nil || files < 5 {
		t.Errorf("%d files in %s, %v", files, dir, err)
	}
	if want && found == 0 {
		t.Errorf("none of %d files has %q in it", files, texts)
	}
}

func TestSecretsOfFunctionsInProcess(t *testing.T) {
	f := start(t, nil, nil)
	f.setSecret("db", password)
	err := f.Handle("own", func(ctx context.Context, name string) (string, error) {
		s, err := functions.Secret(ctx, name)
		functions.Log(ctx).Info("it is " + s)
		if err == nil && name == "db" {
			err = fmt.Errorf("no way in with %s", base64.StdEncoding.EncodeToString([]byte(s)))
		}
		return s, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Invoke(t.Context(), "own", []byte("db")); err == nil || !strings.HasPrefix(err.Error(), "no way in with [secret db]") {
		t.Errorf("the error is %v", err)
	}
	records, _ := json.Marshal(f.KeptRecords("own"))
	if !strings.Contains(string(records), "it is [secret db]") {
		t.Errorf("records: %s", records)
	}
	err = f.Handle("stream", func(ctx context.Context, name string) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			yield("first", nil)
			s, _ := functions.Secret(ctx, name)
			yield("", errors.New("streamed "+s))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := f.Invoke(t.Context(), "stream", []byte("db")); err == nil || !strings.Contains(err.Error(), "streamed [secret db]") {
		t.Errorf("the stream is %q, %v", out, err)
	}
}

// Rotations, a restart in between, and another host's key.
func TestMasterKeyOfAHost(t *testing.T) {
	f := start(t, nil, nil)
	if _, err := f.RotateMasterKey(t.Context()); !errors.Is(err, functions.ErrConflict) {
		t.Errorf("a rotation without a secret: %v", err)
	}
	f.setSecret("db", password)
	before, err := os.ReadFile(filepath.Join(f.data, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	done, err := f.RotateMasterKey(t.Context())
	if err != nil || done.Rewrapped != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	reads := func(h *host.Host) {
		t.Helper()
		h.Handle("own", func(ctx context.Context) (string, error) { return functions.Secret(ctx, "db") })
		if out, err := h.Invoke(t.Context(), "own", nil); err != nil || string(out) != password {
			t.Errorf("the secret is %q, %v", out, err)
		}
	}
	cfg := host.Config{Dir: f.data, Logger: slog.New(slog.DiscardHandler)}
	path := filepath.Join(f.data, "master.key")
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, prepare := range map[string]func(c *host.Config){
		"the old key":      func(*host.Config) { os.WriteFile(path, before, 0o600) },
		"no key":           func(*host.Config) { os.Remove(path) },
		"another key":      func(c *host.Config) { c.MasterKey = secrets.NewKey().Text() },
		"a cut key":        func(c *host.Config) { c.MasterKey = secrets.NewKey().Text()[:30] },
		"a readable file":  func(c *host.Config) { os.Chmod(path, 0o644) },
		"two ways to have": func(c *host.Config) { c.MasterKey, c.MasterKeyFile = "x", "y" },
	} {
		one := cfg
		prepare(&one)
		h, err := host.New(one)
		if err == nil {
			h.Close()
			t.Errorf("with %s the host starts", name)
			continue
		}
		t.Logf("%s: %v", name, err)
		os.WriteFile(path, after, 0o600)
		os.Chmod(path, 0o600)
	}
	h, err := host.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	reads(h)
	h.Close()
	elsewhere := filepath.Join(t.TempDir(), "key")
	if err := os.Rename(path, elsewhere); err != nil {
		t.Fatal(err)
	}
	cfg.MasterKeyCommand = []string{"cat", elsewhere}
	if h, err = host.New(cfg); err != nil {
		t.Fatal(err)
	}
	reads(h)
	if _, err := h.RotateMasterKey(t.Context()); !errors.Is(err, functions.ErrConflict) || !strings.Contains(err.Error(), "before the old one") {
		t.Errorf("a rotation without a new key: %v", err)
	}
	h.Close()
}

// An encrypted store has nothing in the clear, and opens with its key alone.
func TestEncryptedStore(t *testing.T) {
	encrypt := func(c *host.Config) { c.EncryptStore = true }
	fill := func(f *fixture) {
		f.t.Helper()
		if err := f.Handle("own", func(ctx context.Context, e functions.Event) error {
			_, err := functions.KV(ctx, "seen").Put(ctx, "key-"+string(e.Data), []byte("value-of-"+string(e.Data)))
			return err
		}); err != nil {
			f.t.Fatal(err)
		}
		b, err := f.Bucket(f.t.Context(), "plain")
		if err != nil {
			f.t.Fatal(err)
		}
		for i := range 50 {
			if _, err := b.Put(f.t.Context(), fmt.Sprint("known-key-", i), []byte("known plaintext")); err != nil {
				f.t.Fatal(err)
			}
		}
		if _, err := f.InvokeAsync(f.t.Context(), "own", []byte("known input"), host.AsyncOptions{}); err != nil {
			f.t.Fatal(err)
		}
	}
	clear := [][]byte{[]byte("known plaintext"), []byte("known-key"), []byte("known input")}
	open := func(dir string, change func(*host.Config)) error {
		cfg := host.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)}
		change(&cfg)
		h, err := host.New(cfg)
		if err == nil {
			h.Close()
		}
		return err
	}
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("%v, want %q in it", err, want)
		}
	}

	f := start(t, nil, nil)
	fill(f)
	f.stop()
	holds(t, f.data, true, clear...)
	refused(open(f.data, encrypt), "was not encrypted from its first start on")

	f = start(t, nil, encrypt)
	fill(f)
	f.setSecret("db", password)
	if _, err := f.RotateMasterKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.stop()
	holds(t, f.data, false, clear...)
	refused(open(f.data, func(*host.Config) {}), "start with --encrypt-store")
	refused(open(f.data, func(c *host.Config) { encrypt(c); c.MasterKey = secrets.NewKey().Text() }), "needs the master key")
	key, err := os.ReadFile(filepath.Join(f.data, "store.key"))
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(f.data, "store.key"))
	refused(open(f.data, encrypt), "put store.key back")
	os.WriteFile(filepath.Join(f.data, "store.key"), key, 0o600)
	again := &fixture{t: t, dir: f.dir, data: f.data}
	again.open(encrypt)
	b, err := again.Bucket(t.Context(), "plain")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if e, err := b.Get(t.Context(), fmt.Sprint("known-key-", i)); err != nil || string(e.Value) != "known plaintext" {
			t.Fatalf("key %d: %q, %v", i, e.Value, err)
		}
	}
	if list, err := again.Secrets(); err != nil || len(list) != 1 {
		t.Errorf("secrets %+v, %v", list, err)
	}
	if err := open(t.TempDir(), func(c *host.Config) { encrypt(c); c.NATSURL = "nats://127.0.0.1:1" }); err == nil {
		t.Error("a server elsewhere is encrypted")
	}
}

// What a function pays for a secret, and for output when it was given some.
func BenchmarkSecret(b *testing.B) {
	const source = `package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, n int) (string, error) {
	start := time.Now()
	for range n {
		if _, err := functions.Secret(ctx, "db"); err != nil {
			return "", err
		}
	}
	return fmt.Sprint(time.Since(start).Nanoseconds() / int64(n)), nil
}
`
	f := start(b, map[string]string{"bench/b.go": source}, nil)
	f.setSecret("db", password)
	for b.Loop() {
		out, err := f.Invoke(b.Context(), "bench", []byte("2000"))
		if err != nil {
			b.Fatal(err)
		}
		var ns float64
		fmt.Sscan(strings.Trim(string(out), `"`), &ns)
		b.ReportMetric(ns, "ns/secret")
	}
}
