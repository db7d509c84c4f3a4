package watch

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestRootLinkIsFollowedWhenItIsPointedElsewhere(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		root string // below current, which is a link to r1 and then r2
	}{
		{"the root is the link", ""},
		{"the link is above the root", "functions/fn"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			top := realTemp(t)
			r1, r2 := filepath.Join(top, "r1", test.root), filepath.Join(top, "r2", test.root)
			writeAll(t, r1+"/pkg/x.go", "1")
			writeAll(t, r2+"/pkg/x.go", "2")
			symlink(t, "r1", top+"/stable")
			symlink(t, top+"/stable", top+"/current") // a link to a link: either may change
			w := watcher(t, Config{PollInterval: time.Hour})
			_, r := add(t, w, filepath.Join(top, "current", test.root))
			write(t, r1+"/pkg/x.go", "changed")
			r.expect(t, "pkg/x.go")

			relink(t, "r2", top+"/stable")
			r.waitRescan(t)
			r.flush(t)
			write(t, r1+"/pkg/x.go", "not of interest any more")
			write(t, r2+"/pkg/y.go", "")
			r.expect(t, "pkg/y.go")
			if got := w.watched(kernel, r1); len(got) > 0 {
				t.Errorf("still watched in the old target: %q", got)
			}

			relink(t, "r1", top+"/current")
			r.waitRescan(t)
			r.flush(t)
			write(t, r1+"/pkg/z.go", "")
			write(t, r2+"/pkg/y.go", "not of interest any more")
			r.expect(t, "pkg/z.go")
		})
	}
}

func TestRootLinkPointedToTheSameRootAnotherWay(t *testing.T) {
	top := realTemp(t)
	writeAll(t, top+"/r1/x.go", "")
	writeAll(t, top+"/r2/y.go", "")
	symlink(t, "r1", top+"/other")
	symlink(t, "r1", top+"/current")
	_, r := add(t, watcher(t, Config{PollInterval: time.Hour}), top+"/current")
	relink(t, "other", top+"/current")
	r.expect(t) // nothing changed
	relink(t, "r2", top+"/other")
	r.waitRescan(t)
	r.flush(t)
	write(t, top+"/r2/y.go", "changed")
	r.expect(t, "y.go")
}

func TestRootLinkRemovedAndDangling(t *testing.T) {
	top := realTemp(t)
	writeAll(t, top+"/r1/x.go", "")
	symlink(t, "r1", top+"/current")
	_, r := add(t, watcher(t, Config{PollInterval: time.Hour}), top+"/current")
	relink(t, "r2", top+"/current") // there is no r2 yet
	r.waitRescan(t)
	r.clear()
	rename(t, top+"/r1", top+"/r2")
	r.waitRescan(t)
	r.flush(t)
	write(t, top+"/r2/x.go", "changed")
	r.expect(t, "x.go")
}

func TestLinksInsideATree(t *testing.T) {
	t.Parallel()
	// shared is outside the tree, other inside it.
	tests := []struct {
		name    string
		links   map[string]string // link, relative to the tree: target
		watched []string
		write   string
		want    string
	}{
		{"to a directory outside", map[string]string{"lib": "../shared"}, []string{".", "other", "other/sub"}, "../shared/sub/s.go", "lib/sub/s.go"},
		{"to the root", map[string]string{"other/up": "..", "self": "."}, []string{".", "other", "other/sub"}, "other/o.go", "other/o.go"},
		{"to an ancestor of the root", map[string]string{"up": "..", "top": "/"}, []string{".", "other", "other/sub"}, "../shared/s.go", ""},
		{"to a directory that is in the tree", map[string]string{"a": "other", "z": "other/sub"}, []string{".", "other", "other/sub"}, "other/sub/o.go", "other/sub/o.go"},
		{"twice to one directory outside", map[string]string{"l1": "../shared", "l2": "../shared/sub"}, []string{".", "other", "other/sub"}, "../shared/s.go", "l1/s.go"},
		{"in a circle", map[string]string{"l1": "l2", "l2": "l1"}, []string{".", "other", "other/sub"}, "other/o.go", "other/o.go"},
		{"through each other", map[string]string{"lib": "../shared", "../shared/back": "../fn/other", "../shared/sub/up": ".."}, []string{".", "other", "other/sub"}, "../shared/sub/s.go", "lib/sub/s.go"},
		{"to a file", map[string]string{"l.go": "../shared/s.go"}, []string{".", "other", "other/sub"}, "../shared/s.go", ""},
	}
	for _, test := range tests {
		for _, when := range []string{"before", "after"} {
			t.Run(test.name+","+when+" Add", func(t *testing.T) {
				dir := filepath.Join(realTemp(t), "fn")
				writeAll(t, dir+"/other/sub/o.go", "")
				writeAll(t, filepath.Dir(dir)+"/shared/sub/s.go", "")
				w := watcher(t, Config{PollInterval: time.Hour})
				var r *recorder
				if when == "after" {
					_, r = add(t, w, dir)
				}
				for link, target := range test.links {
					symlink(t, target, filepath.Join(dir, link))
				}
				if when == "before" {
					_, r = add(t, w, dir)
				}
				r.flush(t)
				r.flush(t) // the file of the first may come with the links
				if got := w.watched(kernel, dir); !slices.Equal(got, test.watched) {
					t.Errorf("watched %q, want %q", got, test.watched)
				}
				write(t, filepath.Join(dir, test.write), "changed")
				if test.want == "" {
					r.expect(t)
				} else {
					r.expect(t, test.want)
				}
			})
		}
	}
}

func TestLinkInsideATreeIsPointedElsewhereAndRemoved(t *testing.T) {
	top := realTemp(t)
	dir := top + "/fn"
	writeAll(t, dir+"/x.go", "")
	writeAll(t, top+"/lib1/sub/l.go", "")
	writeAll(t, top+"/lib2/sub/l.go", "")
	symlink(t, "../lib1", dir+"/lib")
	w := watcher(t, Config{PollInterval: time.Hour})
	_, r := add(t, w, dir)

	relink(t, "../lib2", dir+"/lib")
	r.waitRescan(t)
	r.flush(t)
	write(t, top+"/lib1/sub/l.go", "not of interest any more")
	write(t, top+"/lib2/sub/l.go", "changed")
	r.expect(t, "lib/sub/l.go")

	must(t, os.Remove(dir+"/lib"))
	r.waitRescan(t)
	r.flush(t)
	write(t, top+"/lib2/sub/l.go", "not of interest any more")
	r.expect(t)
	if got := w.watched(kernel, top); !slices.Equal(got, []string{"fn"}) {
		t.Errorf("watched %q", got)
	}
}

func TestTargetOfALinkInsideATreeIsReplaced(t *testing.T) {
	top := realTemp(t)
	dir := top + "/fn"
	writeAll(t, dir+"/x.go", "")
	writeAll(t, top+"/lib/sub/l.go", "")
	symlink(t, "../lib", dir+"/lib")
	_, r := add(t, watcher(t, Config{PollInterval: 10 * time.Millisecond}), dir)

	rename(t, top+"/lib", top+"/away") // the link dangles
	r.waitRescan(t)
	r.flush(t)
	rename(t, top+"/away", top+"/lib") // and leads somewhere again
	r.waitRescan(t)
	r.flush(t)
	write(t, top+"/lib/sub/l.go", "changed")
	r.expect(t, "lib/sub/l.go")
}
