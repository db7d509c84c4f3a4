package worker

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/wall"
)

// wallKeeper has the wall of a pool, which stands while there are workers behind it:
// a pool without any costs nothing.
type wallKeeper struct {
	mu      sync.Mutex
	wall    *wall.Wall
	workers int
}

// enter returns the wall, which it builds for the first worker. Each call without
// an error wants one of leave.
func (k *wallKeeper) enter(machine *wall.Machine, spec wall.Spec) (*wall.Wall, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wall == nil {
		var err error
		if k.wall, err = machine.Build(spec); err != nil {
			return nil, err
		}
	}
	k.workers++
	return k.wall, nil
}

// leave takes the wall down after its last worker.
func (k *wallKeeper) leave() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.workers--; k.workers == 0 {
		k.wall.Close()
		k.wall = nil
	}
}

// wallSpec says what the workers of the pool may have.
func (n *NativePool) wallSpec() wall.Spec {
	s := n.spec.Wall
	s.Program, s.Dir, s.Workers = n.spec.Path, n.spec.Dir, n.spec.Limits.Max
	s.Refused = func(r wall.Refusal) {
		n.output(logs.Record{Level: slog.LevelWarn, Source: logs.Host, Message: r.String()})
	}
	return s
}

// launch starts the process, behind a wall if its pool has one.
func (w *native) launch(env []string, files []*os.File) error {
	spec := &w.pool.spec
	if spec.Machine != nil {
		return w.launchWalled(env, files)
	}
	dir, err := os.MkdirTemp(spec.Dir, w.dirName()+"-")
	if err != nil {
		return fmt.Errorf("worker directory: %w", err)
	}
	w.proc, err = spec.Spawner.start(spec.Path, []string{spec.Function}, &os.ProcAttr{Dir: dir, Env: w.environ(env, dir), Files: files, Sys: sysProcAttr()})
	if err != nil {
		os.RemoveAll(dir)
		return fmt.Errorf("start %s: %w", spec.Path, err)
	}
	w.cleanup = func() string {
		os.RemoveAll(dir)
		return ""
	}
	return nil
}

func (w *native) launchWalled(env []string, files []*os.File) error {
	spec, keeper := &w.pool.spec, &w.pool.walls
	wall, err := keeper.enter(spec.Machine, w.pool.wallSpec())
	if err != nil {
		return fmt.Errorf("start %s: %w", spec.Path, err)
	}
	p, err := wall.Start(wallCommand(w, wall, env, files))
	if err != nil {
		keeper.leave()
		return fmt.Errorf("start %s: %w", spec.Path, err)
	}
	w.proc = p.Process
	w.cleanup = func() string {
		verdict := p.Ended()
		keeper.leave()
		return verdict
	}
	return nil
}

func wallCommand(w *native, wl *wall.Wall, env []string, files []*os.File) wall.Command {
	name := w.dirName()
	return wall.Command{Name: name, Args: []string{w.pool.spec.Function}, Env: w.environ(env, wl.Dir(name)), Files: files}
}

func (w *native) dirName() string { return filepath.Base(w.pool.spec.Function) + "-" + w.id }
