package manifest

// Leave is what a function itself says of who may call it over HTTP, for hosts that ask
// who comes. It counts where no rule of the host decides. At most one of the two is set.
type Leave struct {
	Public bool     // anybody may
	Scopes []string // accounts that have one of them may
}

// LeaveOf returns who may use a route, nil for the function's own path.
func (m *Manifest) LeaveOf(route *Route) Leave {
	if route != nil && (route.Public || len(route.Scopes) > 0) {
		return Leave{route.Public, route.Scopes}
	}
	return Leave{m.Public, m.Scopes}
}

var leaveScope = pattern(`^[a-zA-Z0-9][a-zA-Z0-9_.:/-]{0,62}$`, "must be a scope: letters, digits and _ . : / -")

// checkLeave refuses what says two things.
func checkLeave(r *reader, n node, public bool, scopes []string) {
	if public && len(scopes) > 0 {
		r.bad(n.child("scopes"), "remove one of the two", "cannot be with public: true, which lets anybody")
	}
}

func checkManifest(r *reader, n node, m *Manifest) {
	checkLeave(r, n, m.Public, m.Scopes)
	checkConfigAccess(r, n, m)
}

func checkRoute(r *reader, n node, t *Route) {
	checkLeave(r, n, t.Public, t.Scopes)
	checkEventRoute(r, n, t)
}
