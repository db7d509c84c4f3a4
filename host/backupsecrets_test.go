package host_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/backup"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/secrets"
)

const notSecret = "known plaintext of a bucket"

// stateful is a blob, config with a history, and secrets, as functions see them.
type stateful struct {
	blob     kv.Blob
	content  []byte
	config   int // revisions of its layer
	versions []host.Secret
}

// keepState stores some of everything.
func (f *fixture) keepState() stateful {
	f.t.Helper()
	ctx := f.t.Context()
	s := stateful{content: bytes.Repeat([]byte("content of a blob, "), 50_000)}
	blobs, err := f.Blobs(ctx, "files")
	if err != nil {
		f.t.Fatal(err)
	}
	if s.blob, err = blobs.Put(ctx, "dir/blob", bytes.NewReader(s.content)); err != nil {
		f.t.Fatal(err)
	}
	if _, err := openBucket(f.t, f).Put(ctx, "plain", []byte(notSecret)); err != nil {
		f.t.Fatal(err)
	}
	f.set(host.ConfigLayer{}, "limits.rate", 1)
	f.set(host.ConfigLayer{}, "limits.rate", 2)
	f.set(host.ConfigLayer{Function: "own"}, "region", "eu")
	history, err := f.ConfigHistory(ctx, host.ConfigLayer{})
	if err != nil {
		f.t.Fatal(err)
	}
	s.config = len(history)
	f.setSecret("db", "the one before")
	f.setSecret("db", password)
	if s.versions, err = f.SecretVersions("db"); err != nil || len(s.versions) != 2 {
		f.t.Fatalf("versions %+v, %v", s.versions, err)
	}
	return s
}

