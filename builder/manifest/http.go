package manifest

import (
	"fmt"
	"go/token"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/fnhost/fnhost/builder/nearest"
)

// knownMethods are the methods that a slip of the finger is compared with. Others
// are accepted: HTTP lets anybody define methods.
var knownMethods = []string{
	"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY",
	"COPY", "MOVE", "LOCK", "UNLOCK", "MKCOL", "PROPFIND", "PROPPATCH", "REPORT", "SEARCH", "PURGE", "LINK", "UNLINK",
}

var (
	methodPattern = regexp.MustCompile(`^[A-Z][A-Z-]{0,31}$`)
	headerPattern = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,255}$")
	hostPattern   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	originPattern = regexp.MustCompile(`^https?://((\*\.)?` + strings.Trim(hostPattern.String(), "^$") + `|\[[0-9a-f:]+\])(:[0-9]{1,5})?$`)
)

var (
	httpMethod = text(schema{"pattern": methodPattern.String()}, checkMethod)
	headerName = pattern(headerPattern.String(), `must be a header's name or "*"`)
	corsOrigin = text(schema{"pattern": `^(\*|` + strings.Trim(originPattern.String(), "^$") + ")$"}, checkOrigin)
)

func checkMethod(s string) *problem {
	for _, known := range knownMethods {
		if s == known {
			return nil
		}
	}
	near, ok := nearest.Name(s, knownMethods)
	switch {
	case ok:
		return &problem{fmt.Sprintf("must be an HTTP method, not %.80q", s), "write " + near}
	case methodPattern.MatchString(s):
		return nil
	}
	p := &problem{message: fmt.Sprintf("must be an HTTP method in upper case, not %.80q", s)}
	if upper := strings.ToUpper(s); methodPattern.MatchString(upper) {
		p.hint = "write " + upper
	}
	return p
}

func checkHost(s string) *problem {
	if hostPattern.MatchString(s) && len(s) <= 253 {
		return nil
	}
	p := &problem{message: fmt.Sprintf("must be a host name such as shop.example.com, not %.80q", s)}
	host := strings.ToLower(s)
	if _, after, ok := strings.Cut(host, "://"); ok {
		host = after
	}
	if i := strings.IndexAny(host, ":/"); i >= 0 {
		host = host[:i]
	}
	if host != s && hostPattern.MatchString(host) {
		p.hint = "write " + host
	}
	return p
}

// checkPath checks the path of a ServeMux pattern, for messages that are shorter
// and about the path alone.
func checkPath(s string) *problem {
	switch {
	case !strings.HasPrefix(s, "/"):
		p := &problem{message: fmt.Sprintf(`must begin with "/", not %.80q`, s)}
		if method, rest, ok := strings.Cut(s, " "); ok && strings.HasPrefix(rest, "/") {
			p.hint = fmt.Sprintf("write path: %s and methods: [%s]", rest, method)
		} else if checkPath("/"+s) == nil {
			p.hint = "write /" + s
		}
		return p
	case strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		return &problem{"must not have spaces", "write %20 for a space"}
	case strings.ContainsAny(s, "?#"):
		return &problem{`must not have "?" or "#"`, "a route matches the path alone"}
	case strings.Contains(s, "%") && !validEscapes(s):
		return &problem{"has a % that no two hexadecimal digits follow", "write %25 for a %"}
	}
	if clean := cleanPath(s); clean != s {
		return &problem{fmt.Sprintf("can never match, because %q is cleaned first", s), "write " + clean}
	}
	return checkWildcards(strings.Split(s[1:], "/"))
}

func validEscapes(s string) bool {
	return !regexp.MustCompile(`%([^0-9A-Fa-f]|.?$|.[^0-9A-Fa-f])`).MatchString(s)
}

