package host

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/builder"
)

// libraryFrames are what calls and files of the library, and of how it calls a
// handler, begin with in a stack.
var libraryFrames = []string{
	"github.com/fnhost/fnhost/functions.", "github.com/fnhost/fnhost/functions/", "github.com/fnhost/fnhost@v0.0.0/functions/",
	"reflect.Value.", "net/http.HandlerFunc.",
}

// serveFrame is where the library takes over a request.
const serveFrame = "github.com/fnhost/fnhost/functions.(*Endpoint).Serve("

// frame is one of a stack.
type frame struct{ call, place string }

// handlerStack returns what of the stack of a panic is the function's: from where it
// panicked to its handler, with the files of its source, of which p tells. p is nil
// for a function without one here. A stack of which nothing would be left is
// returned as it is.
func handlerStack(stack, name string, p *builder.Package) string {
	frames := ownFrames(parseStack(stack))
	if len(frames) == 0 {
		return strings.TrimSpace(stack)
	}
	var b strings.Builder
	for _, f := range frames {
		b.WriteString("\n" + callText(f.call, name, p))
		if f.place != "" {
			b.WriteString("\n\t" + placeText(f.place, name, p))
		}
	}
	return b.String()[1:]
}

// parseStack splits a stack into its frames, the innermost first.
func parseStack(stack string) (list []frame) {
	for line := range strings.Lines(stack) {
		line = strings.TrimRight(line, "\n")
		switch place, isPlace := strings.CutPrefix(line, "\t"); {
		case isPlace && len(list) > 0:
			list[len(list)-1].place = place
		case line != "" && !strings.HasPrefix(line, "goroutine "):
			list = append(list, frame{call: line})
		}
	}
	return list
}

// ownFrames leaves out what led to the handler, and what came of the panic.
func ownFrames(list []frame) []frame {
	for i, f := range list {
		if strings.HasPrefix(f.call, "panic(") {
			list = list[i+1:]
			break
		}
	}
	for len(list) > 0 && strings.HasPrefix(list[0].call, "runtime.") {
		list = list[1:]
	}
	for i, f := range list {
		if strings.HasPrefix(f.call, serveFrame) {
			list = list[:i]
			break
		}
	}
	for len(list) > 0 && list[len(list)-1].isLibrary() {
		list = list[:len(list)-1]
	}
	return list
}

func (f frame) isLibrary() bool {
	return slices.ContainsFunc(libraryFrames, func(p string) bool {
		return strings.HasPrefix(f.call, p) || strings.HasPrefix(f.place, p)
	})
}

// callText is the call of a frame without its arguments, which are words of memory.
func callText(call, name string, p *builder.Package) string {
	call = strings.ReplaceAll(call, "%2e", ".")
	if strings.HasSuffix(call, ")") {
		depth := 0
		for i := len(call) - 1; i > 0; i-- {
			switch call[i] {
			case ')':
				depth++
			case '(':
				depth--
			}
			if depth == 0 {
				call = call[:i] + "(...)"
				break
			}
		}
	}
	if rest, bare := strings.CutPrefix(call, builder.BareModule+"."); bare {
		if p != nil {
			name = p.Name
		}
		return name + "." + rest
	}
	return call
}

// placeText is the place of a frame, with the path of a file that is part of the
// function's source.
func placeText(place, name string, p *builder.Package) string {
	place, _, _ = strings.Cut(place, " +0x")
	if p != nil && p.Module != "" {
		if rest, ok := strings.CutPrefix(place, p.Module+"/"); ok {
			return filepath.Join(p.ModuleDir, filepath.FromSlash(rest))
		}
	}
	if rest, bare := strings.CutPrefix(place, builder.BareModule+"/"); bare {
		return name + "/" + rest
	}
	return place
}
