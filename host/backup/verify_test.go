package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestCutBackupIsRefused(t *testing.T) {
	data := small(t)
	for n := 0; n < len(data); n += 1 + n/97 {
		if err := verify(data[:n]); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotBackup) {
			t.Errorf("cut after %d of %d bytes: %v", n, len(data), err)
		}
	}
	for n := range 1200 { // the end, where a tar reader is content with less
		if err := verify(data[:len(data)-1-n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("without its last %d bytes: %v", n+1, err)
		}
	}
	if err := verify(append(bytes.Clone(data), 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("with a byte more: %v", err)
	}
}

func TestBackupWithAByteFlippedIsRefused(t *testing.T) {
	data := written(t)
	for i := range data {
		if i%512 > 160 && i%5 != 0 { // most of each header, a part of the rest
			continue
		}
		bit := byte(1) << (i % 8)
		data[i] ^= bit
		err := verify(data)
		data[i] ^= bit
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotBackup) && !errors.Is(err, ErrNewer) {
			t.Fatalf("byte %d of %d, bit %#x: %v", i, len(data), bit, err)
		}
	}
}

// forged returns a backup whose sums are right.
func forged(t *testing.T, format int, entries ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := newWriter(&b)
	head, _ := json.Marshal(Header{Format: format, Version: "9.9"})
	if err := w.addBytes(headerName, head); err != nil {
		t.Fatal(err)
	}
	for _, h := range entries {
		content := bytes.Repeat([]byte("x"), int(h.Size))
		if err := w.tar.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.tar.Write(content); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&w.sums, "%x  %s\n", sha256.Sum256(content), h.Name)
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestForgedBackupIsRefused(t *testing.T) {
	reg := func(name string, size int64) *tar.Header {
		return &tar.Header{Name: name, Size: size, Mode: 0o600, Typeflag: tar.TypeReg}
	}
	tests := []struct {
		name    string
		format  int
		entries []*tar.Header
		want    error
		says    string
	}{
		{"nothing wrong", 1, []*tar.Header{reg("files/admin.token", 3)}, nil, ""},
		{"newer", 2, nil, ErrNewer, "fnhost, 9.9"},
		{"no format", 0, nil, ErrNotBackup, ""},
		{"out of the directory", 1, []*tar.Header{reg("files/git/repos/../../../x", 1)}, ErrDamaged, "not a name"},
		{"an absolute path", 1, []*tar.Header{reg("/etc/passwd", 1)}, ErrDamaged, "not a name"},
		{"a file that no backup has", 1, []*tar.Header{reg("files/jetstream/x", 1)}, ErrDamaged, "not a name"},
		{"a program", 1, []*tar.Header{reg("files/programs/abc", 1)}, ErrDamaged, "not a name"},
		{"a link", 1, []*tar.Header{{Name: "files/git/repos/x", Linkname: "/etc", Typeflag: tar.TypeSymlink}}, ErrDamaged, "no plain file"},
		{"twice the same", 1, []*tar.Header{reg("files/admin.token", 3), reg("files/admin.token", 3)}, ErrDamaged, "twice"},
		{"a large part", 1, []*tar.Header{reg("streams/a/b/part-000001", maxPart+1)}, ErrDamaged, "bytes"},
		{"a part of no stream", 1, []*tar.Header{reg("streams/a/b/part-000001", 1)}, ErrDamaged, "before"},
		{"a stream that is no JSON", 1, []*tar.Header{reg("streams/a/b/stream.json", 1)}, ErrDamaged, "stream.json"},
		{"a mode that no writer gives", 1, []*tar.Header{{Name: "files/admin.token", Mode: 0o4777, Typeflag: tar.TypeReg}}, ErrDamaged, "header"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := verify(forged(t, test.format, test.entries...))
			if !errors.Is(err, test.want) || test.says != "" && !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %v with %q", err, test.want, test.says)
			}
		})
	}
	if err := verify([]byte(strings.Repeat("hello", 1000))); !errors.Is(err, ErrNotBackup) {
		t.Errorf("a text: %v", err)
	}
}

// written is a small backup that no server was needed for.
func written(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := newWriter(&b)
	entries := []struct{ name, text string }{
		{headerName, `{"format":1}`}, {"streams/default/events/stream.json", `{"config":{"name":"events"},"state":{"messages":1}}`},
		{"streams/default/events/part-000001", "part"}, {"files/admin.token", "hash"}, {"files/git/repos/a.git/refs/", ""},
		{"files/git/repos/" + strings.Repeat("long", 40), "x"}, {"streams/default/events/tail-000001", "tail"}, {"streams/default/events/tail.json", `{"last":9}`},
	}
	for _, e := range entries {
		if err := w.addBytes(e.name, []byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func FuzzVerify(f *testing.F) {
	data := written(f)
	if err := verify(data); err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		index, err := Verify(t.Context(), bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, e := range index.files { // what is taken for whole can be read
			r, err := e.open(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Read(make([]byte, 1)); err != nil && e.size > 0 {
				t.Fatal(err)
			}
		}
	})
}