// hasState fails if a host does not have it.
func (f *fixture) hasState(s stateful) {
	f.t.Helper()
	err := f.Handle("own", func(ctx context.Context) (string, error) {
		secret, err := functions.Secret(ctx, "db")
		if err != nil {
			return "", err
		}
		c, err := functions.Config(ctx)
		if err != nil {
			return "", err
		}
		blob, r, err := functions.Blobs(ctx, "files").Get(ctx, "dir/blob")
		if err != nil {
			return "", err
		}
		defer r.Close()
		content, err := io.ReadAll(r)
		if err == nil && (!bytes.Equal(content, s.content) || blob.Digest != s.blob.Digest || blob.Size != s.blob.Size) {
			err = errors.New("the blob is another one")
		}
		return strings.Join([]string{secret, c.String("limits.rate", "none"), c.String("region", "none")}, " "), err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.answer("own", password+" 2 eu")
	history, err := f.ConfigHistory(f.t.Context(), host.ConfigLayer{})
	if err != nil || len(history) != s.config {
		f.t.Errorf("the history of the configuration: %+v, %v; want %d", history, err, s.config)
	}
	versions, err := f.SecretVersions("db")
	if err != nil || !slices.Equal(versions, s.versions) {
		f.t.Errorf("versions %+v, %v; want %+v", versions, err, s.versions)
	}
	if e, err := openBucket(f.t, f).Get(f.t.Context(), "plain"); err != nil || string(e.Value) != notSecret {
		f.t.Errorf("plain is %q, %v", e.Value, err)
	}
}

// What a host keeps sealed is restored sealed, and served with its master key alone.
func TestBackupOfSecrets(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys")
	key := secrets.NewKey().Text()
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		with      func(*host.Config)
		was, will bool // the store is encrypted
	}{
		{"its own key", func(*host.Config) {}, false, false},
		{"a file", func(c *host.Config) { c.MasterKeyFile = file }, false, false},
		{"the environment, of an encrypted store", func(c *host.Config) { c.MasterKey = key }, true, false},
		{"a command, to an encrypted store", func(c *host.Config) { c.MasterKeyCommand = []string{"cat", file} }, false, true},
		{"its own key, of and to an encrypted store", func(*host.Config) {}, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := start(t, nil, func(c *host.Config) { test.with(c); c.EncryptStore = test.was })
			state := f.keepState()
			f.hasState(state)
			data := backupOf(f)
			index, err := backup.Verify(t.Context(), bytes.NewReader(data))
			if err != nil || index.Encrypted != test.was || len(index.Keys) != 1 || index.Keys[0] != state.versions[0].Key {
				t.Fatalf("the backup is %+v, %v", index, err)
			}
			hidden(t, data)
			f.stop()
			own, _ := os.ReadFile(filepath.Join(f.data, "master.key"))
			if err := os.RemoveAll(f.data); err != nil {
				t.Fatal(err)
			}

			var c host.Config
			test.with(&c)
			o := host.RestoreOptions{MasterKey: c.MasterKey, MasterKeyFile: c.MasterKeyFile, MasterKeyCommand: c.MasterKeyCommand, EncryptStore: test.will}
			if test.will && own != nil {
				o.MasterKey = keyOf(t, own)
			}
			if index, err = host.Restore(t.Context(), f.data, bytes.NewReader(data), o); err != nil || len(index.Keys) != 1 {
				t.Fatalf("restored %+v, %v", index, err)
			}
			holds(t, filepath.Join(f.data, "jetstream"), !test.will, []byte(notSecret), []byte("content of a blob"))
			holds(t, f.data, false, []byte(password), []byte(key))

			without := host.Config{Dir: f.data, EncryptStore: test.will, Logger: slog.New(slog.DiscardHandler)}
			h, err := host.New(without)
			if err == nil {
				h.Close()
				t.Fatal("it starts without its master key")
			}
			for _, want := range []string{index.Keys[0], filepath.Join(f.data, "master.key"), "--master-key-file"} {
				if !errors.Is(err, secrets.ErrWrongKey) || !strings.Contains(err.Error(), want) {
					t.Errorf("%v: want %q in it", err, want)
				}
			}
			if own != nil {
				if err := os.WriteFile(filepath.Join(f.data, "master.key"), own, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			f.open(func(c *host.Config) { test.with(c); c.EncryptStore = test.will })
			f.hasState(state)
			f.setSecret("db", "the next one")
		})
	}
}

func backupOf(f *fixture) []byte {
	f.t.Helper()
	var file bytes.Buffer
	if err := f.Backup(f.t.Context(), &file); err != nil {
		f.t.Fatal(err)
	}
	return file.Bytes()
}

// hidden fails if a backup has a value, or a master key. It is compressed; what is restored of it
// is looked at, too.
func hidden(t *testing.T, data []byte) {
	t.Helper()
	for _, text := range []string{password, "hunter2", "fnmaster_", hex.EncodeToString([]byte("hunter2"))} {
		if bytes.Contains(data, []byte(text)) {
			t.Errorf("the backup has %q in it", text)
		}
	}
}

// keyOf returns the key of a file of them.
func keyOf(t *testing.T, file []byte) string {
	t.Helper()
	ring, err := secrets.ParseKeyring(string(file))
	if err != nil {
		t.Fatal(err)
	}
	return ring.Primary().Text()
}

// A key that does not fit is told before anything is made.
func TestRestoreWithAnotherMasterKey(t *testing.T) {
	f := start(t, nil, nil)
	empty := backupOf(f)
	f.setSecret("db", password)
	data := backupOf(f)
	other := secrets.NewKey().Text()
	tests := []struct {
		name string
		data []byte
		o    host.RestoreOptions
		want string // "": it is restored
	}{
		{"another key", data, host.RestoreOptions{MasterKey: other}, "nothing was touched"},
		{"another key, to be encrypted", data, host.RestoreOptions{MasterKey: other, EncryptStore: true}, "FNHOST_MASTER_KEY has"},
		{"no key, to be encrypted", data, host.RestoreOptions{EncryptStore: true}, "an encrypted store needs the master key"},
		{"a file that is not there", data, host.RestoreOptions{MasterKeyFile: filepath.Join(t.TempDir(), "none")}, "no such file"},
		{"two keys", data, host.RestoreOptions{MasterKey: other, MasterKeyFile: "x"}, "choose one"},
		{"any key where there are no secrets", empty, host.RestoreOptions{MasterKey: other, EncryptStore: true}, ""},
	}
	for _, test := range tests {
		tmp := t.TempDir()
		_, err := host.Restore(t.Context(), filepath.Join(tmp, "data"), bytes.NewReader(test.data), test.o)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q in it", test.name, err, test.want)
		}
		if list, _ := os.ReadDir(tmp); test.want != "" && len(list) > 0 {
			t.Errorf("%s: %v is left", test.name, list)
		}
	}
}

// What is in a backup is opened by one key.
func TestMasterKeyStaysWhileABackupIsMade(t *testing.T) {
	f := start(t, nil, nil)
	f.setSecret("db", password)
	w := blocked{make(chan struct{}, 1), make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- f.Backup(t.Context(), w) }()
	<-w.begun
	if _, err := f.RotateMasterKey(t.Context()); !errors.Is(err, functions.ErrConflict) {
		t.Errorf("a rotation meanwhile: %v", err)
	}
	close(w.goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := f.RotateMasterKey(t.Context()); err != nil {
		t.Errorf("a rotation afterwards: %v", err)
	}
}

// held is a writer that lets something be done before it takes anything.
type held struct {
	bytes.Buffer
	before func()
}

func (w *held) Write(p []byte) (int, error) {
	if w.before != nil {
		w.before()
		w.before = nil
	}
	return w.Buffer.Write(p)
}

// The first secret that is set while a backup is made has its key told when it is restored.
func TestRestoreTellsTheKeyOfASecretThatWasSetMeanwhile(t *testing.T) {
	f := start(t, nil, nil)
	w := &held{before: func() { f.setSecret("db", password) }}
	if err := f.Backup(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	index, err := host.Restore(t.Context(), filepath.Join(t.TempDir(), "data"), bytes.NewReader(w.Bytes()), host.RestoreOptions{})
	if list, _ := f.Secrets(); err != nil || len(index.Keys) != 1 || index.Keys[0] != list[0].Key {
		t.Errorf("restored %+v, %v", index, err)
	}
	tmp := t.TempDir()
	_, err = host.Restore(t.Context(), filepath.Join(tmp, "data"), bytes.NewReader(w.Bytes()), host.RestoreOptions{MasterKey: secrets.NewKey().Text()})
	if !errors.Is(err, secrets.ErrWrongKey) {
		t.Errorf("with another key: %v", err)
	}
	if list, _ := os.ReadDir(tmp); len(list) > 0 {
		t.Errorf("%v is left", list)
	}
}

// Who waits for a backup is told that the host was stopped.
func TestBackupOfAHostThatIsStopped(t *testing.T) {
	r := startRemote(t)
	blobs, err := r.Blobs(t.Context(), "files")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blobs.Put(t.Context(), "large", io.LimitReader(rand.Reader, 40<<20)); err != nil { // more than connections hold
		t.Fatal(err)
	}
	body, err := r.client.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	address := strings.TrimPrefix(r.Info().Admin, "http://")
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	r.await("the end begins", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if _, err := io.Copy(io.Discard, body); err == nil || !strings.Contains(err.Error(), "the host was stopped") {
		t.Errorf("the backup ends with %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
