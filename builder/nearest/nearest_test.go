package nearest

import (
	"slices"
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	keys := []string{"name", "runtime", "timeout", "concurrency", "queue", "scale", "memory", "env", "access", "cors", "triggers"}
	tests := []struct {
		name, want string
		have       []string
		near       string
	}{
		{"a missing letter", "timout", keys, "timeout"},
		{"a letter too many", "timeoutt", keys, "timeout"},
		{"a wrong letter", "quewe", keys, "queue"},
		{"two letters swapped", "anme", keys, "name"},
		{"several slips in a long name", "concurency", keys, "concurrency"},
		{"another case", "TimeOut", keys, "timeout"},
		{"the same name", "queue", keys, "queue"},
		{"the beginning of a name", "conc", keys, "concurrency"},
		{"the beginning of a long name beats nothing", "mem", keys, "memory"},
		{"a distance beats a beginning", "env", []string{"environment", "enw"}, "enw"},
		{"nothing near", "database", keys, ""},
		{"one letter is near nothing", "x", []string{"y", "xylophone"}, ""},
		{"one letter of another case", "X", []string{"y", "x"}, "x"},
		{"the empty name", "", keys, ""},
		{"no names", "queue", nil, ""},
		{"letters outside ASCII", "grösse", []string{"größe", "grosse"}, "grosse"},
		{"a very long name", strings.Repeat("a", 1<<20), []string{strings.Repeat("a", 1<<20)}, ""},
		{"a very long candidate", "aaa", []string{strings.Repeat("a", 1<<20)}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := Name(test.want, test.have)
			if got != test.near || ok != (test.near != "") {
				t.Errorf("Name(%.20q) = %.20q, %t, want %q", test.want, got, ok, test.near)
			}
		})
	}
}

func TestNameDoesNotDependOnOrder(t *testing.T) {
	have := []string{"bar", "car", "far", "tar"}
	for range 4 {
		have = append(have[1:], have[0])
		if got, _ := Name("zar", have); got != "bar" {
			t.Errorf("Name among %q = %q, want bar", have, got)
		}
	}
	slices.Reverse(have)
	if got, _ := Name("zar", have); got != "bar" {
		t.Errorf("Name among %q = %q, want bar", have, got)
	}
}

func TestDidYouMean(t *testing.T) {
	if got, want := DidYouMean("timout", []string{"timeout"}), ` (did you mean "timeout"?)`; got != want {
		t.Errorf("DidYouMean = %q, want %q", got, want)
	}
	if got := DidYouMean("timout", []string{"queue"}); got != "" {
		t.Errorf("DidYouMean = %q, want nothing", got)
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0},
		{"ab", "ba", 1}, {"abcd", "acbd", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3},
	}
	for _, test := range tests {
		if got := distance([]rune(test.a), []rune(test.b)); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func BenchmarkName(b *testing.B) {
	have := []string{"name", "runtime", "timeout", "concurrency", "queue", "scale", "memory", "env"}
	for b.Loop() {
		Name("concurency", have)
	}
}
