package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

var (
	// ErrNotBackup is wrapped by the errors for what is no backup at all.
	ErrNotBackup = errors.New("not a backup of fnhost")
	// ErrDamaged is wrapped by the errors for a backup that was cut or changed.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrNewer is wrapped by the errors for a backup of a newer fnhost.
	ErrNewer = errors.New("the backup is of a newer fnhost")
)

// Format is the version of the format. It grows when an older reader would restore less
// than there is.
const Format = 1

// Header is the first entry of a backup.
type Header struct {
	Format   int       `json:"format"`
	Time     time.Time `json:"time"`     // when it began
	Version  string    `json:"version"`  // of the fnhost that wrote it
	Host     string    `json:"host"`     // the name of its machine
	Dir      string    `json:"dir"`      // its data directory
	Accounts []string  `json:"accounts"` // of the NATS server, whose streams it holds
	// Keys are the IDs of the master keys that seal its secrets: as they were when it began, and, of
	// what [github.com/fnhost/fnhost/host.Restore] returns, as they are.
	Keys []string `json:"keys,omitempty"`
	// Encrypted says that the host keeps its streams encrypted. In the backup they are not.
	Encrypted bool `json:"encrypted,omitempty"`
}

// Names and limits of entries, in bytes.
const (
	headerName = "backup.json"
	sumsName   = "SHA256SUMS"
	streamsDir = "streams/"
	filesDir   = "files/"
	streamName = "stream.json"
	tailName   = "tail.json"
	partPrefix = "part-"
	tailPrefix = "tail-"

	partSize   = 1 << 20
	maxPart    = 4 << 20
	maxJSON    = 4 << 20
	maxSums    = 128 << 20
	maxEntries = 2_000_000
)

// listPrefix begins the last line of the sums, which is over the lines before it.
const listPrefix = "# this list: "

// header returns that of an entry: it depends on nothing else, so that a reader can tell
// whether it was changed. Directories end with a slash.
func header(name string, size int64, mode fs.FileMode) *tar.Header {
	h := &tar.Header{Name: name, Size: size, Mode: int64(mode & 0o700), Typeflag: tar.TypeReg}
	if strings.HasSuffix(name, "/") {
		h.Typeflag = tar.TypeDir
	}
	return h
}

// writer writes the entries of a backup.
type writer struct {
	tar  *tar.Writer
	sums bytes.Buffer
}

func newWriter(w io.Writer) *writer { return &writer{tar: tar.NewWriter(w)} }

// add writes an entry of that many bytes of r, which must have as many.
func (w *writer) add(name string, size int64, mode fs.FileMode, r io.Reader) error {
	if err := w.tar.WriteHeader(header(name, size, mode)); err != nil {
		return fmt.Errorf("backup: %s: %w", name, err)
	}
	h := sha256.New()
	n, err := io.CopyN(io.MultiWriter(w.tar, h), r, size)
	if err == io.EOF {
		err = fmt.Errorf("it became shorter while it was read, by %d bytes", size-n)
	}
	if err != nil {
		return fmt.Errorf("backup: %s: %w", name, err)
	}
	fmt.Fprintf(&w.sums, "%x  %s\n", h.Sum(nil), name)
	return nil
}

func (w *writer) addBytes(name string, data []byte) error {
	return w.add(name, int64(len(data)), 0o600, bytes.NewReader(data))
}

func (w *writer) addJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("backup: %s: %w", name, err)
	}
	return w.addBytes(name, append(data, '\n'))
}

// end writes the sums, and the end of the file.
func (w *writer) end() error {
	fmt.Fprintf(&w.sums, "%s%x\n", listPrefix, sha256.Sum256(w.sums.Bytes()))
	sums := w.sums.Bytes()
	if err := w.tar.WriteHeader(header(sumsName, int64(len(sums)), 0o600)); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if _, err := w.tar.Write(sums); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := w.tar.Close(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// parts is an [io.Writer] whose bytes become entries.
type parts struct {
	w      *writer
	prefix string // of their names
	buf    []byte
	n      int
}

func (p *parts) Write(data []byte) (int, error) {
	for rest := data; len(rest) > 0; {
		take := min(len(rest), partSize-len(p.buf))
		p.buf, rest = append(p.buf, rest[:take]...), rest[take:]
		if len(p.buf) == partSize {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(data), nil
}

func (p *parts) flush() error {
	if len(p.buf) == 0 {
		return nil
	}
	p.n++
	err := p.w.addBytes(fmt.Sprintf("%s%06d", p.prefix, p.n), p.buf)
	p.buf = p.buf[:0]
	return err
}