// cleanPath is what the gateway makes of a path before it matches it.
func cleanPath(s string) string {
	clean := path.Clean(s)
	if strings.HasSuffix(s, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

func checkWildcards(segments []string) *problem {
	seen := make(map[string]bool)
	for i, segment := range segments {
		if !strings.ContainsAny(segment, "{}") {
			continue
		}
		inner, open := strings.CutPrefix(segment, "{")
		inner, closed := strings.CutSuffix(inner, "}")
		if !open || !closed || strings.ContainsAny(inner, "{}") {
			return &problem{fmt.Sprintf("must have a wildcard as a whole segment, not %.80q", segment), "write /{name}/"}
		}
		name, rest := strings.CutSuffix(inner, "...")
		switch {
		case (rest || inner == "$") && i < len(segments)-1:
			return &problem{fmt.Sprintf("must have %s at its end only", segment), ""}
		case inner == "$":
		// ServeMux's own rule: a Go identifier, keywords included.
		case !token.IsIdentifier(name) && !token.IsKeyword(name):
			return &problem{fmt.Sprintf("must have a name of letters, digits and _ in a wildcard, not %.80q", segment), ""}
		case seen[name]:
			return &problem{fmt.Sprintf("must not have the wildcard {%s} twice", name), ""}
		}
		seen[name] = true
	}
	return nil
}

// checkRoutes reports routes that repeat another or overlap it. ServeMux itself is
// asked, since it is what the routes are for.
func checkRoutes(r *reader, items []item[Route]) {
	mux := new(http.ServeMux)
	var accepted []item[Route]
	for _, it := range items {
		at := it.node.child("path")
		if !registers(new(http.ServeMux), it.value) {
			r.bad(at, "", "is not a path of a ServeMux pattern")
			continue
		}
		if registers(mux, it.value) {
			accepted = append(accepted, it)
			continue
		}
		other, ok := conflicting(accepted, it.value)
		switch {
		case !ok: // It conflicts with a route that is reported already.
		case sameShape(other.value, it.value):
			r.bad(at, "", "repeats the route on %s", other.node.position())
		default:
			r.bad(at, "make one of them more specific than the other",
				"overlaps the route on %s, and neither is more specific", other.node.position())
		}
		if len(r.errs) == maxErrors {
			return
		}
	}
}

// registers reports whether mux takes a route. ServeMux panics if it does not.
func registers(mux *http.ServeMux, route Route) (ok bool) {
	defer func() { ok = recover() == nil }()
	for _, p := range route.Patterns() {
		mux.Handle(p, http.NotFoundHandler())
	}
	return true
}

// conflicting finds the accepted route that route cannot stand beside.
func conflicting(accepted []item[Route], route Route) (item[Route], bool) {
	for _, other := range accepted {
		mux := new(http.ServeMux)
		registers(mux, other.value)
		if !registers(mux, route) {
			return other, true
		}
	}
	return item[Route]{}, false
}

var wildcardName = regexp.MustCompile(`\{[^.$}]+`)

// sameShape reports whether two routes differ in their wildcards' names and their
// methods at most.
func sameShape(a, b Route) bool {
	return a.Host == b.Host &&
		wildcardName.ReplaceAllString(a.Path, "{") == wildcardName.ReplaceAllString(b.Path, "{")
}

func checkOrigin(s string) *problem {
	if s == "*" || originPattern.MatchString(s) {
		return nil
	}
	p := &problem{message: fmt.Sprintf(`must be "*" or an origin such as https://example.com, not %.80q`, s)}
	trimmed := strings.TrimRight(strings.ToLower(s), "/")
	if !strings.Contains(trimmed, "://") {
		trimmed = "https://" + trimmed
	}
	if originPattern.MatchString(trimmed) {
		p.hint = "write " + trimmed
	}
	return p
}

// checkCORS refuses what browsers refuse, and what would let any page act as the
// user who is signed in.
func checkCORS(r *reader, n node, c *CORS) {
	if len(c.Origins) == 0 {
		r.bad(n.child("origins"), "remove cors to allow none", "must not be empty")
	}
	for _, origin := range c.Origins {
		if origin == "*" && c.Credentials {
			r.bad(n.child("credentials"), "list the origins", `cannot be true with the origin "*"`)
		}
	}
}
