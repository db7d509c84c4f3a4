package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Index is what a backup that is whole holds.
type Index struct {
	Header
	Streams int    // how many
	Files   int    // of the data directory
	Size    int64  // of the backup, in bytes
	Stored  uint64 // what it needs on a disk, in bytes, about

	streams []*stored // in the order of the file
	files   []entry
	known   map[string]*stored
}

// entry is one of the file.
type entry struct {
	name   string
	offset int64 // of its content
	size   int64
	mode   fs.FileMode
	sum    [sha256.Size]byte
}

// stored is a stream.
type stored struct {
	account, name string
	about         streamEntry
	tail          tailEntry
	parts, tails  []entry
}

// streamEntry is stream.json. Config and State are the server's.
type streamEntry struct {
	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state"`
}

// tailEntry is tail.json.
type tailEntry struct {
	Last uint64 `json:"last"` // sequence
}

// Verify reads a backup to its end and returns what it holds. It keeps no more of it than a list of
// its entries. The error wraps [ErrNotBackup], [ErrNewer] or [ErrDamaged], or is that of
// r or ctx.
func Verify(ctx context.Context, r io.Reader) (*Index, error) {
	v := &verifier{
		in: &source{r: bufio.NewReaderSize(r, 256<<10), ctx: ctx}, index: &Index{known: make(map[string]*stored)}, seen: make(map[string]bool),
	}
	v.in.hash.SetSeed(maphash.MakeSeed())
	v.twin.SetSeed(v.in.hash.Seed())
	v.again = tar.NewWriter(&v.twin)
	v.tar = tar.NewReader(v.in)
	for {
		done, err := v.next()
		if v.in.err != nil {
			return nil, v.in.err
		}
		if err != nil {
			return nil, err
		}
		if done {
			return v.index, nil
		}
	}
}

// source counts what is read, and keeps the error of the reader, to tell it from what is
// wrong with the backup.
type source struct {
	r    io.Reader
	ctx  context.Context
	n    int64
	hash maphash.Hash
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		s.err = err
		return 0, err
	}
	n, err := s.r.Read(p)
	s.n += int64(n)
	s.hash.Write(p[:n])
	if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) { // a connection that broke off is a cut
		s.err = err
	}
	return n, err
}

// verifier reads a backup. What it reads it writes once more: a backup is what a writer would
// have written, so that no byte can differ, those included that a tar reader ignores.
type verifier struct {
	in    *source
	tar   *tar.Reader
	again *tar.Writer
	twin  maphash.Hash
	index *Index
	sums  bytes.Buffer
	seen  map[string]bool
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s: nothing of it was used", ErrDamaged, fmt.Sprintf(format, args...))
}

// next reads an entry. It reports true at the end.
func (v *verifier) next() (bool, error) {
	h, err := v.tar.Next()
	if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // names are checked below
		if len(v.seen) == 0 {
			return false, ErrNotBackup
		}
		return false, damaged("it ends, or is none any more, after %d bytes (%v)", v.in.n, err)
	}
	if len(v.seen) == 0 && h.Name != headerName {
		return false, ErrNotBackup
	}
	e := entry{name: h.Name, offset: v.in.n, size: h.Size, mode: fs.FileMode(h.Mode & 0o700)}
	if err := v.check(h, e); err != nil {
		return false, err
	}
	if err := v.again.WriteHeader(header(e.name, e.size, e.mode)); err != nil {
		return false, damaged("entry %q: %v", e.name, err)
	}
	if e.name == sumsName {
		return true, v.end(e.size)
	}
	return false, v.take(e)
}

// check looks at an entry before it is read.
func (v *verifier) check(h *tar.Header, e entry) error {
	plain := h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeDir && e.size == 0
	for key := range h.PAXRecords {
		plain = plain && (key == "path" || key == "size")
	}
	isDir := strings.HasSuffix(e.name, "/")
	switch {
	case !plain || h.Linkname != "" || isDir != (h.Typeflag == tar.TypeDir):
		return damaged("entry %q is no plain file", e.name)
	case v.seen[e.name]:
		return damaged("entry %q is there twice", e.name)
	case len(v.seen) >= maxEntries:
		return damaged("more than %d entries", maxEntries)
	case !validName(strings.TrimSuffix(e.name, "/")):
		return damaged("entry %q: not a name that a backup has", e.name)
	case e.size < 0 || e.size > sizeLimit(e.name):
		return damaged("entry %q has %d bytes", e.name, e.size)
	}
	v.seen[e.name] = true
	return nil
}

