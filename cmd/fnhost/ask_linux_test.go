package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fnhost/fnhost/host/auth"
)

// typing returns a terminal on which that is typed.
func typing(t *testing.T, keys string) *os.File {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	if _, err := keyboard.WriteString(keys); err != nil {
		t.Fatal(err)
	}
	return terminal
}

func TestAskTwice(t *testing.T) {
	const good = "correct horse battery"
	tests := []struct {
		name, keys, want string
		prompts          int
		err              string
	}{
		{"the same twice", good + "\n" + good + "\n", good, 2, ""},
		{"two values", good + "\n" + good + "!\n", "", 2, "two values"},
		{"too short", "short\n", "", 1, "at least 12"},
		{"Ctrl-D", "\x04", "", 1, errNoAnswer.Error()},
		{"Ctrl-D the second time", good + "\n\x04", "", 2, errNoAnswer.Error()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var said bytes.Buffer
			a := &app{stdin: typing(t, test.keys), stderr: &said}
			got, err := a.askTwice(t.Context(), "password: ", auth.CheckNewPassword)
			switch {
			case test.err == "" && (err != nil || got != test.want):
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("got the error %v, want one with %q", err, test.err)
			}
			if n := strings.Count(said.String(), ": "); n != test.prompts {
				t.Errorf("asked %d times, want %d: %q", n, test.prompts, said.String())
			}
		})
	}
}

func TestNoAccountIsAskedForAfterCtrlD(t *testing.T) {
	a := &app{stdin: typing(t, "\x04"), stderr: &bytes.Buffer{}}
	if _, err := a.askAccount(t.Context(), &server{Login: &keptLogin{Account: "ada"}}, false); !errors.Is(err, errNoAnswer) {
		t.Errorf("got the error %v, want %v", err, errNoAnswer)
	}
}

// A token that is kept is forgotten after a login for who says yes, and for nobody else.
func TestAfterLoginAsksForTheToken(t *testing.T) {
	for keys, want := range map[string]string{"y\n": "", "yes\n": "", "\n": "token", "n\n": "token", "\x04": "token"} {
		t.Run(fmt.Sprintf("%q", keys), func(t *testing.T) {
			t.Setenv("XDG_CONFIG_HOME", t.TempDir())
			s := &server{URL: "http://127.0.0.1:1", Token: "token", name: "prod"}
			err := changeServers(t.Context(), func(list *servers) error {
				list.Servers["prod"] = *s
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			a := &app{stdin: typing(t, keys), stderr: &bytes.Buffer{}}
			if err := a.afterLogin(t.Context(), s, "prod", false, false); err != nil {
				t.Fatal(err)
			}
			list, err := loadServers()
			if err != nil {
				t.Fatal(err)
			}
			if got := list.Servers["prod"].Token; got != want {
				t.Errorf("kept %q, want %q", got, want)
			}
		})
	}
}
