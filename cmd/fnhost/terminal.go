package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// painter colours text where that is wanted.
type painter struct{ on bool }

func (a *app) painter(w io.Writer) painter {
	return painter{!a.noColor && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)}
}

// askUnseen asks for a line on the terminal, which does not show what is typed.
func (a *app) askUnseen(ctx context.Context, prompt string) (string, error) {
	fd := int(a.stdin.(*os.File).Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprint(a.stderr, prompt)
	if err := hideTyping(fd); err != nil {
		return "", err
	}
	defer term.Restore(fd, before)
	line, err := typed(ctx, func() (string, error) { return bufio.NewReader(a.stdin).ReadString('\n') })
	fmt.Fprintln(a.stderr)
	if errors.Is(err, io.EOF) {
		err = errNoAnswer
	}
	return strings.TrimRight(line, "\r\n"), err
}

// hideTyping has a terminal not show what is typed. term.ReadPassword would go on reading
// after Ctrl-D.
func hideTyping(fd int) error {
	t, err := unix.IoctlGetTermios(fd, readTermios)
	if err != nil {
		return err
	}
	t.Lflag &^= unix.ECHO
	t.Lflag |= unix.ICANON | unix.ISIG
	t.Iflag |= unix.ICRNL
	return unix.IoctlSetTermios(fd, writeTermios, t)
}

// isTerminal reports whether a person is at the other end of f.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), readTermios)
	return err == nil
}

// errNoAnswer ends a command whose question is answered by Ctrl-D.
var errNoAnswer = errors.New("the input has ended, without an answer: nothing is done")

// typed returns what read does, or the error of ctx, as nothing else ends the reading of a
// terminal; that ends with the line, or the program, then.
func typed(ctx context.Context, read func() (string, error)) (string, error) {
	type answer struct {
		line string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		line, err := read()
		done <- answer{line, err}
	}()
	select {
	case got := <-done:
		return got.line, got.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// printTable prints rows in columns.
func (a *app) printTable(rows [][]string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// Colours of the terminal's own palette.
const (
	red    = 31
	green  = 32
	yellow = 33
	dim    = 2
	bold   = 1
)

func (p painter) paint(colour int, s string) string {
	if !p.on || s == "" {
		return s
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, s)
}

// nameColours are those of function names: each name always gets the same one.
var nameColours = []int{36, 35, 34, 33, 32, 96, 95, 94}

// name colours text by the name of a function.
func (p painter) name(name, text string) string {
	sum := uint32(0)
	for _, c := range name {
		sum = sum*31 + uint32(c)
	}
	return p.paint(nameColours[sum%uint32(len(nameColours))], text)
}

// relative returns path as seen from the working directory, if that is shorter.
func relative(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || strings.HasPrefix(rel, "../../..") || len(rel) > len(path) {
		return path
	}
	return rel
}

// homePath returns an absolute path, or one that begins with ~.
func homePath(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if home, err := os.UserHomeDir(); err == nil && home != "/" {
		if rel, err := filepath.Rel(home, abs); err == nil && filepath.IsLocal(rel) {
			return filepath.Join("~", rel)
		}
	}
	return abs
}

// oneLine is the first line of a text, with the second one if the first only leads
// up to it.
func oneLine(s string) string {
	line, rest, _ := strings.Cut(strings.TrimSpace(s), "\n")
	for strings.HasSuffix(line, ":") && rest != "" {
		var next string
		next, rest, _ = strings.Cut(strings.TrimSpace(rest), "\n")
		line += " " + strings.TrimSpace(next)
	}
	return strings.TrimSuffix(line, ":")
}

// columns is how wide a terminal is; 0 if w is none.
func columns(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
