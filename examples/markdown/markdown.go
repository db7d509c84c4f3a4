// Package markdown serves a page of markdown as HTML. Edit page.md: it is part
// of the source, so the page is live again when it is saved.
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

// Handle serves the page at the function's path, and its source at …/source.
func Handle(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		layout.Execute(w, map[string]any{"Body": template.HTML(render(page)), "Prefix": r.Header.Get("X-Forwarded-Prefix")})
	case "/source":
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		w.Write([]byte(page))
	default:
		http.NotFound(w, r)
	}
}

var layout = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>A page</title>
<style>body{font:17px/1.6 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}code{background:#eee;padding:0 .2em}</style>
{{.Body}}
<p><a href="{{.Prefix}}/source">source</a></p>
</html>
`))

var (
	strong = regexp.MustCompile(`\*\*(.+?)\*\*`)
	code   = regexp.MustCompile("`(.+?)`")
)

// render knows headings, lists, paragraphs, **strong** and `code`.
func render(md string) string {
	var b strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(md), "\n\n") {
		block = inline(html.EscapeString(block))
		switch {
		case strings.HasPrefix(block, "## "):
			b.WriteString("<h2>" + block[3:] + "</h2>\n")
		case strings.HasPrefix(block, "# "):
			b.WriteString("<h1>" + block[2:] + "</h1>\n")
		case strings.HasPrefix(block, "- "):
			items := strings.Split(strings.TrimPrefix(block, "- "), "\n- ")
			b.WriteString("<ul><li>" + strings.Join(items, "</li><li>") + "</li></ul>\n")
		default:
			b.WriteString("<p>" + block + "</p>\n")
		}
	}
	return b.String()
}

func inline(s string) string {
	return code.ReplaceAllString(strong.ReplaceAllString(s, "<strong>$1</strong>"), "<code>$1</code>")
}
