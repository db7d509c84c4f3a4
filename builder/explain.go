package builder

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// explain adds, to what the go command says, what to do in fnhost's case, puts
// it in the order of the source, and makes sure that there is a diagnostic at all.
func (b *Builder) explain(t *tree, list []Diagnostic, output []byte) []Diagnostic {
	placed := false
	for i := range list {
		b.explainOne(t, &list[i])
		placed = placed || list[i].Line > 0
	}
	if !placed && isTooLarge(output) { // else it may be a message that quotes the source
		return []Diagnostic{{File: t.dir, Message: fmt.Sprintf("the build writes a file of more than %d MiB and was stopped: large data is better read at run time", b.cfg.MaxOutput>>20)}}
	}
	if len(list) > 0 {
		slices.SortStableFunc(list, inSourceOrder)
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

// explainOne rewrites one message.
func (b *Builder) explainOne(t *tree, d *Diagnostic) {
	if d.File != "" && !t.holds(d.File) {
		// Of a dependency, or what a //line directive claims: no file to quote from.
		*d = Diagnostic{Message: d.String()}
	}
	plans := regexp.MustCompile(regexp.QuoteMeta(filepath.Join(b.cache, "plans")) + "/[0-9a-f]+/")
	d.Message = plans.ReplaceAllLiteralString(d.Message, t.modRoot+"/")
	if m := missing.FindStringSubmatch(d.Message); m != nil {
		d.Message = "no required module provides package " + m[1] + "; run `go get " + m[1] + "` in " + t.modRoot
		if t.bare() {
			d.Message = fmt.Sprintf("no required module provides package %s; %s has no go.mod: run `go mod init %s && go mod tidy` there", m[1], t.dir, filepath.Base(t.dir))
		}
	}
	file := filepath.Join(t.modRoot, "go.mod")
	if text, ok := strings.CutPrefix(d.Message, "go: "+file+" requires go "); ok && t.mod != nil && t.mod.Go != nil {
		*d = Diagnostic{File: file, Line: t.mod.Go.Syntax.Start.Line, Message: "it requires go " + text}
	}
}

// missing is what the go command says of a package of no known module.
var missing = regexp.MustCompile(`^(?:cannot find module providing|no required module provides) package ([^\s:;]+)`)

func isTooLarge(output []byte) bool {
	return slices.ContainsFunc([]string{"file too large", "file size limit exceeded", "SIGXFSZ"}, func(s string) bool {
		return bytes.Contains(output, []byte(s))
	})
}

// inSourceOrder compares by place; what has none comes last.
func inSourceOrder(x, y Diagnostic) int {
	if (x.File == "") != (y.File == "") {
		return strings.Compare(y.File, x.File)
	}
	return cmp.Or(strings.Compare(x.File, y.File), cmp.Compare(x.Line, y.Line), cmp.Compare(x.Column, y.Column))
}
