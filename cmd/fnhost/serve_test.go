package main

import (
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// login isolates git and the list of servers, and adds the host of servebg to
// that under a name: login NAME. TOKEN is its token.
func login(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: login NAME")
	}
	for key, value := range map[string]string{
		"HOME": ts.MkAbs("home"), "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com",
		"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com", "GIT_TERMINAL_PROMPT": "0", "FNHOST_SERVER": "",
	} {
		ts.Setenv(key, value)
	}
	var token []byte
	poll(ts, "the token in dev.log", func() bool {
		b, err := os.ReadFile(ts.MkAbs("dev.log"))
		token = regexp.MustCompile(`fnhost_[A-Z2-7]{26}`).Find(b)
		return err == nil && token != nil
	})
	ts.Setenv("TOKEN", string(token))
	if err := os.WriteFile(ts.MkAbs("token"), append(token, '\n'), 0o600); err != nil {
		ts.Fatalf("%v", err)
	}
	ts.Check(ts.Exec("fnhost", "server", "add", args[0], ts.Getenv("ADMIN"), "--token-file", "token"))
}

// status checks the status of a GET, with a token if one is given: status CODE URL [TOKEN].
func status(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || len(args) > 3 || neg {
		ts.Fatalf("usage: status CODE URL [TOKEN]")
	}
	req, err := http.NewRequest(http.MethodGet, args[1], nil)
	ts.Check(err)
	if len(args) > 2 {
		req.Header.Set("Authorization", "Bearer "+args[2])
	}
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	resp.Body.Close()
	if got := strconv.Itoa(resp.StatusCode); got != args[0] {
		ts.Fatalf("%s answers %s, want %s", args[1], got, args[0])
	}
}

// notifications are what hosts have told the sockets of notify, by path.
var notifications struct {
	sync.Mutex
	told map[string][]string
}

// notify is systemd to the hosts that are started later.
func notify(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs("notify.sock")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	ts.Check(err)
	ended := make(chan struct{})
	ts.Defer(func() {
		conn.Close()
		<-ended
	})
	ts.Setenv("NOTIFY_SOCKET", path)
	go func() {
		defer close(ended)
		for b := make([]byte, 1000); ; {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			notifications.Lock()
			if notifications.told == nil {
				notifications.told = make(map[string][]string)
			}
			notifications.told[path] = append(notifications.told[path], string(b[:n]))
			notifications.Unlock()
		}
	}()
}

// notified waits until a host has told systemd something: notified TEXT.
func notified(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.Getenv("NOTIFY_SOCKET")
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		notifications.Lock()
		told := slices.Clone(notifications.told[path])
		notifications.Unlock()
		if slices.Contains(told, args[0]) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("told systemd: %q", told)
		}
	}
}
