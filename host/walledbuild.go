package host

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/host/wall"
)

// What a build may have.
const (
	buildMemory    = 4 << 30  // bytes, of each of its commands, if the machine has more
	buildProcesses = 512      // and threads, at least
	buildTmp       = 64 << 20 // bytes; its own directory lies elsewhere
	buildNice      = 5        // a third of the processor's time of a worker that wants it
)

// buildRoom builds the wall around the programs of one build. They are the host's user
// without its privileges, since what they write is the host's: the caches.
func (h *Host) buildRoom(n builder.Needs) (builder.Room, error) {
	spec := wall.Spec{
		Dir: h.buildRoot(), KeepUser: true, Network: wall.None, FileSize: n.FileSize,
		Memory: wall.Memory(80, buildMemory), Processes: max(buildProcesses, 64*runtime.NumCPU()), Disk: buildTmp,
		Nice: buildNice, Whole: h.cfg.Walls == wall.Strict,
		Refused: func(r wall.Refusal) {
			r.Fix = "" // no manifest says what builds may
			h.log.Warn(r.By("the build of " + n.Dir))
		},
	}
	if n.Network {
		spec.Network = wall.Outbound
	}
	for _, path := range n.Read {
		spec.Shown = append(spec.Shown, wall.Shown{Path: path, Access: wall.Read})
	}
	for _, path := range n.Write {
		spec.Shown = append(spec.Shown, wall.Shown{Path: path, Access: wall.Write})
	}
	data, err := filepath.EvalSymlinks(h.cfg.Dir)
	if err != nil {
		return nil, err
	}
	if data, err = filepath.Abs(data); err != nil {
		return nil, err
	}
	spec.Shown = append(spec.Shown, wall.Shown{Path: data, Access: wall.Hide})
	w, err := h.walls.Build(spec)
	if err != nil {
		return nil, err
	}
	return &walledRoom{wall: w}, nil
}

// buildRoot is the directory on which the root that a build sees is put together. It has
// nothing in it, since that would not be seen.
func (h *Host) buildRoot() string { return filepath.Join(h.cfg.Dir, "run", "build") }

// wallBuilds has builds run behind walls, where there are any.
func (h *Host) wallBuilds() error {
	if h.walls == nil || h.cfg.Builder.Room != nil {
		return nil
	}
	h.cfg.Builder.Room = h.buildRoom
	h.closers = append(h.closers, func() { os.Remove(h.buildRoot()) })
	return os.MkdirAll(h.buildRoot(), 0o700)
}

// walledRoom is a builder.Room behind a wall.
type walledRoom struct {
	wall   *wall.Wall
	number int
}

func (r *walledRoom) Close() { r.wall.Close() }

func (r *walledRoom) Start(c builder.Command) (builder.Process, error) {
	r.number++
	p, err := r.wall.Start(wall.Command{Name: fmt.Sprint("build-", r.number), Path: c.Path, Dir: c.Dir, Args: c.Args, Env: c.Env, Files: c.Files})
	if err != nil {
		return nil, err
	}
	return walledProcess{p}, nil
}

type walledProcess struct{ *wall.Process }

func (p walledProcess) Kill() { syscall.Kill(-p.Pid, syscall.SIGKILL) }

func (p walledProcess) Wait() (*os.ProcessState, string, error) {
	state, err := p.Process.Wait()
	p.Kill() // without namespaces it may have left something behind
	return state, p.Ended(), err
}
