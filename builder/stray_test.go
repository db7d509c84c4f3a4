package builder

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestMeantHandler(t *testing.T) {
	for name, want := range map[string]string{
		"Handler": "Handle", "Handel": "Handle", "HandlerCreate": "HandleCreate", "Hanlde": "Handle", "HandelHTTP": "HandleHTTP", "Handles": "Handle",
		"Handle": "", "HandleX": "", "Hash": "", "Has": "", "Bundle": "", "Candle": "", "handler": "", "H": "", "Halve": "", "Handshake": "", "Harden": "", "main": "",
	} {
		if got := meantHandler(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestStrays(t *testing.T) {
	dir := writeTree(t, map[string]string{
		"good/g.go":     "package good\n\nfunc Handle() {}\n\nfunc Handler() {}\n",
		"near/n.go":     "package near\n\n// HandlerCreate creates.\nfunc HandlerCreate() {}\n",
		"lib/l.go":      "package lib\n\nfunc Hash() {}\n\nfunc Halve() {}\n\ntype T int\n\nfunc (T) Handler() {}\n",
		"prog/p.go":     "package main\n\nfunc main() {}\n",
		"broken/b.go":   "package broken\n\nfunc Handler( {\n",
		".hidden/h.go":  "package h\n\nfunc Handler() {}\n",
		"deep/in/in.go": "package in\n\nfunc Handler() {}\n",
		"text/t.txt":    "func Handler() {}\n",
		"other_test.go": "package other\n\nfunc Handler() {}\n",
	})
	list := Strays(dir)
	if len(list) != 2 || list[0].Dir != filepath.Join(dir, "near") || list[0].Hint != "did you mean HandleCreate instead of HandlerCreate? (n.go:4)" ||
		list[1].Dir != filepath.Join(dir, "prog") || !strings.Contains(list[1].Hint, "functions.Serve") {
		t.Errorf("strays %+v", list)
	}
	if list := Strays(filepath.Join(dir, "good")); len(list) > 0 {
		t.Errorf("of a function: %+v", list)
	}
	if list := Strays(filepath.Join(dir, "near")); len(list) != 1 {
		t.Errorf("of the folder itself: %+v", list)
	}
	if list := Strays(filepath.Join(dir, "prog")); len(list) > 0 {
		t.Errorf("of a folder with a program: %+v", list)
	}
}
