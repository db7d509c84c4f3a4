package rules

// covers is true if all that b stands for, a does too. Both are lists of parts, with
// wildcards; a target is one without.
func covers(a, b []string) bool {
	for i, part := range a {
		if i >= len(b) {
			return false
		}
		if part == ">" {
			return true
		}
		if b[i] == ">" || part != "*" && part != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// intersects is true if there is anything that both stand for.
func intersects(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		if a[i] == ">" || b[i] == ">" {
			return true
		}
		if a[i] != b[i] && a[i] != "*" && b[i] != "*" {
			return false
		}
	}
	return len(a) == len(b)
}