// validName reports whether an entry may be called so.
func validName(name string) bool {
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00\n\r") {
		return false
	}
	if file, ok := strings.CutPrefix(name, filesDir); ok {
		return keeps(file)
	}
	if rest, ok := strings.CutPrefix(name, streamsDir); ok {
		return strings.Count(rest, "/") == 2
	}
	return name == headerName || name == sumsName
}

func sizeLimit(name string) int64 {
	switch {
	case name == sumsName:
		return maxSums
	case strings.HasPrefix(name, filesDir):
		return 1 << 50
	case strings.HasSuffix(name, ".json"):
		return maxJSON
	}
	return maxPart
}

// take reads an entry and notes it.
func (v *verifier) take(e entry) error {
	h := sha256.New()
	out := io.MultiWriter(h, v.again)
	var text bytes.Buffer
	if strings.HasSuffix(e.name, ".json") && !strings.HasPrefix(e.name, filesDir) {
		out = io.MultiWriter(out, &text)
	}
	if _, err := io.Copy(out, v.tar); err != nil {
		return damaged("it ends in entry %q, after %d bytes (%v)", e.name, v.in.n, err)
	}
	e.sum = [sha256.Size]byte(h.Sum(nil))
	fmt.Fprintf(&v.sums, "%x  %s\n", e.sum, e.name)
	return v.index.add(e, text.Bytes())
}

// add notes an entry; text is what one of JSON holds.
func (ix *Index) add(e entry, text []byte) error {
	if e.name == headerName {
		if err := json.Unmarshal(text, &ix.Header); err != nil || ix.Format < 1 {
			return ErrNotBackup
		}
		if ix.Format > Format {
			return fmt.Errorf("%w, %s: its format is %d, and this one reads up to %d: restore it with that one", ErrNewer, ix.Version, ix.Format, Format)
		}
		return nil
	}
	if strings.HasPrefix(e.name, filesDir) {
		ix.files = append(ix.files, e)
		ix.Stored += uint64(e.size)
		if !strings.HasSuffix(e.name, "/") {
			ix.Files++
		}
		return nil
	}
	dir, base := path.Split(e.name)
	s := ix.known[dir]
	if s == nil {
		tokens := strings.Split(dir, "/")
		s = &stored{account: tokens[1], name: tokens[2]}
		ix.known[dir] = s
		if base != streamName {
			return damaged("entry %q comes before the %s of its stream", e.name, streamName)
		}
		ix.streams = append(ix.streams, s)
		ix.Streams++
	}
	return ix.addStream(s, base, e, text)
}

// addStream notes an entry of a stream.
func (ix *Index) addStream(s *stored, base string, e entry, text []byte) error {
	var err error
	switch {
	case base == streamName:
		var state streamState
		if err = json.Unmarshal(text, &s.about); err == nil {
			err = json.Unmarshal(s.about.State, &state)
		}
		ix.Stored += state.Bytes
	case base == tailName:
		err = json.Unmarshal(text, &s.tail)
	case base == fmt.Sprintf("%s%06d", partPrefix, len(s.parts)+1):
		s.parts = append(s.parts, e)
	case base == fmt.Sprintf("%s%06d", tailPrefix, len(s.tails)+1):
		s.tails = append(s.tails, e)
		ix.Stored += uint64(e.size)
	default:
		err = errors.New("it is not the next one of its stream")
	}
	if err != nil {
		return damaged("entry %q: %v", e.name, err)
	}
	return nil
}

// end reads the sums and what is behind them.
func (v *verifier) end(size int64) error {
	sums, err := io.ReadAll(io.TeeReader(v.tar, v.again))
	if err != nil || int64(len(sums)) != size {
		return damaged("it ends in its list of sums (%v)", err)
	}
	list, last, _ := strings.Cut(string(sums), listPrefix)
	sum := sha256.Sum256([]byte(list))
	if last != hex.EncodeToString(sum[:])+"\n" {
		return damaged("its list of sums was changed")
	}
	if list != v.sums.String() {
		return damaged("%s", firstDifference(v.sums.String(), list))
	}
	if _, err := v.tar.Next(); err != io.EOF {
		return damaged("something is behind its list of sums, or its end is missing")
	}
	if n, _ := io.Copy(io.Discard, v.in); n > 0 {
		return damaged("%d bytes are behind its end", n)
	}
	if err := v.again.Close(); err != nil || v.twin.Sum64() != v.in.hash.Sum64() {
		return damaged("a header of an entry, or what is between entries, was changed")
	}
	v.index.Size = v.in.n
	return nil
}

// firstDifference names the first entry that is not as it was.
func firstDifference(is, want string) string {
	for line := range strings.Lines(is) {
		if rest, ok := strings.CutPrefix(want, line); ok {
			want = rest
			continue
		}
		_, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		return fmt.Sprintf("entry %q was changed", name)
	}
	return "entries are missing"
}
