package kv

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		glob, key string
		want      bool
	}{
		{"a.b", "a.b", true},
		{"a.b", "a.bc", false},
		{"a.*", "a.b", true},
		{"a.*", "a.b.c", false},
		{"a.**", "a.b.c", true},
		{"a.**", "a", false},
		{"**.c", "a.b.c", true},
		{"**.c", "c", false},
		{"*.*.c", "a.b.c", true},
		{"a**c", "a.b.c", true},
		{"a*c", "abbc", true},
		{"a*c*", "abcbc", true},
		{"a?c", "a.c", false},
		{"a?c", "abc", true},
		{"**b*d", "a.b.bcd", true},
		{"**a*.**b", "xa.yab.zb", true},
		{"***", "a.b", true},
	} {
		if got := Glob(test.glob).Match(test.key); got != test.want {
			t.Errorf("%s fits %s: %v, want %v", test.key, test.glob, got, test.want)
		}
	}
}

// FuzzGlob compares with regular expressions.
func FuzzGlob(f *testing.F) {
	for _, seed := range []string{"a.*\x00a.b", "**a*.**b\x00xa.yab.zb", "?**?\x00a.b", "*a**\x00baa.c"} {
		glob, key, _ := strings.Cut(seed, "\x00")
		f.Add(glob, key)
	}
	f.Fuzz(func(t *testing.T, pattern, key string) {
		if Glob(pattern).Validate() != nil || ValidateKey(key) != nil || pattern == "" || len(pattern)+len(key) > 100 {
			t.Skip()
		}
		quoted := strings.NewReplacer(`\*\*`, ".*", `\*`, `[^.]*`, `\?`, `[^.]`).Replace(regexp.QuoteMeta(pattern))
		want := regexp.MustCompile("^" + quoted + "$").MatchString(key)
		if got := Glob(pattern).Match(key); got != want {
			t.Errorf("%q fits %q: %v, want %v", key, pattern, got, want)
		}
	})
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "A_-9", strings.Repeat("b", MaxName)} {
		if err := ValidateBucket(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "a.b", "a b", "ä", "a/b", strings.Repeat("b", MaxName+1)} {
		if err := ValidateBucket(name); !errors.Is(err, ErrInvalidBucket) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, key := range []string{"", ".", "a..b", "ä", "a*", strings.Repeat("k", MaxKey+1)} {
		if err := ValidateKey(key); !errors.Is(err, ErrInvalidKey) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestConflictsSayWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		err    ConflictError
		exists bool
		want   string
	}{
		{ConflictError{Key: "a", Current: 7}, true, `kv: key "a" exists, at revision 7`},
		{ConflictError{Key: "a", Wanted: 5}, false, `kv: key "a" has changed: it is not there, revision 5 was wanted`},
		{ConflictError{Key: "a", Wanted: 5, Current: 7}, false, `kv: key "a" has changed: it is at revision 7, 5 was wanted`},
	} {
		err := fmt.Errorf("commit: %w", &test.err)
		if !errors.Is(err, ErrConflict) || errors.Is(err, ErrExists) != test.exists || test.err.Error() != test.want {
			t.Errorf("%v: is ErrExists %v, want %v %q", err, errors.Is(err, ErrExists), test.exists, test.want)
		}
	}
}

func TestChangesThatNoBucketTakes(t *testing.T) {
	many := make([]Change, MaxChanges+1)
	for _, test := range []struct {
		changes []Change
		want    error
	}{
		{[]Change{Put("a", nil), Delete("b", Purge()), Check("c", 1)}, nil},
		{[]Change{Put("a", nil), Check("a", 1)}, ErrInvalidKey},
		{[]Change{Put("a.", nil)}, ErrInvalidKey},
		{[]Change{Put("a", nil, TTL(time.Millisecond))}, ErrTTL},
		{[]Change{Delete("a", TTL(time.Second))}, ErrTTL},
		{many, ErrTooLarge},
	} {
		if err := ValidateChanges(test.changes); !errors.Is(err, test.want) {
			t.Errorf("%d changes: %v, want %v", len(test.changes), err, test.want)
		}
	}
}
