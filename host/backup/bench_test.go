package backup

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// BenchmarkBackup writes, verifies and restores 200 MB: messages of 10 KB that do not compress.
func BenchmarkBackup(b *testing.B) {
	const messages, size = 20_000, 10_000
	s := newServer(b)
	if _, err := s.js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "events", Subjects: []string{"shop.>"}}); err != nil {
		b.Fatal(err)
	}
	data := make([]byte, size)
	for i := range messages {
		rand.Read(data)
		if _, err := s.js.PublishAsync(fmt.Sprint("shop.", i%100), bytes.Clone(data)); err != nil {
			b.Fatal(err)
		}
	}
	<-s.js.PublishAsyncComplete()
	path := filepath.Join(b.TempDir(), "backup.tar")
	mb := func(begin time.Time) float64 { return messages * size / 1e6 / time.Since(begin).Seconds() }
	var writing, verifying, restoring float64
	for b.Loop() {
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		begin := time.Now()
		if err := Write(b.Context(), f, Source{Accounts: s.accounts(), Dir: s.dir}); err != nil {
			b.Fatal(err)
		}
		writing, begin = mb(begin), time.Now()
		f.Seek(0, io.SeekStart)
		index, err := Verify(b.Context(), f)
		if err != nil {
			b.Fatal(err)
		}
		verifying = mb(begin)
		to := newServer(b)
		begin = time.Now()
		if err := index.RestoreStreams(b.Context(), f, to.accounts()); err != nil {
			b.Fatal(err)
		}
		restoring = mb(begin)
		f.Close()
	}
	b.ReportMetric(writing, "MB/s-write")
	b.ReportMetric(verifying, "MB/s-verify")
	b.ReportMetric(restoring, "MB/s-restore")
}
