package host_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/disktest"
)

// Where the disk is too small, or becomes full, a restore leaves nothing.
func TestRestoreOnAFullDisk(t *testing.T) { disktest.Run(t, 120, testRestoreOnAFullDisk) }

// filling fills a disk up when it is read for the second time.
type filling struct {
	io.ReadSeeker
	t    *testing.T
	disk string
	free func()
}

func (f *filling) Seek(offset int64, whence int) (int64, error) {
	if offset > 0 && f.free == nil {
		f.free = disktest.Fill(f.t, f.disk)
	}
	return f.ReadSeeker.Seek(offset, whence)
}

func testRestoreOnAFullDisk(t *testing.T, disk string) {
	f := server(t)
	backupOf := func(size int) []byte {
		b, err := f.Bucket(t.Context(), "large")
		if err != nil {
			t.Fatal(err)
		}
		value := make([]byte, 500<<10)
		rand.Read(value)
		for n := range size << 20 / len(value) {
			if _, err := b.Put(t.Context(), strings.Repeat("k", n+1), value); err != nil {
				t.Fatal(err)
			}
		}
		var file bytes.Buffer
		if err := f.Backup(t.Context(), &file); err != nil {
			t.Fatal(err)
		}
		return file.Bytes()
	}
	small := backupOf(10)
	dir := filepath.Join(disk, "data")
	r := &filling{ReadSeeker: bytes.NewReader(small), t: t, disk: disk}
	_, err := host.Restore(t.Context(), dir, r, host.RestoreOptions{})
	if err == nil || !strings.Contains(err.Error(), "restore: ") {
		t.Errorf("on a disk that becomes full: %v", err)
	}
	t.Log(err)
	r.free()
	if list, err := os.ReadDir(disk); err != nil || len(list) > 0 {
		t.Errorf("%v is left (%v)", list, err)
	}
	_, err = host.Restore(t.Context(), dir, bytes.NewReader(backupOf(60)), host.RestoreOptions{})
	if err == nil || !strings.Contains(err.Error(), "no room: ") {
		t.Errorf("on a small disk: %v", err)
	}
	if _, err := host.Restore(t.Context(), dir, bytes.NewReader(small), host.RestoreOptions{}); err != nil {
		t.Errorf("when there is room: %v", err)
	}
}
