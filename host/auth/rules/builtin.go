package rules

// Builtin returns the rules of the roles that each host has: admin, developer,
// viewer and invoker are scopes. They have the least priority, so that any other
// rule may narrow them.
func Builtin() []Rule {
	roles := []struct {
		scope     string
		resources []string
		note      string
	}{
		{"admin", []string{">"}, "admins may do everything"},
		{"developer", []string{
			"admin:read", "admin:logs", "admin:deploy", "admin:triggers", "admin:replay", "admin:events", "admin:dead", "admin:runs",
			"function:>", "bucket:>", "blob:>", "config:>", "secret:*:write", "subject:>",
		}, "developers deploy functions and work with what those have, but do not read secrets"},
		{"viewer", []string{"admin:read", "admin:logs"}, "viewers see what there is and what it does"},
		{"invoker", []string{"function:>"}, "invokers call functions"},
	}
	var list []Rule
	for _, role := range roles {
		for _, resource := range role.resources {
			id := "builtin-" + role.scope
			if len(role.resources) > 1 {
				id += "-" + idOf(resource)
			}
			list = append(list, Rule{
				ID: id, Namespace: Everywhere, Resource: resource, Scope: role.scope,
				Access: Grant, Priority: -MaxPriority, Note: role.note,
			})
		}
	}
	return list
}

// idOf returns the letters of a resource, with hyphens between its parts.
func idOf(resource string) string {
	id := ""
	for _, part := range split(resource) {
		if part == "*" || part == ">" {
			continue
		}
		if id != "" {
			id += "-"
		}
		id += part
	}
	return id
}
