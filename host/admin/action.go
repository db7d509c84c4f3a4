package admin

import (
	"net/http"
	"net/url"
	"strings"
)

// gitPattern is that of the git remote.
const gitPattern = "/git/"

// actions are the names of what routes do that their paths do not tell.
var actions = map[string]string{
	"PUT /v1/deploys/{id}":    "deploy",
	"DELETE /v1/deploys/{id}": "deploy.cancel",
	"DELETE /v1/runs/{id}":    "runs.cancel",
	"POST /v1/buckets":        "buckets.add",
	gitPattern:                "git.push",
}

var verbs = map[string]string{http.MethodGet: ".read", http.MethodPut: ".set", http.MethodPatch: ".set", http.MethodDelete: ".remove"}

// ActionOf returns the name of what a route of the API does: "functions.release" for
// "POST /v1/functions/{name}/release", "secrets.set" for "PUT /v1/secrets/{name...}".
func ActionOf(pattern string) string {
	if name := actions[pattern]; name != "" {
		return name
	}
	method, path, _ := strings.Cut(pattern, " ")
	var words []string
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/v1/"), "/") {
		if part != "" && part[0] != '{' {
			words = append(words, part)
		}
	}
	return strings.Join(words, ".") + verbs[method]
}

// kinds are the names of resources by the first word of their paths, where those are
// not that word without its s.
var kinds = map[string]string{"invoke": "function", "async": "function", "events": "subject", "dead": "dead-letter", "git": "function"}

// ResourceOf returns what a request to a route is about: "function:orders" for
// /v1/functions/orders/release, "bucket:carts:42" for /v1/buckets/carts/keys/42. The path
// is an escaped one.
func ResourceOf(pattern, path string) string {
	_, shape, ok := strings.Cut(pattern, " ")
	if !ok { // a tree, such as /git/
		rest := strings.TrimPrefix(path, pattern)
		if strings.HasPrefix(rest, "@") { // of another namespace
			_, rest, _ = strings.Cut(rest, "/")
		}
		name, _, _ := strings.Cut(rest, "/")
		return kinds[strings.Trim(pattern, "/")] + ":" + strings.TrimSuffix(name, ".git")
	}
	shape, path = strings.TrimPrefix(shape, "/v1/"), strings.TrimPrefix(path, "/v1/")
	first, _, _ := strings.Cut(shape, "/")
	resource := kinds[first]
	if resource == "" {
		resource = strings.TrimSuffix(first, "s")
	}
	for shape != "" {
		var part, value string
		part, shape, _ = strings.Cut(shape, "/")
		if strings.HasSuffix(part, "...}") {
			value, path = path, ""
		} else {
			value, path, _ = strings.Cut(path, "/")
		}
		if strings.HasPrefix(part, "{") {
			if plain, err := url.PathUnescape(value); err == nil {
				value = plain
			}
			resource += ":" + value
		}
	}
	return resource
}
