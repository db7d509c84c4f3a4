package wall

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// groupPrefix begins the names of cgroups: then come the process that made it, and
// a number.
const groupPrefix = "fnhost-"

// controller is a place where cgroups are made that bound something.
type controller struct {
	name  string
	dir   string // the cgroup of the host, below which others are made
	limit string // the file of the limit
	// extra are files that are written too, where they are there, and their text; %d is the limit.
	extra map[string]string
	count string // the file that says how often the limit was met,
	key   string // in the line that begins with it
}

// cgroups are the controllers with which the host may make cgroups: in version 1
// each has a hierarchy of its own, in version 2 all have one.
type cgroups struct {
	list    []controller
	unified bool
}

func (c *cgroups) has(name string) bool {
	return slices.ContainsFunc(c.list, func(one controller) bool { return one.name == name })
}

// group is the cgroup of a process: a directory in each hierarchy.
type group struct {
	dirs         []string // in the order of controllers
	from         *cgroups
	spec         *Spec
	enter, leave []*os.File // of version 1: the threads in it, and in the host's own
	join         []*os.File // of version 2: the processes in it
	into         *os.File   // and itself
}

var groupNumber atomic.Int64

// make makes the cgroup of one process.
func (c *cgroups) make(s *Spec) (*group, error) {
	name := fmt.Sprintf("%s%d-%d", groupPrefix, os.Getpid(), groupNumber.Add(1))
	g := &group{from: c, spec: s}
	for i := range c.list {
		if err := g.add(&c.list[i], name); err != nil {
			g.remove()
			return nil, fmt.Errorf("cgroup: %w", err)
		}
	}
	return g, nil
}

// bound returns what a controller bounds, in its unit.
func (s *Spec) bound(controller string) int64 {
	if controller == "memory" {
		return s.Memory
	}
	return int64(s.Processes)
}

// add makes the directory of one controller, bounds it, and opens what is needed to
// enter it: the thread that does so sees none of these files.
func (g *group) add(c *controller, name string) error {
	path := filepath.Join(c.dir, name)
	if err := os.Mkdir(path, 0o755); err != nil && !(g.from.unified && errors.Is(err, os.ErrExist)) {
		return err
	}
	g.dirs = append(g.dirs, path)
	limit := strconv.FormatInt(g.spec.bound(c.name), 10)
	if err := os.WriteFile(filepath.Join(path, c.limit), []byte(limit), 0o644); err != nil {
		return err
	}
	for file, text := range c.extra {
		// Where the kernel does not count swap there is no such file.
		os.WriteFile(filepath.Join(path, file), []byte(strings.ReplaceAll(text, "%d", limit)), 0o644)
	}
	if !g.from.unified {
		return errors.Join(g.open(&g.enter, filepath.Join(path, "tasks")), g.open(&g.leave, filepath.Join(c.dir, "tasks")))
	}
	if g.into != nil {
		return nil
	}
	var err error
	if g.into, err = os.Open(path); err != nil {
		return err
	}
	return g.open(&g.join, filepath.Join(path, "cgroup.procs"))
}

func (g *group) open(list *[]*os.File, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		*list = append(*list, f)
	}
	return err
}

// move takes the calling thread into the cgroups of the files; what it starts is born there.
func move(files []*os.File) error {
	for _, f := range files {
		if _, err := f.WriteString("0"); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	return nil
}

// take puts a process into the cgroup, of version 2.
func (g *group) take(pid int) error {
	for _, f := range g.join {
		if _, err := f.WriteString(strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	return nil
}

// closeFiles closes what is of no use once the process is in.
func (g *group) closeFiles() {
	for _, list := range [][]*os.File{g.enter, g.leave, g.join} {
		for _, f := range list {
			f.Close()
		}
	}
	if g.into != nil {
		g.into.Close()
	}
	g.enter, g.leave, g.join, g.into = nil, nil, nil, nil
}

// verdict says which limit was met, if one was.
func (g *group) verdict() string {
	for i, dir := range g.dirs {
		c := &g.from.list[i]
		switch n := counted(dir, c); {
		case n == 0:
		case c.name == "memory":
			return fmt.Sprintf("it was killed at its limit of memory, %d MiB%s", g.spec.Memory>>20, g.spec.advice("memory"))
		case c.name == "pids":
			return fmt.Sprintf("it met its limit of %d processes and threads%s", g.spec.Processes, g.spec.advice("processes"))
		}
	}
	return ""
}

// advice says how to get more, to who has a function.yaml that says how much.
func (s *Spec) advice(key string) string {
	if s.Program == "" {
		return ""
	}
	return ": write more " + key + " in its function.yaml"
}

func counted(dir string, c *controller) int {
	data, err := os.ReadFile(filepath.Join(dir, c.count))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, c.key+" "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(rest))
			return n
		}
	}
	return 0
}

