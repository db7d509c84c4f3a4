package gateway

import (
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/functions/wire"
)

// link is a function or an endpoint on the page at "/".
type link struct{ Path, Doc string }

// links lists what there is to be asked for, below base.
func (rt *routes) links(base string) (list []link) {
	for _, name := range slices.Sorted(maps.Keys(rt.functions)) {
		fn := rt.functions[name]
		for _, e := range fn.Endpoints {
			l := link{base + "/" + name, e.Doc}
			if e.Name != "" {
				l.Path += "/" + e.Name
			} else if fn.Doc != "" {
				l.Doc = fn.Doc
			}
			l.Doc, _, _ = strings.Cut(strings.TrimSpace(l.Doc), "\n")
			list = append(list, l)
		}
	}
	for _, name := range rt.pending {
		list = append(list, link{base + "/" + name, "not ready yet"})
	}
	slices.SortFunc(list, func(a, b link) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// serveIndex answers a request for "/", to which no function belongs: with a page
// of links for browsers, with their paths for others.
func (g *Gateway) serveIndex(rt *routes, w http.ResponseWriter, r *http.Request) {
	list := rt.links(mountedAt(r))
	if !wantsHTML(r) {
		paths := make([]string, len(list))
		for i, l := range list {
			paths[i] = l.Path
		}
		g.fail(w, r, "", wire.Errorf(wire.NoFunction, "no function is named; there are: %s", strings.Join(paths, ", ")))
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", "text/html; charset=utf-8")
	indexPage.Execute(w, list)
}

var indexPage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>functions</title>
<style>
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:3rem auto;padding:0 1.5rem}
h1{font-size:1.25rem;margin:0 0 1rem}
ul{list-style:none;padding:0}
li{margin:.5rem 0;overflow-wrap:anywhere}
a{font:15px ui-monospace,monospace;margin-right:1rem}
span{opacity:.75}
</style></head><body>
<h1>{{if .}}Functions{{else}}No functions yet{{end}}</h1>
<ul>{{range .}}
<li><a href="{{.Path}}">{{.Path}}</a><span>{{.Doc}}</span></li>{{end}}
</ul></body></html>
`))
