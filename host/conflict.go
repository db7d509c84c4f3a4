package host

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/logs"
)

// ErrDuplicate is the error of a directory whose function has the name of another.
var ErrDuplicate = errors.New("two functions of one name")

// conflict is a watched directory that is left out, since another function has
// its name.
type conflict struct {
	name string // under which its status is shown, and which no function can have
	dir  string
	err  error
}

// newConflict returns that of d, whose name other has.
func (h *Namespace) newConflict(d builder.Found, other string) conflict {
	dir := d.Source.Dir
	hint := fmt.Sprintf("rename %s, or give it a `name` in a %s", dir, manifest.FileName)
	if !d.Unnamed {
		hint = "change the `name` in " + filepath.Join(dir, manifest.FileName)
	}
	return conflict{
		name: fmt.Sprintf("%s (%s)", d.Name, h.shortDir(dir)), dir: dir,
		err: fmt.Errorf("%w: %s and %s are both called %q, and the former is served: %s", ErrDuplicate, other, dir, d.Name, hint),
	}
}

// shortDir returns a directory in a watched folder as it begins with that.
func (h *Namespace) shortDir(dir string) string {
	for _, s := range h.sources {
		if within(s.dir, dir) {
			return filepath.Join(filepath.Base(s.dir), strings.TrimPrefix(dir, s.dir))
		}
	}
	return dir
}

// setConflicts makes list the conflicts that there are, and returns those that
// are new. h.mu is held.
func (h *Namespace) setConflicts(list []conflict) []conflict {
	slices.SortFunc(list, func(a, b conflict) int { return strings.Compare(a.dir, b.dir) })
	fresh := slices.DeleteFunc(slices.Clone(list), func(c conflict) bool {
		return slices.ContainsFunc(h.conflicts, func(old conflict) bool { return old.dir == c.dir && old.err.Error() == c.err.Error() })
	})
	h.conflicts = list
	return fresh
}

// tell says that a directory is left out.
func (c conflict) tell(h *Namespace) {
	h.emit(Event{Time: time.Now(), Dir: c.dir, State: Failed, Err: c.err})
	h.addLog(logs.Record{Level: slog.LevelError, Source: logs.Host, Message: c.err.Error()})
}

func (c conflict) status() admin.Function {
	return admin.Function{Name: c.name, State: string(Failed), Kind: "watched", Dir: c.dir, Error: c.err.Error()}
}
