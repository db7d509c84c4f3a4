package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ErrStorage is wrapped by what [Bus.StorageErr] returns.
var ErrStorage = errors.New("nothing can be stored")

const (
	// room is how much must be free before a server that had none stores again.
	room = 32 << 20
	// storageCheck is how often is looked whether storage has stopped unnoticed, and
	// while it has, whether there is room.
	storageCheck = time.Second
	// storageBackoff bounds the time between attempts to bring storage back.
	storageBackoff = time.Minute
)

// storage looks after the streams of an embedded server. A stream that could not
// be written to takes nothing any more, even when there is room again, and does
// not answer those who publish; or the server switches JetStream off altogether.
// storage notices, waits until the disk can be written to, and starts JetStream
// anew within the server, whose connections stay.
type storage struct {
	srv  *server.Server
	cfg  server.JetStreamConfig // with which it has started
	dir  string
	log  *slog.Logger
	quit chan struct{}
	wake chan struct{} // the server has said that something is wrong
	wg   sync.WaitGroup

	mu         sync.Mutex
	err        error         // why nothing is stored
	restarting bool          // err is nil, and stopped is still closed
	stopped    chan struct{} // closed with the first one
	restored   chan struct{} // closed, and made anew as stopped is, when it is stored again
}

func newStorage(dir string, log *slog.Logger) *storage {
	return &storage{dir: dir, log: log, quit: make(chan struct{}), wake: make(chan struct{}, 1), stopped: make(chan struct{}), restored: make(chan struct{})}
}

// start begins to look after a server.
func (s *storage) start(srv *server.Server) {
	s.srv, s.cfg = srv, *srv.JetStreamConfig()
	s.cfg.StoreDir = s.dir // without what the server has added
	s.wg.Go(s.run)
}

// stop ends that, if it has begun.
func (s *storage) stop() {
	close(s.quit)
	s.wg.Wait()
}

// said is told of the errors that the server logs: it tells of a stream that has
// stopped in no other way.
func (s *storage) said(line string) {
	if !strings.Contains(line, "ritical write error") && !strings.Contains(line, "DISABLED") && !strings.Contains(line, "disabling JetStream") {
		return
	}
	s.fail(line)
}

func (s *storage) fail(reason string) {
	s.mu.Lock()
	first := s.err == nil
	if first {
		s.err = fmt.Errorf("%w: %s: make room where %s lies, at least %d MiB; it goes on by itself then", ErrStorage, reason, s.dir, room>>20)
	}
	err := s.err
	if first && !s.restarting {
		close(s.stopped)
	}
	s.mu.Unlock()
	if first {
		s.log.Error("NATS: " + err.Error())
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *storage) run() {
	ticker := time.NewTicker(storageCheck)
	defer ticker.Stop()
	var next time.Time
	backoff := storageCheck
	for {
		select {
		case <-s.quit:
			return
		case <-s.wake:
		case <-ticker.C:
		}
		if !s.srv.JetStreamEnabled() {
			s.fail("the NATS server has switched JetStream off")
		}
		now := time.Now()
		if s.failed() == nil {
			if now.After(next) {
				backoff = storageCheck
			}
			continue
		}
		if now.Before(next) || !s.writable() {
			continue
		}
		backoff = min(2*backoff, storageBackoff)
		next = now.Add(backoff)
		s.restart()
	}
}

func (s *storage) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// writable reports whether there is room, and what is written is taken.
func (s *storage) writable() bool {
	if free, _ := statfs(s.dir); free >= 0 && free < room {
		return false
	}
	f, err := os.CreateTemp(s.dir, ".probe-*")
	if err != nil {
		return false
	}
	_, err = f.Write(make([]byte, 1<<20))
	err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
	return err == nil
}

// restart starts JetStream anew. Streams and what they hold are read from the disk.
func (s *storage) restart() {
	s.mu.Lock()
	was := s.err
	s.restarting = true
	s.err = nil // what is said from here on is new
	s.mu.Unlock()
	err := s.startAnew()
	s.mu.Lock()
	if err != nil && s.err == nil {
		s.err = was
	}
	if err = errors.Join(err, s.err); err == nil {
		close(s.restored)
		s.stopped, s.restored = make(chan struct{}), make(chan struct{})
	}
	s.restarting = false
	s.mu.Unlock()
	if err != nil {
		s.log.Error("NATS: storage does not start anew, trying again: " + err.Error())
		return
	}
	s.log.Info("NATS: there is room, and storage is back")
}

func (s *storage) startAnew() error {
	if err := s.srv.ShutdownJetStream(); err != nil {
		return err
	}
	if s.srv.JetStreamConfig() != nil {
		return errors.New("the server is still switching JetStream off")
	}
	cfg := s.cfg
	return s.srv.EnableJetStream(&cfg)
}

// StorageErr returns nil while an embedded server stores, and else an error that
// wraps [ErrStorage] and says why not: mostly that the disk is full. What was
// stored can be read meanwhile. When there is room, storing goes on by itself.
func (b *Bus) StorageErr() error {
	if b.storage == nil {
		return nil
	}
	return b.storage.failed()
}

// Stopped returns a channel that is closed when, and while, nothing is stored: to
// be asked for anew when that is over.
func (b *Bus) Stopped() <-chan struct{} {
	if b.storage == nil {
		return nil
	}
	b.storage.mu.Lock()
	defer b.storage.mu.Unlock()
	return b.storage.stopped
}

// Restored returns a channel that is closed when storing goes on after it had
// stopped: to be asked for anew then. Whoever follows a stream should begin anew:
// a consumer finds out by itself, but takes a quarter of a minute.
func (b *Bus) Restored() <-chan struct{} {
	if b.storage == nil {
		return nil
	}
	b.storage.mu.Lock()
	defer b.storage.mu.Unlock()
	return b.storage.restored
}

// statfs tells of the file system that dir lies in: how many bytes may still be
// written, and how many it holds; -1 and 0 if that is not known.
func statfs(dir string) (free, size int64) {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return -1, 0
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize)
}
