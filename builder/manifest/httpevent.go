package manifest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/builder/nearest"
)

// checkRouteSubject checks the subject of the events that a route stores, in which
// wildcards of the path may be parts.
func checkRouteSubject(s string) *problem {
	parts := strings.Split(s, ".")
	for i, part := range parts {
		name, ok := wildcardPart(part)
		switch {
		case ok && i == 0:
			return &problem{fmt.Sprintf("must not begin with a wildcard of the path, as %q does", s), "write a first part, such as orders." + s}
		case ok:
			parts[i] = name
		case strings.ContainsAny(part, "{}"):
			return &problem{fmt.Sprintf("must have a wildcard of the path as a whole part between dots, not %.80q", part), "write .{name}."}
		case strings.ContainsAny(part, "*>"):
			return &problem{fmt.Sprintf("must be one subject, without * and >, not %.80q", s), ""}
		}
	}
	return checkEventSubject(strings.Join(parts, "."))
}

// wildcardPart returns the name of a part that is a wildcard of the path.
func wildcardPart(part string) (name string, ok bool) {
	inner, open := strings.CutPrefix(part, "{")
	name, closed := strings.CutSuffix(inner, "}")
	return name, open && closed && name != "" && !strings.ContainsAny(name, "{}")
}

// checkEventRoute reports a route that stores an event of which something is missing,
// or that is to invoke something, too.
func checkEventRoute(r *reader, n node, route *Route) {
	if route.Event == "" {
		return
	}
	at := n.child("event")
	if route.Endpoint != "" {
		r.bad(at, "remove one of the two: an event trigger runs the endpoint", "cannot be with endpoint: a route stores an event, or invokes")
	}
	var names []string
	for _, segment := range strings.Split(route.Path, "/") {
		if name, ok := wildcardPart(segment); ok && name != "$" {
			names = append(names, strings.TrimSuffix(name, "..."))
		}
	}
	for _, part := range strings.Split(route.Event, ".") {
		name, ok := wildcardPart(part)
		if !ok || slices.Contains(names, name) {
			continue
		}
		hint := ""
		if near, ok := nearest.Name(name, names); ok {
			hint = fmt.Sprintf("write {%s}", near)
		}
		r.bad(at, hint, "has the wildcard {%.80s}, and path has none of that name", name)
	}
}
