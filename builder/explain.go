package builder

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
)

// explain adds, to what the go command says, what to do in fnhost's case, and
// makes sure that there is a diagnostic at all.
func (b *Builder) explain(t *tree, list []Diagnostic, output []byte) []Diagnostic {
	for i := range list {
		d := &list[i]
		if t.bare() && strings.Contains(d.Message, "no required module provides package") {
			d.Message = strings.SplitN(d.Message, ";", 2)[0] +
				fmt.Sprintf("; %s has no go.mod: run `go mod init %s && go mod tidy` there", t.dir, filepath.Base(t.dir))
		}
	}
	if bytes.Contains(output, []byte("file too large")) || bytes.Contains(output, []byte("file size limit exceeded")) || bytes.Contains(output, []byte("SIGXFSZ")) {
		return []Diagnostic{{File: t.dir, Message: fmt.Sprintf("the build writes a file of more than %d MiB and was stopped: large data is better read at run time", b.cfg.MaxOutput>>20)}}
	}
	if len(list) > 0 {
		return list
	}
	var text strings.Builder
	for _, e := range parseEvents(output) {
		if line := strings.TrimSpace(e.Output); line != "" && !isCommand(e.Output) && len(line) < 2000 && text.Len() < 8000 {
			text.WriteString(line + "\n")
		}
	}
	return []Diagnostic{{File: t.dir, Message: "the build failed:\n" + strings.TrimSpace(text.String())}}
}
