package manifest

import (
	"fmt"
	"regexp"
	"strings"
)

// The patterns of an access list: the characters of the thing's name, and *.
var (
	functionPattern = pattern(`^(@[a-z0-9*-]{1,32}/)?[a-z0-9*-]{1,63}$`, "must be lower-case letters, digits, hyphens and *, after @NAMESPACE/ for those of another namespace")
	bucketPattern   = pattern(`^[A-Za-z0-9_*-]{1,255}$`, "must be letters, digits, _, - and *")
	configPattern   = pattern(`^[A-Za-z0-9_/=.*-]{1,255}$`, "must be letters, digits, _, -, /, =, . and *")
	subjectPattern  = text(schema{"pattern": `^[^$\s][^\s]*$`, "maxLength": maxSubject}, checkSubject)
)

func pattern(expression, must string) value[string] {
	re := regexp.MustCompile(expression)
	return text(schema{"pattern": expression}, func(s string) *problem {
		if re.MatchString(s) {
			return nil
		}
		return &problem{message: fmt.Sprintf("%s, not %.80q", must, s)}
	})
}

const maxSubject = 255

// checkSubject checks a NATS subject, wildcards allowed.
func checkSubject(s string) *problem {
	switch {
	case s == "":
		return &problem{"must not be empty", ""}
	case len(s) > maxSubject:
		return &problem{fmt.Sprintf("must have at most %d characters, not %d", maxSubject, len(s)), ""}
	case strings.HasPrefix(s, "$"):
		return &problem{"must not begin with $, which is the server's", ""}
	case strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		return &problem{fmt.Sprintf("must not have spaces, as %q has", s), ""}
	}
	tokens := strings.Split(s, ".")
	for i, token := range tokens {
		switch {
		case token == "":
			return &problem{fmt.Sprintf("must not have an empty part between dots, as %q has", s), ""}
		case token == ">" && i < len(tokens)-1:
			return &problem{fmt.Sprintf("must have > at its end only, not %q", s), ""}
		case len(token) > 1 && strings.ContainsAny(token, "*>"):
			return &problem{fmt.Sprintf("must have * and > as whole parts between dots, not %q", s), ""}
		}
	}
	return nil
}
