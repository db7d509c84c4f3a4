package builder

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Room is where the programs of one build run: the go command, the compiler, the
// linker. Close ends those that still run.
type Room interface {
	// Start starts a program, as the leader of a process group.
	Start(Command) (Process, error)
	Close()
}

// Command is a program to start.
type Command struct {
	Path  string // of the program
	Args  []string
	Dir   string
	Env   []string
	Files []*os.File // its descriptors
}

// Process is a program that was started.
type Process interface {
	// Kill ends it and what it has started; it may be called until Wait has returned.
	Kill()
	// Wait waits for its end, and says what limit it has met, "" if none. It is called once.
	Wait() (state *os.ProcessState, limit string, err error)
}

// Needs says what a build takes of the machine. Paths are absolute, and those that
// the source may choose are without links.
type Needs struct {
	Dir      string   // the function's, for messages
	Read     []string // files and directories
	Write    []string // directories
	Network  bool     // for modules that are not in the cache
	FileSize int64    // of each file that it writes, in bytes
}

// openRoom opens the room of a build.
func (b *Builder) openRoom(n Needs) (Room, error) {
	n.FileSize = b.cfg.MaxOutput
	if b.cfg.Room == nil {
		return plainRoom{n.FileSize}, nil
	}
	n.Read = append(n.Read, b.env.GOROOT, b.sdk)
	if real, err := filepath.EvalSymlinks(b.goCmd); err == nil {
		n.Read = append(n.Read, b.goCmd, real)
	}
	for _, path := range n.Write {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return nil, fmt.Errorf("builder: cache: %w", err)
		}
	}
	r, err := b.cfg.Room(n)
	if err != nil {
		return nil, fmt.Errorf("builder: %w", err)
	}
	return r, nil
}

// plainRoom has no walls.
type plainRoom struct{ fileSize int64 }

func (plainRoom) Close() {}

func (r plainRoom) Start(c Command) (Process, error) {
	p, err := os.StartProcess(c.Path, c.Args, &os.ProcAttr{Dir: c.Dir, Env: c.Env, Files: c.Files, Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		return nil, err
	}
	limitFileSize(p.Pid, r.fileSize)
	return plainProcess{p}, nil
}

type plainProcess struct{ *os.Process }

func (p plainProcess) Kill() { killGroup(p.Pid) }

func (p plainProcess) Wait() (*os.ProcessState, string, error) {
	state, err := p.Process.Wait()
	killGroup(p.Pid) // what it has left behind
	return state, "", err
}

// sources returns what the build of t reads of the source tree: the module, all of
// which it may import, or the directory of a function without one; replacements
// within the tree, and what links lead to. What else is in the tree is not its own.
func (t *tree) sources() ([]string, error) {
	list := []string{t.modRoot}
	covered := func(path string) bool {
		for _, one := range list {
			if isWithin(one, path) {
				return true
			}
		}
		return false
	}
	add := func(path string) error {
		real, err := filepath.EvalSymlinks(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil // the go command says what is missing
		}
		if err != nil {
			return err
		}
		if !covered(path) {
			list = append(list, path)
		}
		if !covered(real) {
			list = append(list, real)
		}
		return nil
	}
	if t.mod != nil {
		for _, r := range t.localReplaces() {
			if err := add(filepath.Join(t.modRoot, r.New.Path)); err != nil {
				return nil, err
			}
		}
	}
	for _, file := range t.files {
		if err := add(file); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// proxyFiles are what reading from the module proxy takes of the files of this
// machine: a proxy may be a directory, and certificates may have places of their own.
func (b *Builder) proxyFiles() []string {
	var list []string
	for _, one := range strings.FieldsFunc(b.env.GOPROXY, func(c rune) bool { return c == ',' || c == '|' }) {
		if u, err := url.Parse(one); err == nil && u.Scheme == "file" {
			list = append(list, filepath.FromSlash(u.Path))
		}
	}
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		list = append(list, filepath.SplitList(os.Getenv(name))...)
	}
	for i, path := range list {
		if real, err := filepath.EvalSymlinks(path); err == nil && filepath.IsAbs(path) {
			list[i] = real
		}
	}
	return list
}
