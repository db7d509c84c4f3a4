package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Limits bound what a bundle may hold. The zero value is the defaults; what is
// not positive is the default.
type Limits struct {
	// Bytes is the size of all files together, unpacked. Default: 512 MiB.
	Bytes int64
	// FileBytes is the size of one file. Default: 256 MiB.
	FileBytes int64
	// Entries is the number of files, links and directories. Default: 20,000.
	Entries int
}

const (
	defaultBytes     = 512 << 20
	defaultFileBytes = 256 << 20
	defaultEntries   = 20_000

	maxPath = 1024      // bytes of a path, and of a link's target
	maxName = 255       // bytes between two slashes
	maxHops = 40        // links that one link may lead through, as in Linux
	maxWork = 256 << 20 // bytes copied to resolve all links
)

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = defaultBytes
	}
	if l.FileBytes <= 0 {
		l.FileBytes = defaultFileBytes
	}
	if l.Entries <= 0 {
		l.Entries = defaultEntries
	}
	// Sums of these must not overflow.
	l.Bytes, l.FileBytes, l.Entries = min(l.Bytes, 1<<50), min(l.FileBytes, 1<<50), min(l.Entries, 1<<30)
	return l
}

// Entry is a file or a symbolic link in a bundle.
type Entry struct {
	Path       string `json:"path"`           // with slashes, relative to the tree
	Size       int64  `json:"size"`           // in bytes, 0 for a link
	Executable bool   `json:"executable"`     // mode 0755, else 0644
	Link       string `json:"link,omitempty"` // what a link says; "" for a file

	sum [sha256.Size]byte // of the contents
}

// Omission is what was left out of a bundle.
type Omission struct {
	Path string `json:"path"` // a directory, with all below it, ends in "/"
	Rule string `json:"rule"` // ".gitignore:3: *.log", or in words
}

// Summary is what a bundle holds.
type Summary struct {
	Digest  string     `json:"digest"`  // identifies what it holds, in hexadecimal; see the package's text
	Bytes   int64      `json:"bytes"`   // size of all files together
	Entries []Entry    `json:"entries"` // sorted by path
	LeftOut []Omission `json:"leftOut"` // sorted by path; always empty from Unpack
}

// summarize sorts entries and computes their digest.
func summarize(entries []Entry, leftOut []Omission) Summary {
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(leftOut, func(a, b Omission) int { return strings.Compare(a.Path, b.Path) })
	s := Summary{Entries: entries, LeftOut: leftOut}
	h := sha256.New()
	fmt.Fprintln(h, "fnhost bundle 1")
	for _, e := range entries {
		if e.Link != "" {
			fmt.Fprintf(h, "link %+q %+q\n", e.Link, e.Path)
			continue
		}
		s.Bytes += e.Size
		fmt.Fprintf(h, "file %04o %d %x %+q\n", e.mode(), e.Size, e.sum, e.Path)
	}
	s.Digest = hex.EncodeToString(h.Sum(nil))
	return s
}

func (e Entry) mode() int64 {
	if e.Executable {
		return 0o755
	}
	return 0o644
}
