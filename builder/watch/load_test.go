package watch

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// countFiles returns how many files are below dir.
func countFiles(dir string) (n int) {
	_ = filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			n++
		}
		return err
	})
	return n
}

func TestManyFilesAreFewCallsAndNoneIsLost(t *testing.T) {
	const dirs, files = 9, 1000
	dir := realTemp(t)
	var calls, seen, rescans atomic.Int64
	w := watcher(t, Config{Debounce: defaultDebounce})
	done := make(chan struct{})
	_, err := w.Add(dir, func(c Change) {
		calls.Add(1)
		if c.Rescan {
			rescans.Add(1)
		}
		n := int64(countFiles(dir))
		if seen.Store(n); n == dirs*files {
			select {
			case done <- struct{}{}:
			case <-t.Context().Done():
			}
		}
	})
	must(t, err)
	start := time.Now()
	for i := range files {
		for d := range dirs {
			if i == 0 {
				mkdir(t, fmt.Sprintf("%s/d%d", dir, d))
			}
			write(t, fmt.Sprintf("%s/d%d/f%d", dir, d, i), "")
		}
	}
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatalf("the last call saw %d files of %d", seen.Load(), dirs*files)
	}
	// Each call needs Debounce of quiet or MaxDelay of waiting before it.
	took := time.Since(start)
	if most := int64(took/defaultDebounce) + 1; calls.Load() > most {
		t.Errorf("%d calls in %v, want at most %d", calls.Load(), took, most)
	}
	if rescans.Load() == 0 {
		t.Errorf("no Rescan, though more than %d paths changed", MaxPaths)
	}
	t.Logf("%d calls in %v", calls.Load(), took)
}

func TestConstantChangeIsReportedWithinMaxDelay(t *testing.T) {
	dir := realTemp(t)
	_, r := add(t, watcher(t, Config{Debounce: time.Hour, MaxDelay: 100 * time.Millisecond}), dir)
	for start := time.Now(); time.Since(start) < deadline; {
		write(t, dir+"/x.go", "changing")
		if paths, _ := r.seen(); len(paths) > 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("never reported while it changed")
}

func TestQueueOverflowRescansAllTrees(t *testing.T) {
	t.Parallel()
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Skip("needs inotify: ", err)
	}
	var queue int
	if _, err := fmt.Sscan(string(limit), &queue); err != nil || queue > 1<<17 {
		t.Skipf("cannot fill a queue of %s events", limit)
	}
	dir := realTemp(t)
	writeAll(t, dir+"/t1/old/x.go", "")
	writeAll(t, dir+"/t2/x.go", "")
	logs := new(logBuffer)
	g := newGate()
	w := watcher(t, Config{Ignore: g.ignore, Logger: logs.logger(), PollInterval: time.Hour})
	_, r1 := add(t, w, dir+"/t1")
	_, r2 := add(t, w, dir+"/t2")

	release := g.hold(t, dir+"/t1")
	for i := range queue/2 + 4096 { // two events each; what fsnotify has read does not count
		from, to := dir+"/t1/.a", dir+"/t1/.b"
		if i == 0 {
			write(t, from, "")
		}
		if i%2 == 1 {
			from, to = to, from
		}
		rename(t, from, to)
	}
	// There will be no events for these.
	rename(t, dir+"/t1/old", dir+"/t1/renamed")
	writeAll(t, dir+"/t1/new/sub/x.go", "")
	must(t, os.RemoveAll(dir+"/t2"))
	writeAll(t, dir+"/t2/x.go", "")
	release()

	r1.waitRescan(t)
	r2.waitRescan(t)
	r1.flush(t)
	r2.flush(t)
	for _, path := range []string{"renamed/x.go", "new/sub/x.go"} {
		write(t, dir+"/t1/"+path, "changed")
		r1.expect(t, path)
	}
	write(t, dir+"/t2/x.go", "changed")
	r2.expect(t, "x.go")
	if got := w.watched(kernel, dir+"/t1"); !slices.Equal(got, []string{".", "gate", "new", "new/sub", "renamed"}) {
		t.Errorf("watched %q", got)
	}
	if lines := logs.lines(); len(lines) > 0 {
		t.Errorf("logged %q", lines)
	}
}

func TestWatchesMatchTheDirectoriesAfterRandomChanges(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		dir := filepath.Join(realTemp(t), "fn")
		mkdir(t, dir)
		w := watcher(t, Config{PollInterval: time.Hour})
		_, r := add(t, w, dir)
		_, outside := add(t, w, filepath.Dir(dir))
		rnd := rand.New(rand.NewPCG(seed, 1))
		path := func() string {
			p := dir
			for range 1 + rnd.IntN(3) {
				p += "/" + string(rune('a'+rnd.IntN(3)))
			}
			return p
		}
		for range 300 { // many of these fail, which is fine
			switch p := path(); rnd.IntN(6) {
			case 0:
				_ = os.RemoveAll(p)
			case 1, 2:
				_ = os.MkdirAll(p, 0o755)
			case 3:
				_ = os.WriteFile(p, nil, 0o644)
			default:
				_ = syscall.Rename(p, path())
			}
		}
		r.flush(t)
		outside.flush(t)
		var want, probes []string
		must(t, filepath.WalkDir(dir, func(p string, entry os.DirEntry, err error) error {
			if rel, _ := filepath.Rel(dir, p); err == nil && entry.IsDir() {
				want = append(want, rel)
			}
			return err
		}))
		if got := w.watched(kernel, dir); !slices.Equal(got, sorted(want)) {
			t.Fatalf("seed %d: watched %q, want %q", seed, got, want)
		}
		for _, d := range want {
			write(t, filepath.Join(dir, d, "probe"), "")
			probes = append(probes, filepath.Join(d, "probe"))
		}
		r.expect(t, sorted(probes)...)
	}
}

func TestThousandTrees(t *testing.T) {
	const trees = 1000
	dir := realTemp(t)
	w := watcher(t, Config{PollInterval: time.Hour})
	recorders := make([]*recorder, trees)
	for i := range trees {
		fn := fmt.Sprintf("%s/fn%d", dir, i)
		mkdir(t, fn)
		_, recorders[i] = add(t, w, fn)
	}
	recorders[500].expect(t)
	write(t, dir+"/fn500/x.go", "")
	must(t, os.RemoveAll(dir+"/fn501"))
	recorders[500].expect(t, "x.go")
	recorders[501].waitRescan(t)
	for i, r := range recorders {
		if paths, _ := r.seen(); len(paths) > 0 && i != 501 {
			t.Errorf("tree %d: %q", i, paths)
		}
	}
}

func BenchmarkWriteEvent(b *testing.B) {
	for _, trees := range []int{1, 1000} {
		b.Run(fmt.Sprintf("trees=%d", trees), func(b *testing.B) {
			dir := b.TempDir()
			w, err := New(Config{Debounce: time.Hour, MaxDelay: time.Hour})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			for i := range trees {
				fn := fmt.Sprintf("%s/fn%d", dir, i)
				if err := os.Mkdir(fn, 0o755); err != nil {
					b.Fatal(err)
				}
				if _, err := w.Add(fn, func(Change) {}); err != nil {
					b.Fatal(err)
				}
			}
			path := dir + "/fn0/x.go"
			for b.Loop() {
				w.locked(func() { w.written(path) })
			}
		})
	}
}
