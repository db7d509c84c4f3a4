package bundle

import (
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// ledger is what a bundle holds so far. Both sides keep one, so that what Pack
// sends is what Unpack takes.
type ledger struct {
	limits Limits
	kinds  map[string]kind
	links  map[string]string // path to target
	bytes  int64
	work   int // of resolving links, in bytes looked at
}

type kind byte

const (
	kindDir kind = iota + 1
	kindFile
	kindLink
)

func newLedger(l Limits) *ledger {
	return &ledger{limits: l.withDefaults(), kinds: make(map[string]kind), links: make(map[string]string)}
}

// add enters a file or a link, and the directories that it lies in.
func (l *ledger) add(e Entry) error {
	k := kindFile
	if e.Link != "" {
		k = kindLink
	}
	if err := checkPath(e.Path); err != nil {
		return err
	}
	if e.Size > l.limits.FileBytes {
		return failure(ErrTooLarge, e.Path, "a file of %d bytes; the limit is %d: leave it out with .fnhostignore, or fetch it when the function starts", e.Size, l.limits.FileBytes)
	}
	if e.Size > l.limits.Bytes-l.bytes {
		return failure(ErrTooLarge, e.Path, "more than %d bytes together: leave files out with .fnhostignore", l.limits.Bytes)
	}
	l.bytes += e.Size
	if err := l.addDir(path.Dir(e.Path)); err != nil {
		return err
	}
	switch l.kinds[e.Path] {
	case kindDir:
		return failure(ErrUnsafe, e.Path, "a directory and a file or link at once")
	case kindFile, kindLink:
		return failure(ErrUnsafe, e.Path, "two entries of this path")
	}
	if k == kindLink {
		if err := checkTarget(e.Path, e.Link); err != nil {
			return err
		}
		l.links[e.Path] = e.Link
	}
	return l.enter(e.Path, k)
}

// addDir enters a directory and those it lies in.
func (l *ledger) addDir(dir string) error {
	if dir == "." {
		return nil
	}
	switch l.kinds[dir] {
	case kindDir:
		return nil
	case kindFile, kindLink:
		return failure(ErrUnsafe, dir, "a directory and a file or link at once")
	}
	if err := l.addDir(path.Dir(dir)); err != nil {
		return err
	}
	return l.enter(dir, kindDir)
}

func (l *ledger) enter(p string, k kind) error {
	if len(l.kinds) >= l.limits.Entries {
		return failure(ErrTooLarge, p, "more than %d files, links and directories: leave some out with .fnhostignore", l.limits.Entries)
	}
	l.kinds[p] = k
	return nil
}

// tops returns the paths of one element.
func (l *ledger) tops() []string {
	var names []string
	for p := range l.kinds {
		if !strings.Contains(p, "/") {
			names = append(names, p)
		}
	}
	return names
}

// checkLinks refuses links that leave the tree, when all are known.
func (l *ledger) checkLinks() error {
	for _, link := range slices.Sorted(maps.Keys(l.links)) {
		if err := l.resolve(link); err != nil {
			return err
		}
	}
	return nil
}

// resolve follows a link as the kernel does, taking what is not in the bundle
// for directories.
func (l *ledger) resolve(link string) error {
	at, rest, hops := path.Dir(link), l.links[link], 0
	for rest != "" {
		if l.work += len(at) + len(rest); l.work > maxWork {
			return failure(ErrTooLarge, link, "too many and too long links to follow: leave some out with .fnhostignore")
		}
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		switch name {
		case "", ".":
			continue
		case "..":
			if at == "." {
				return failure(ErrUnsafe, link, "a symbolic link that leaves the tree, to %q: copy what it leads to into the tree, or leave it out with .fnhostignore", l.links[link])
			}
			at = path.Dir(at)
			continue
		}
		next := name
		if at != "." {
			next = at + "/" + name
		}
		target, ok := l.links[next]
		if !ok {
			at = next
			continue
		}
		if hops++; hops > maxHops {
			return failure(ErrUnsafe, link, "a symbolic link in a circle: remove it, or leave it out with .fnhostignore")
		}
		rest = target + "/" + rest
	}
	return nil
}

// checkPath refuses paths that are not plainly below the tree, on any system.
func checkPath(p string) error {
	switch {
	case p == "" || p == ".":
		return failure(ErrUnsafe, p, "an entry without a name")
	case len(p) > maxPath:
		return failure(ErrUnsafe, p, "a path of %d bytes; the limit is %d: shorten it, or leave it out with .fnhostignore", len(p), maxPath)
	case !utf8.ValidString(p):
		return failure(ErrUnsafe, p, "a name that is not UTF-8: rename it, or leave it out with .fnhostignore")
	case strings.ContainsAny(p, "\\\x00"):
		return failure(ErrUnsafe, p, "a name with a backslash or a zero byte: rename it, or leave it out with .fnhostignore")
	case path.IsAbs(p):
		return failure(ErrUnsafe, p, "an absolute path")
	case path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../"):
		return failure(ErrUnsafe, p, "a path that is not plainly below the tree")
	}
	for name := range strings.SplitSeq(p, "/") {
		if len(name) > maxName {
			return failure(ErrUnsafe, p, "a name of %d bytes; the limit is %d: shorten it, or leave it out with .fnhostignore", len(name), maxName)
		}
		if slices.ContainsFunc(versionControl, func(s string) bool { return strings.EqualFold(s, name) }) {
			return failure(ErrUnsafe, p, "a bundle holds nothing of version control: its settings can run programs")
		}
	}
	return nil
}

func checkTarget(link, target string) error {
	switch {
	case len(target) > maxPath || !utf8.ValidString(target) || strings.ContainsAny(target, "\\\x00"):
		return failure(ErrUnsafe, link, "a symbolic link whose target is over %d bytes, not UTF-8, or has a backslash or a zero byte", maxPath)
	case path.IsAbs(target):
		return failure(ErrUnsafe, link, "a symbolic link that leaves the tree, to %q: make it relative, or leave it out with .fnhostignore", target)
	}
	return nil
}
