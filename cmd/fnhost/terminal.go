package main

import (
	"fmt"
	"io"
	"os"
)

// isTerminal reports whether a person reads w.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// painter colours text where that is wanted.
type painter struct{ on bool }

func (a *app) painter(w io.Writer) painter {
	return painter{!a.noColor && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)}
}

// Colours of the terminal's own palette.
const (
	red     = 31
	green   = 32
	yellow  = 33
	dim     = 2
	bold    = 1
	noColor = 0
)

func (p painter) paint(colour int, s string) string {
	if !p.on || colour == noColor {
		return s
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, s)
}

// names of functions get one of these, always the same one.
var nameColours = []int{36, 35, 34, 33, 32, 96, 95, 94}

func (p painter) name(name string) string {
	sum := 0
	for _, c := range name {
		sum = sum*31 + int(c)
	}
	return p.paint(nameColours[(sum&0x7fffffff)%len(nameColours)], name)
}
