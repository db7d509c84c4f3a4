package wall

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	dir   string // the cgroup of the host, below which others are made; "" without
	limit string // the file of the limit
	// extra are files that are written too, where they are there, and their text; %d is the limit.
	extra map[string]string
	count string // the file that says how often the limit was met,
	key   string // in the line that begins with it
}

// cgroups are the hierarchies in which the host may make cgroups: of version 1 one
// for each thing that is bounded, of version 2 one for all.
type cgroups struct {
	mem, pid controller
	unified  bool // both are one
}

func (c *cgroups) memory() bool { return c.mem.dir != "" }
func (c *cgroups) pids() bool   { return c.pid.dir != "" }

// group is the cgroup of a process: a directory in each hierarchy.
type group struct {
	mem, pid     string
	from         *cgroups
	spec         *Spec
	enter, leave []*os.File // of version 1: the threads in it, and in the host's own
	join         []*os.File // of version 2: the processes in it
}

var groupNumber atomic.Int64

// make makes the cgroup of one process.
func (c *cgroups) make(s *Spec) (*group, error) {
	name := fmt.Sprintf("%s%d-%d", groupPrefix, os.Getpid(), groupNumber.Add(1))
	g := &group{from: c, spec: s}
	err := errors.Join(g.add(&g.mem, &c.mem, name, s.Memory), g.add(&g.pid, &c.pid, name, int64(s.Processes)))
	if err != nil {
		g.remove()
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	return g, nil
}

// add makes the directory in one hierarchy, bounds it, and opens what is needed to
// enter it: the thread that does so sees none of these files.
func (g *group) add(dir *string, c *controller, name string, limit int64) error {
	if c.dir == "" {
		return nil
	}
	path := filepath.Join(c.dir, name)
	if err := os.Mkdir(path, 0o755); err != nil && !(g.from.unified && errors.Is(err, os.ErrExist)) {
		return err
	}
	*dir = path
	if err := os.WriteFile(filepath.Join(path, c.limit), []byte(strconv.FormatInt(limit, 10)), 0o644); err != nil {
		return err
	}
	for file, text := range c.extra {
		// Where the kernel does not count swap there is no such file.
		os.WriteFile(filepath.Join(path, file), []byte(strings.ReplaceAll(text, "%d", strconv.FormatInt(limit, 10))), 0o644)
	}
	if g.from.unified {
		return g.open(&g.join, filepath.Join(path, "cgroup.procs"))
	}
	return errors.Join(g.open(&g.enter, filepath.Join(path, "tasks")), g.open(&g.leave, filepath.Join(c.dir, "tasks")))
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
	g.enter, g.leave, g.join = nil, nil, nil
}

// verdict says which limit was met, if one was.
func (g *group) verdict() string {
	if n := counted(g.mem, &g.from.mem); n > 0 {
		return fmt.Sprintf("it was killed at its limit of memory, %d MiB: write more memory in its function.yaml", g.spec.Memory>>20)
	}
	if n := counted(g.pid, &g.from.pid); n > 0 {
		return fmt.Sprintf("it met its limit of %d processes and threads: write more processes in its function.yaml", g.spec.Processes)
	}
	return ""
}

func counted(dir string, c *controller) int {
	if dir == "" {
		return 0
	}
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
	for _, dir := range []string{g.mem, g.pid} {
		if dir != "" {
			removeGroup(dir)
		}
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
	if dir := within(mounts["memory"], own["memory"]); dir != "" {
		c.mem = controller{dir: dir, limit: "memory.limit_in_bytes", extra: map[string]string{"memory.memsw.limit_in_bytes": "%d"}, count: "memory.oom_control", key: "oom_kill"}
	}
	if dir := within(mounts["pids"], own["pids"]); dir != "" {
		c.pid = controller{dir: dir, limit: "pids.max", count: "pids.events", key: "max"}
	}
	if dir := within(mounts[""], own[""]); dir != "" && !c.memory() && !c.pids() {
		err = c.findUnified(dir)
	}
	for _, dir := range []string{c.mem.dir, c.pid.dir} {
		removeStale(dir)
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
	if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+memory +pids"), 0o644); err != nil {
		return err
	}
	c.unified = true
	c.mem = controller{dir: dir, limit: "memory.max", extra: map[string]string{"memory.swap.max": "0", "memory.oom.group": "1"}, count: "memory.events", key: "oom_kill"}
	c.pid = controller{dir: dir, limit: "pids.max", count: "pids.events", key: "max"}
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

// removeStale removes cgroups below dir whose host has gone.
func removeStale(dir string) {
	if dir == "" {
		return
	}
	found, _ := filepath.Glob(filepath.Join(dir, groupPrefix+"*-*"))
	for _, path := range found {
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), groupPrefix), "-")
		pid, err := strconv.Atoi(text)
		if _, gone := os.Stat(filepath.Join("/proc", text)); err == nil && (gone != nil || pid == os.Getpid()) {
			os.Remove(path)
		}
	}
}
