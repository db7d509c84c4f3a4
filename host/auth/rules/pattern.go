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

// against calls found for the rules below n that have something in common with a pattern, and
// says of them whether they cover the whole of it. It starts with whole being true.
func (n *node) against(pattern []string, whole bool, found func(b *bests, whole bool)) {
	if n == nil {
		return
	}
	if len(pattern) == 0 {
		found(n.here, whole)
		return
	}
	found(n.rest, whole)
	switch part, rest := pattern[0], pattern[1:]; part {
	case ">":
		n.each(func(c *node) {
			found(c.here, false)
			c.against(pattern, false, found)
		})
	case "*":
		for _, c := range n.children {
			c.against(rest, false, found)
		}
		n.one.against(rest, whole, found)
	default:
		n.children[part].against(rest, whole, found)
		n.one.against(rest, whole, found)
	}
}

// each calls f for what is right below n.
func (n *node) each(f func(*node)) {
	for _, c := range n.children {
		f(c)
	}
	if n.one != nil {
		f(n.one)
	}
}

// highest returns the rule that comes first, for whichever scope; nil if there is none.
func (b *bests) highest() *Rule {
	if b == nil {
		return nil
	}
	r := first(b.public, b.any)
	for _, other := range b.scopes {
		r = first(r, other)
	}
	return r
}
