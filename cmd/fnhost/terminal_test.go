package main

import "testing"

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"one":                          "one",
		"one\ntwo":                     "one",
		"it wrote:\n  panic: no\n\nat": "it wrote: panic: no",
		"a handler is one of:":         "a handler is one of",
		"a:\n\nb:\nc":                  "a: b: c",
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestCutLines(t *testing.T) {
	const table = "NAME  ERROR\nhéllo -\n"
	for width, want := range map[int]string{0: table, 11: table, 7: "NAME  …\nhéllo -\n", 6: "NAME …\nhéllo…\n"} {
		if got := cutLines(table, width); got != want {
			t.Errorf("%d: %q, want %q", width, got, want)
		}
	}
}
