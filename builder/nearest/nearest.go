// Package nearest finds the known name that a mistyped one was meant to be,
// as in git's "did you mean".
//
// Names are compared without regard to case by the optimal string alignment
// distance: the number of letters to insert, drop, replace, or swap with their
// neighbour. A name is near when that number is at most a third of the wanted
// name's length (at least 1), or when the wanted name is the beginning of it,
// so "conc" finds "concurrency".
package nearest

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// longest is the length in runes beyond which no name is looked for: the names
// compared are keys and labels, and the cost grows with the square of it.
const longest = 64

// Name returns the name of have that is nearest to want, and whether one is
// near enough to be suggested. Of equally near names it returns the first in
// byte order, so the answer does not depend on the order of have.
func Name(want string, have []string) (string, bool) {
	if want == "" || utf8.RuneCountInString(want) > longest {
		return "", false
	}
	w := []rune(strings.ToLower(want))
	limit := max(1, len(w)/3)
	best, bestScore := "", limit+2
	for _, name := range have {
		s := score(w, name, limit)
		if s < bestScore || s == bestScore && s <= limit+1 && name < best {
			best, bestScore = name, s
		}
	}
	return best, bestScore <= limit+1
}

// DidYouMean returns ` (did you mean "x"?)`, to be put behind an error message,
// for the name x that Name finds, and "" if it finds none.
func DidYouMean(want string, have []string) string {
	name, ok := Name(want, have)
	if !ok {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", name)
}

// score returns how far name is from want: up to limit a distance, limit+1 for
// a name that begins with want, and more for a name that is not near.
func score(want []rune, name string, limit int) int {
	if len(name) > utf8.UTFMax*longest {
		return limit + 2
	}
	have := []rune(strings.ToLower(name))
	if diff := len(have) - len(want); -limit <= diff && diff <= limit {
		// A distance of the whole length is another word, not a slip: "a" is not near "b".
		if d := distance(want, have); d <= limit && d < len(want) {
			return d
		}
	}
	if len(want) > 1 && strings.HasPrefix(string(have), string(want)) {
		return limit + 1
	}
	return limit + 2
}

// distance is the optimal string alignment distance of a and b.
func distance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
