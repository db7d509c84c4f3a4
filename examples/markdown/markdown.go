// Package markdown serves a page of markdown as HTML. Edit page.md: it is part
// of the source, so the page is built anew when it is saved.
//
//	open http://localhost:8080/markdown
package markdown

import (
	_ "embed"
	"html"
	"html/template"
	"net/http"
	"regexp"
	"strings"
)

//go:embed page.md
var page string

// Handle serves the page at the path of the function, and its markdown at
// /source below it.
//
// The path that it sees begins where the path of the function ends. Links have
// to begin with that path: it is in X-Forwarded-Prefix.
func Handle(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		layout.Execute(w, map[string]any{
			"Body":   template.HTML(render(page)),
			"Source": r.Header.Get("X-Forwarded-Prefix") + "/source",
		})
	case "/source":
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		w.Write([]byte(page))
	default:
		http.NotFound(w, r)
	}
}

var layout = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>A page</title>
<style>
:root { color-scheme: light dark }
body { font: 17px/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }
code { background: #8883; padding: 0 .2em }
</style>
{{.Body}}
<p><a href="{{.Source}}">The markdown of this page</a></p>
</html>
`))

var (
	strong = regexp.MustCompile(`\*\*(.+?)\*\*`)
	code   = regexp.MustCompile("`(.+?)`")
)

// render knows headings, lists, paragraphs, **strong** and `code`, and passes no
// HTML through. For all of markdown, give the function a go.mod with a library.
func render(markdown string) string {
	var b strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(markdown), "\n\n") {
		block = html.EscapeString(block)
		block = strong.ReplaceAllString(block, "<strong>$1</strong>")
		block = code.ReplaceAllString(block, "<code>$1</code>")
		switch {
		case strings.HasPrefix(block, "# "):
			b.WriteString("<h1>" + block[2:] + "</h1>\n")
		case strings.HasPrefix(block, "## "):
			b.WriteString("<h2>" + block[3:] + "</h2>\n")
		case strings.HasPrefix(block, "- "):
			b.WriteString("<ul>\n<li>" + strings.ReplaceAll(block[2:], "\n- ", "\n<li>") + "\n</ul>\n")
		default:
			b.WriteString("<p>" + block + "</p>\n")
		}
	}
	return b.String()
}
