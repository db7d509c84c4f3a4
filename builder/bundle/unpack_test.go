package bundle

import (
	"archive/tar"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

var small = Limits{Bytes: 1 << 20, FileBytes: 1 << 19, Entries: 100}

// unpackInto unpacks to a directory beside a file that must not change, and to one
// that is not there, and holds that errors leave nothing.
func unpackInto(t testing.TB, r []byte, limits Limits) (map[string]string, Summary, error) {
	t.Helper()
	parent := writeTree(t, map[string]string{"outside": "as it was", "dir/": ""})
	dir := filepath.Join(parent, "dir")
	s, err := Unpack(t.Context(), bytes.NewReader(r), dir, limits)
	tree := readTree(t, parent)
	if tree["outside"] != "as it was" {
		t.Error("the file outside changed")
	}
	delete(tree, "outside")
	if err == nil {
		got := readTree(t, dir)
		for name := range got {
			link, isLink := strings.CutSuffix(name, "@")
			if real, err := filepath.EvalSymlinks(filepath.Join(dir, link)); isLink && err == nil && real != dir && !strings.HasPrefix(real, dir+"/") {
				t.Errorf("%s leads to %s", link, real)
			}
		}
		return got, s, nil
	}
	if names, _ := os.ReadDir(dir); len(tree) > 0 || len(names) > 0 {
		t.Errorf("left behind after %v: %v %q", err, names, tree)
	}
	if _, err := Unpack(t.Context(), bytes.NewReader(r), filepath.Join(parent, "new"), limits); err == nil {
		t.Error("no error in a new directory")
	}
	if _, err := os.Lstat(filepath.Join(parent, "new")); !os.IsNotExist(err) {
		t.Errorf("the new directory was left behind: %v", err)
	}
	return nil, s, err
}

func TestHostileEntries(t *testing.T) {
	link := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
	}
	file := func(name string) tar.Header { return tar.Header{Name: name, Mode: 0o644} }
	dir := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name} }
	special := func(kind byte) tar.Header { return tar.Header{Typeflag: kind, Name: "x", Linkname: "a"} }
	long := strings.Repeat("n", 256)
	tests := []struct {
		name    string
		entries []tar.Header
		kind    error
		part    string
	}{
		{"absolute", []tar.Header{file("/etc/x")}, ErrUnsafe, `"/etc/x"`},
		{"absolute after a dot", []tar.Header{file(".//etc/x")}, ErrUnsafe, "absolute"},
		{"up", []tar.Header{file("../outside")}, ErrUnsafe, `"../outside"`},
		{"up within", []tar.Header{file("a/../../outside")}, ErrUnsafe, "plainly"},
		{"up after a dot", []tar.Header{file("./../outside")}, ErrUnsafe, "plainly"},
		{"up and back", []tar.Header{file("a/../b")}, ErrUnsafe, "plainly"},
		{"up as a directory", []tar.Header{dir("../d/")}, ErrUnsafe, "plainly"},
		{"two slashes", []tar.Header{file("a//b")}, ErrUnsafe, "plainly"},
		{"a dot within", []tar.Header{file("a/./b")}, ErrUnsafe, "plainly"},
		{"the parent itself", []tar.Header{link("..", "a")}, ErrUnsafe, "plainly"},
		{"backslash", []tar.Header{file(`..\x`)}, ErrUnsafe, "backslash"},
		{"not UTF-8", []tar.Header{file("a\xff")}, ErrUnsafe, "UTF-8"},
		{"long name", []tar.Header{file(long)}, ErrUnsafe, "256 bytes"},
		{"long path", []tar.Header{file(strings.Repeat("d/", 600) + "f")}, ErrUnsafe, "1201 bytes"},
		{"git settings", []tar.Header{file("a/.git/config")}, ErrUnsafe, "version control"},
		{"git settings where case does not matter", []tar.Header{file(".GIT/config")}, ErrUnsafe, "version control"},
		{"link up", []tar.Header{link("a/l", "../../outside")}, ErrUnsafe, `"../../outside"`},
		{"absolute link", []tar.Header{link("l", "/etc")}, ErrUnsafe, `"/etc"`},
		{"empty link", []tar.Header{link("l", "")}, ErrUnsafe, "to nothing"},
		{"backslash link", []tar.Header{link("l", `..\x`)}, ErrUnsafe, "target"},
		{"long link", []tar.Header{link("l", strings.Repeat("d/", 600))}, ErrUnsafe, "target"},
		{"link through a link", []tar.Header{link("l", "up/../../../outside"), link("up", "a/b"), file("a/b/c")}, ErrUnsafe, "leaves the tree"},
		{"link through what is not there", []tar.Header{link("l", "x/../../outside")}, ErrUnsafe, "leaves the tree"},
		{"chain of links", []tar.Header{link("a/1", "../2"), link("2", "b/3"), link("b/3", "../../outside")}, ErrUnsafe, "leaves the tree"},
		{"links in a circle", []tar.Header{link("a", "b"), link("b", "a")}, ErrUnsafe, "circle"},
		{"file through a link", []tar.Header{link("l", "."), file("l/x")}, ErrUnsafe, `"l"`},
		{"file over a link", []tar.Header{link("l", "../outside"), file("l")}, ErrUnsafe, "two entries"},
		{"link over a file", []tar.Header{file("l"), link("l", "a")}, ErrUnsafe, "two entries"},
		{"link over a directory", []tar.Header{file("l/x"), link("l", "a")}, ErrUnsafe, "at once"},
		{"directory over a link", []tar.Header{link("l", "a"), dir("l/")}, ErrUnsafe, "at once"},
		{"twice", []tar.Header{file("a"), file("a")}, ErrUnsafe, "two entries"},
		{"twice, with a dot", []tar.Header{file("a"), file("./a")}, ErrUnsafe, "two entries"},
		{"file, then directory", []tar.Header{file("a"), file("a/b")}, ErrUnsafe, "at once"},
		{"directory, then file", []tar.Header{file("a/b"), file("a")}, ErrUnsafe, "at once"},
		{"entry of a directory, then file", []tar.Header{dir("a/"), file("a")}, ErrUnsafe, "at once"},
		{"hard link", []tar.Header{file("a"), special(tar.TypeLink)}, ErrUnsafe, "neither a file"},
		{"character device", []tar.Header{special(tar.TypeChar)}, ErrUnsafe, "neither a file"},
		{"block device", []tar.Header{special(tar.TypeBlock)}, ErrUnsafe, "neither a file"},
		{"fifo", []tar.Header{special(tar.TypeFifo)}, ErrUnsafe, "neither a file"},
		{"something else", []tar.Header{special('Z')}, ErrUnsafe, "neither a file"},
		{"many files", many(101, func(i int) tar.Header { return file(fmt.Sprint(i)) }), ErrTooLarge, "more than 100"},
		{"many links", many(101, func(i int) tar.Header { return link(fmt.Sprint(i), "a") }), ErrTooLarge, "more than 100"},
		{"one directory many times", many(101, func(int) tar.Header { return dir("a/") }), ErrTooLarge, "more than 100"},
		{"many directories of few files", []tar.Header{file(strings.Repeat("d/", 101) + "f")}, ErrTooLarge, "more than 100"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// Something good before and after.
			all := slices.Concat([]tar.Header{file("good/1")}, test.entries, []tar.Header{file("good/2")})
			_, _, err := unpackInto(t, compress(archive(t, all...)), small)
			wantError(t, err, test.kind, test.part)
		})
	}
}

