package watch

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestIgnoredName(t *testing.T) {
	tests := []struct {
		name      string
		file, dir bool
	}{
		{".git", true, true},
		{".hg", true, true},
		{".svn", true, true},
		{".fnhost", true, true},
		{".idea", true, true},
		{"node_modules", true, true},
		{"vendor", false, false},
		{"main.go", false, false},
		{"data.tmp", false, false},
		{".gitignore", false, true},
		{".fnhostignore", false, true},
		{".env", true, true},
		{"main.go~", true, false},
		{".main.go.swp", true, true},
		{".main.go.swx", true, true},
		{"4913", true, false},
		{"49130", false, false},
		{".#main.go", true, true},
		{"#main.go#", true, false},
		{"#", false, false},
		{"main.go___jb_tmp___", true, false},
		{"main.go___jb_old___", true, false},
		{".goutputstream-AB12", true, true},
		{".main.go.kate-swp", true, true},
		{"main.go.kate-swp", true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := ignoredName(test.name, false); got != test.file {
				t.Errorf("file: %t, want %t", got, test.file)
			}
			if got := ignoredName(test.name, true); got != test.dir {
				t.Errorf("directory: %t, want %t", got, test.dir)
			}
		})
	}
}

func TestIgnoredIsNeitherWatchedNorReported(t *testing.T) {
	dir := filepath.Join(realTemp(t), ".root") // the root's own name does not matter
	writeAll(t, dir+"/.git/objects/aa/x", "")
	writeAll(t, dir+"/pkg/node_modules/left-pad/index.js", "")
	writeAll(t, dir+"/gen/x.go", "")
	writeAll(t, dir+"/vendor/x/x.go", "")
	w := watcher(t, Config{Ignore: func(rel string, isDir bool) bool {
		return isDir && rel == "gen" || strings.HasSuffix(rel, ".log")
	}})
	_, r := add(t, w, dir)
	if got := strings.Join(w.watched(kernel, dir), " "); got != ". pkg vendor vendor/x" {
		t.Errorf("watched %s", got)
	}
	write(t, dir+"/.git/objects/aa/x", "2")
	write(t, dir+"/pkg/node_modules/left-pad/index.js", "2")
	write(t, dir+"/gen/x.go", "2")
	writeAll(t, dir+"/.svn/y", "")
	writeAll(t, dir+"/new/.hg/y", "")
	write(t, dir+"/pkg/a.log", "")
	write(t, dir+"/.gitignore", "")
	write(t, dir+"/vendor/x/x.go", "2")
	r.expect(t, ".gitignore", "new", "vendor/x/x.go")
}
