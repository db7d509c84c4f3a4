package gitpush

import (
	"fmt"
	"strconv"
	"strings"
)

// update is one ref of a push: where it stands, and where it is to go.
type update struct{ old, new, ref string }

const branches, tags = "refs/heads/", "refs/tags/"

func (u update) create() bool { return isZero(u.old) }
func (u update) remove() bool { return isZero(u.new) }

// short is how people name the ref.
func (u update) short() string {
	return strings.TrimPrefix(strings.TrimPrefix(u.ref, branches), tags)
}

func isZero(id string) bool { return strings.Trim(id, "0") == "" }

// abbreviate is how people read an object's id.
func abbreviate(id string) string { return id[:min(len(id), 9)] }

// parseUpdates reads what git gives to the hook: a line "old new ref" for each ref.
func parseUpdates(text string) ([]update, error) {
	var list []update
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(fields) != 3 || !isID(fields[0]) || !isID(fields[1]) || !strings.HasPrefix(fields[2], "refs/") {
			return nil, fmt.Errorf("gitpush: git has given the hook the line %.200q", line)
		}
		list = append(list, update{old: fields[0], new: fields[1], ref: fields[2]})
	}
	return list, nil
}

// isID reports whether s is the id of an object, by SHA-1 or SHA-256.
func isID(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// choose returns the update that is to be deployed, or nil if there are only
// tags. The error is what the pusher is told.
func choose(list []update) (*update, error) {
	var chosen *update
	for i, u := range list {
		switch {
		case u.remove():
			return nil, rejectf("%s cannot be deleted by a push: what was deployed stays until other code is pushed, or the function is removed on the host", u.short())
		case u.ref == branches+"main" || u.ref == branches+"master":
			if chosen != nil {
				return nil, rejectf("both main and master were pushed: push the one that is to be deployed")
			}
			chosen = &list[i]
		case strings.HasPrefix(u.ref, branches):
			return nil, rejectf("only main (or master) can be pushed here, because a push deploys it, and %s is neither.\nTo deploy %s: git push fnhost %s:main", u.short(), u.short(), u.short())
		case !strings.HasPrefix(u.ref, tags):
			return nil, rejectf("%s cannot be pushed here: push main, which is deployed, or tags, which are kept", u.ref)
		}
	}
	return chosen, nil
}

// maxOptions bounds the push options that are passed on.
const maxOptions = 1000

// pushOptions returns the options that git tells the hook of.
func pushOptions(env map[string]string) []string {
	n, _ := strconv.Atoi(env["GIT_PUSH_OPTION_COUNT"])
	var list []string
	for i := range min(n, maxOptions) {
		list = append(list, env["GIT_PUSH_OPTION_"+strconv.Itoa(i)])
	}
	return list
}