func many(n int, header func(i int) tar.Header) []tar.Header {
	list := make([]tar.Header, n)
	for i := range list {
		list[i] = header(i)
	}
	return list
}

// raw makes one entry that a tar writer would refuse to make.
func raw(kind byte, name, content string) []byte {
	block := make([]byte, blockSize, 2*blockSize)
	copy(block, name)
	copy(block[100:], fmt.Sprintf("%07o\x00%07o\x00%07o\x00%011o\x00%011o\x00        %c", 0o644, 0, 0, len(content), 0, kind))
	copy(block[257:], "ustar\x0000")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:], fmt.Sprintf("%06o\x00 ", sum))
	block = append(block, content...)
	return append(block, make([]byte, -len(block)&(blockSize-1))...)
}

// records makes the entry that extends the next one.
func records(pairs ...string) []byte {
	var b strings.Builder
	for _, pair := range pairs {
		n := len(pair) + 3
		n += len(fmt.Sprint(n + 1))
		fmt.Fprintf(&b, "%d %s\n", n-1, pair)
	}
	return raw('x', "records", b.String())
}

func TestRawEntries(t *testing.T) {
	end := make([]byte, 2*blockSize)
	hole := "1\n400000\n0\n" + strings.Repeat("\x00", blockSize-len("1\n400000\n0\n"))
	tests := []struct {
		name   string
		blocks [][]byte
		kind   error // nil if it is good
	}{
		{"plain", [][]byte{raw('0', "a", "1"), end}, nil},
		{"old plain", [][]byte{raw(0, "a", "1"), end}, nil},
		{"records", [][]byte{records("path=b", "mtime=1.5", "SCHILY.xattr.user.x=y"), raw('0', "a", "1"), end}, nil},
		{"no name", [][]byte{raw('0', "./", "1"), end}, ErrUnsafe},
		{"malformed comment", [][]byte{raw('g', "pax_global_header", "1 comment=\n"), raw('0', "a", "1"), end}, ErrDamaged},
		{"padded", [][]byte{raw('0', "a", "1"), end, make([]byte, 10<<10)}, nil},
		{"long name of old GNU", [][]byte{raw('L', "././@LongLink", "../outside\x00"), raw('0', "a", "1"), end}, ErrUnsafe},
		{"name in a record", [][]byte{records("path=../outside"), raw('0', "a", "1"), end}, ErrUnsafe},
		{"zero byte in a record", [][]byte{records("path=a\x00b"), raw('0', "a", "1"), end}, ErrDamaged},
		{"file with a slash at its end", [][]byte{records("path=a/"), raw('0', "a", "1"), end}, ErrUnsafe},
		{"sparse", [][]byte{records("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=a", "GNU.sparse.realsize=400000"), raw('0', "a", hole), end}, ErrUnsafe},
		{"old sparse", [][]byte{raw('S', "a", "1"), end}, ErrDamaged},
		{"huge size", [][]byte{records("size=9223372036854775807"), raw('0', "a", "1"), end}, ErrTooLarge},
		{"negative size", [][]byte{records("size=-1"), raw('0', "a", "1"), end}, ErrDamaged},
		{"size beyond the end", [][]byte{records("size=5000"), raw('0', "a", "1"), end}, ErrDamaged},
		{"no end", [][]byte{raw('0', "a", "1")}, ErrDamaged},
		{"half an end", [][]byte{raw('0', "a", "1"), end[:blockSize]}, ErrDamaged},
		{"half an end after zeros", [][]byte{raw('0', "a", strings.Repeat("\x00", 4*blockSize)), end[:blockSize]}, ErrDamaged},
		{"nothing", nil, ErrDamaged},
		{"another entry after the end", [][]byte{raw('0', "a", "1"), end, raw('0', "b", "1"), end}, ErrDamaged},
		{"no tar", [][]byte{[]byte(strings.Repeat("package hello\n", 100))}, ErrDamaged},
		{"half a header", [][]byte{raw('0', "a", "1"), raw('0', "b", "1")[:100]}, ErrDamaged},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := unpackInto(t, compress(slices.Concat(test.blocks...)), small)
			if test.kind != nil {
				wantError(t, err, test.kind)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDamagedBundles(t *testing.T) {
	good, _ := pack(t, writeTree(t, map[string]string{"a": strings.Repeat("contents ", 1000), "b": ""}))
	dir := t.TempDir()
	for n := range good {
		// That dir is empty again is what the next call needs.
		if _, err := Unpack(t.Context(), bytes.NewReader(good[:n]), dir, small); !errors.Is(err, ErrDamaged) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(good), err)
		}
	}
	flipped := slices.Clone(good)
	flipped[len(flipped)-6] ^= 1 // the checksum
	for name, data := range map[string][]byte{
		"plain tar":             archive(t, tar.Header{Name: "a"}),
		"text":                  []byte("package hello"),
		"checksum":              flipped,
		"junk after it":         append(slices.Clone(good), 'x'),
		"a zero after it":       append(slices.Clone(good), 0),
		"another one after it":  append(slices.Clone(good), good...),
		"an empty one after it": append(slices.Clone(good), compress(nil)...),
	} {
		_, _, err := unpackInto(t, data, small)
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// zeros is a bundle that begins as given and goes on with a gigabyte of zeros.
func zeros(t *testing.T, prefix []byte) []byte {
	t.Helper()
	var buf, block bytes.Buffer
	z := gzip.NewWriter(&buf)
	_, err := z.Write(prefix)
	f, _ := flate.NewWriter(&block, flate.BestCompression)
	_, e := f.Write(make([]byte, 1<<20))
	if err := errors.Join(err, e, z.Flush(), f.Flush()); err != nil {
		t.Fatal(err)
	}
	return append(buf.Bytes(), bytes.Repeat(block.Bytes(), 1<<10)...) // blocks can be repeated
}

func TestBombs(t *testing.T) {
	const n = 1 << 30
	sized := records(fmt.Sprintf("size=%d", n))
	for name, prefix := range map[string][]byte{
		"a file":               slices.Concat(sized, raw('0', "a", "")),
		"a comment":            slices.Concat(sized, raw('g', "a", "")),
		"padding at the end":   slices.Concat(raw('0', "a", "1"), make([]byte, 2*blockSize)),
		"a link with contents": slices.Concat(records("linkpath=b", fmt.Sprintf("size=%d", n)), raw('2', "a", "")),
	} {
		t.Run(name, func(t *testing.T) {
			data := zeros(t, prefix)
			in := &counting{r: bytes.NewReader(data)}
			_, err := Unpack(t.Context(), in, t.TempDir(), small)
			wantError(t, err, ErrTooLarge)
			if in.n > 16<<10 {
				t.Errorf("%d of %d bytes were read", in.n, len(data))
			}
		})
	}
}

// A file of many small ones is refused before the one that is too much is written.
func TestTotalSize(t *testing.T) {
	var blocks [][]byte
	for i := range 5 {
		blocks = append(blocks, raw('0', fmt.Sprint(i), strings.Repeat("x", 300)))
	}
	_, _, err := unpackInto(t, compress(slices.Concat(blocks...)), Limits{Bytes: 1000})
	wantError(t, err, ErrTooLarge, `"3"`, "1000 bytes")
}

type counting struct {
	r io.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// Compressed data may go on for ever and stand for nothing.
func TestEndlessInput(t *testing.T) {
	header := compress(nil)[:10]
	empty := bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 1000) // stored blocks of no bytes
	in := &counting{r: io.MultiReader(bytes.NewReader(header), endless(empty))}
	_, err := Unpack(t.Context(), in, t.TempDir(), Limits{Bytes: 1, Entries: 1})
	wantError(t, err, ErrTooLarge)
	if in.n > 2<<20 {
		t.Errorf("%d bytes were read", in.n)
	}
}

// endless repeats itself.
type endless []byte

func (e endless) Read(p []byte) (int, error) {
	n := copy(p, e)
	copy(e, slices.Concat(e[n:], e[:n]))
	return n, nil
}

func TestErrorsOfTheReaderAreKept(t *testing.T) {
	good, _ := pack(t, writeTree(t, map[string]string{"a": strings.Repeat("contents ", 1000)}))
	mine := errors.New("connection reset")
	for _, n := range []int{0, 5, len(good) / 2, len(good)} {
		r := io.MultiReader(bytes.NewReader(good[:n]), iotest.ErrReader(mine))
		if _, err := Unpack(t.Context(), r, t.TempDir(), small); !errors.Is(err, mine) || errors.Is(err, ErrDamaged) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Unpack(ctx, bytes.NewReader(good), t.TempDir(), small); !errors.Is(err, context.Canceled) {
		t.Errorf("of a context that has ended: %v", err)
	}
	if _, err := Unpack(t.Context(), iotest.OneByteReader(bytes.NewReader(good)), t.TempDir(), small); err != nil {
		t.Errorf("byte by byte: %v", err)
	}
}

// Whatever wrote the tar.
func TestOtherTars(t *testing.T) {
	list := []tar.Header{
		{Typeflag: tar.TypeDir, Name: "./", Mode: 0o700},
		{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "1234"}},
		{Typeflag: tar.TypeSymlink, Name: "./z", Linkname: "b/c", Mode: 0o777},
		{Typeflag: tar.TypeDir, Name: "./b/", Mode: 0},
		{Name: "./b/c", Mode: 0o7777, Uid: 1, Uname: "me"},
		{Typeflag: tar.TypeDir, Name: "./b/", Mode: 0},
		{Name: "a", Mode: 0o400},
	}
	tree, s, err := unpackInto(t, compress(archive(t, list...)), small)
	want := map[string]string{"a": "content of a", "b/c*": "content of ./b/c", "z@": "b/c"}
	if err != nil || !maps.Equal(tree, want) {
		t.Errorf("tree %q, %v, want %q", tree, err, want)
	}
	_, packed := pack(t, writeTree(t, want))
	if s.Digest != packed.Digest {
		t.Errorf("digest %s, packed it is %s", s.Digest, packed.Digest)
	}
}

func TestUnpackNeedsAnEmptyDirectory(t *testing.T) {
	data, _ := pack(t, writeTree(t, map[string]string{"a": ""}))
	dir := writeTree(t, map[string]string{"b": "old"})
	for name, want := range map[string]string{".": `it holds "b"`, "b": "not a directory", "x/y": "no such file"} {
		if _, err := Unpack(t.Context(), bytes.NewReader(data), filepath.Join(dir, name), small); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", name, err, want)
		}
	}
	if tree := readTree(t, dir); !maps.Equal(tree, map[string]string{"b": "old"}) {
		t.Errorf("tree is %q", tree)
	}
}

// Many links, each by way of many others, take no time to speak of.
func TestLinksThatAreSlowToFollow(t *testing.T) {
	list := []tar.Header{}
	for i := range 200 {
		target := strings.Repeat("d/../", 200) + fmt.Sprint(i+1)
		if i%maxHops == 0 {
			target = "d"
		}
		list = append(list, tar.Header{Typeflag: tar.TypeSymlink, Name: fmt.Sprint(i), Linkname: target})
	}
	_, err := Unpack(t.Context(), bytes.NewReader(compress(archive(t, list...))), t.TempDir(), Limits{})
	wantError(t, err, ErrTooLarge, "links to follow")
}

func FuzzUnpack(f *testing.F) {
	good, _ := pack(f, writeTree(f, map[string]string{"a": "1", "b/c*": "22", "l@": "b/c"}))
	f.Add(good, true)
	f.Add(archive(f, tar.Header{Name: "../outside"}), false)
	f.Add(archive(f, tar.Header{Name: "a", Mode: 0o755}, tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "a/.."}, tar.Header{Typeflag: tar.TypeDir, Name: "d/"}), false)
	f.Add(slices.Concat(records("path=d/e", "size=1"), raw('0', "a", "1"), raw('L', "x", "long"), raw('2', "l", ""), make([]byte, 1024)), false)
	f.Fuzz(func(t *testing.T, data []byte, compressed bool) {
		if !compressed { // few inputs get past the checksum
			data = compress(data)
		}
		tree, s, err := unpackInto(t, data, small)
		if err != nil {
			return
		}
		if len(tree) != len(s.Entries) || len(tree) > small.Entries || s.Bytes > small.Bytes {
			t.Errorf("%d files, summary %+v", len(tree), s)
		}
		for _, e := range s.Entries {
			name := e.Path
			switch {
			case e.Link != "":
				name += "@"
			case e.Executable:
				name += "*"
			}
			if content, ok := tree[name]; !ok || e.Link == "" && sha256.Sum256([]byte(content)) != e.sum || e.Link != "" && e.Link != content {
				t.Errorf("%+v is %q (%v)", e, content, ok)
			}
		}
	})
}
