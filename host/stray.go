package host

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/host/logs"
)

// hintStrays says which directories in the watched folders may be meant as
// functions, once as long as they are so. h.discovering is held.
func (h *Namespace) hintStrays(found map[string]builder.Found) {
	strays := make(map[builder.Stray]bool)
	for _, s := range h.sources {
		for _, stray := range builder.Strays(s.dir) {
			strays[stray] = true
			if !h.strays[stray] && !isImported(stray.Dir, found) {
				h.hintStray(stray)
			}
		}
	}
	h.strays = strays
}

func (h *Namespace) hintStray(s builder.Stray) {
	text := fmt.Sprintf("%s holds Go source, but no handler: %s", h.shortDir(s.Dir), s.Hint)
	h.addLog(logs.Record{Level: slog.LevelInfo, Function: manifest.NameFromDir(filepath.Base(s.Dir)), Source: logs.Host, Message: text})
	if h.cfg.OnEvent == nil {
		h.log.Info(text)
	}
}

// isImported reports whether one of the functions is built from dir, too.
func isImported(dir string, found map[string]builder.Found) bool {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for _, d := range found {
		files, err := builder.SourceFiles(d.Source)
		if err == nil && slices.ContainsFunc(files, func(file string) bool { return filepath.Dir(file) == dir }) {
			return true
		}
	}
	return false
}