// remove removes the cgroup, whose processes have ended.
func (g *group) remove() {
	g.closeFiles()
	for _, dir := range g.dirs {
		removeGroup(dir)
	}
}

// removeGroup removes a cgroup, and kills who is left in it: without a process ID
// namespace, children may have left the process's group. The kernel may need a moment.
func removeGroup(dir string) {
	for try := 0; try < 50; try++ {
		left, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for text := range strings.FieldsSeq(string(left)) {
			if pid, err := strconv.Atoi(text); err == nil && pid > 1 && pid != os.Getpid() {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if err := os.Remove(dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return
		}
		time.Sleep(time.Millisecond << min(try, 5))
	}
}

// findGroups finds the hierarchies, and removes what hosts have left that were killed.
func findGroups() (cgroups, error) {
	var c cgroups
	own, err := ownGroups()
	if err != nil {
		return c, err
	}
	mounts, err := groupMounts()
	if err != nil {
		return c, err
	}
	for _, one := range []controller{
		{name: "memory", limit: "memory.limit_in_bytes", extra: map[string]string{"memory.memsw.limit_in_bytes": "%d"}, count: "memory.oom_control", key: "oom_kill"},
		{name: "pids", limit: "pids.max", count: "pids.events", key: "max"},
	} {
		if one.dir = within(mounts[one.name], own[one.name]); one.dir != "" {
			c.list = append(c.list, one)
		}
	}
	if dir := within(mounts[""], own[""]); dir != "" && len(c.list) == 0 {
		err = c.findUnified(dir)
	}
	for _, one := range c.list {
		removeStale(one.dir)
	}
	return c, err
}

// findUnified uses the hierarchy of version 2, in which a cgroup has either
// processes or cgroups with limits. So the host must be in one beside those that it
// makes: in "host", as systemd has it with DelegateSubgroup=host.
func (c *cgroups) findUnified(own string) error {
	dir := own
	if filepath.Base(own) == "host" {
		dir = filepath.Dir(own)
	}
	there, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	c.unified = true
	for _, one := range []controller{
		{name: "memory", dir: dir, limit: "memory.max", extra: map[string]string{"memory.swap.max": "0", "memory.oom.group": "1"}, count: "memory.events", key: "oom_kill"},
		{name: "pids", dir: dir, limit: "pids.max", count: "pids.events", key: "max"},
	} {
		if !slices.Contains(strings.Fields(string(there)), one.name) {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+one.name), 0o644); err != nil {
			return err
		}
		c.list = append(c.list, one)
	}
	return nil
}

// groupMount is where a hierarchy is mounted, and what of it.
type groupMount struct{ at, root string }

// within returns the directory of a cgroup of this process, "" if it is not to be seen.
func within(m groupMount, own string) string {
	if m.at == "" || own == "" {
		return ""
	}
	below, err := filepath.Rel(m.root, own)
	if err != nil || below == ".." || strings.HasPrefix(below, "../") {
		below = "." // the mount is of another container's view
	}
	dir := filepath.Join(m.at, below)
	if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
		return ""
	}
	return dir
}

// ownGroups returns the cgroups of this process: by controller, and "" for version 2.
func ownGroups() (map[string]string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	own := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); len(parts) == 3 {
			for name := range strings.SplitSeq(parts[1], ",") {
				own[name] = parts[2]
			}
		}
	}
	return own, nil
}

// groupMounts returns where hierarchies are mounted: by controller, and "" for version 2.
func groupMounts() (map[string]groupMount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	mounts := make(map[string]groupMount)
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		place, kind := strings.Fields(before), strings.Fields(after)
		if len(place) < 5 || len(kind) < 3 {
			continue
		}
		m := groupMount{at: place[4], root: place[3]}
		switch kind[0] {
		case "cgroup2":
			mounts[""] = m
		case "cgroup":
			for name := range strings.SplitSeq(kind[2], ",") {
				mounts[name] = m
			}
		}
	}
	return mounts, nil
}

// removeStale removes cgroups below dir whose host has gone, and who is left in them:
// a host that is killed while it starts a process leaves it held, before its first
// instruction.
func removeStale(dir string) {
	found, _ := filepath.Glob(filepath.Join(dir, groupPrefix+"*-*"))
	for _, path := range found {
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), groupPrefix), "-")
		pid, err := strconv.Atoi(text)
		if _, gone := os.Stat(filepath.Join("/proc", text)); err == nil && (gone != nil || pid == os.Getpid()) {
			removeGroup(path)
		}
	}
}
