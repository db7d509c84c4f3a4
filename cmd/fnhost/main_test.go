package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fnhost/fnhost/host/admin"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fnhost": main, "pre-receive": main})
}

// devbg runs dev in the background: its output goes to dev.log, and ready.json
// says where it listens.
const devbg = "#!/bin/sh\nexec fnhost dev --ready-file ready.json \"$@\" 2>dev.log\n"

// servebg does that with serve.
const servebg = "#!/bin/sh\nexec fnhost serve --data data --ready-file ready.json \"$@\" 2>dev.log\n"

func TestScript(t *testing.T) {
	bin := t.TempDir()
	for name, text := range map[string]string{"devbg": devbg, "servebg": servebg} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			// The cache of all tests is one, or each would compile the standard library.
			env.Setenv("FNHOST_CACHE", filepath.Join(cache, "fnhost"))
			for _, name := range []string{"HTTP", "ADMIN", "NATS"} {
				env.Setenv("FNHOST_"+name, "127.0.0.1:0")
			}
			env.Setenv("FNHOST_SERVER", "http://127.0.0.1:1") // nobody
			// Under the race detector each process would sleep for a second at its end.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready, "waitfor": waitFor, "exits": exits, "quickly": quickly, "same": same,
			"cert": cert, "https": https, "natsserver": natsServer, "silent": silent, "request": request,
			"login": login, "notify": notify, "notified": notified, "status": status,
		},
	})
}

// patience bounds how long scripts wait for anything.
const patience = 2 * time.Minute

// poll calls check until it is satisfied.
func poll(ts *testscript.TestScript, what string, check func() bool) {
	for end := time.Now().Add(patience); !check(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			log, _ := os.ReadFile(ts.MkAbs("dev.log"))
			ts.Fatalf("waited %v for %s; dev.log:\n%s", patience, what, log)
		}
	}
}

// ready waits for the host of devbg or servebg, and makes it the one that clients speak to.
// HTTP, NATS, ADMIN and PID say more of it.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	var info admin.Info
	poll(ts, "ready.json", func() bool {
		b, err := os.ReadFile(ts.MkAbs("ready.json"))
		return err == nil && json.Unmarshal(b, &info) == nil
	})
	for key, value := range map[string]string{"FNHOST_SERVER": info.Admin, "ADMIN": info.Admin, "HTTP": info.HTTP, "NATS": info.NATS, "PID": strconv.Itoa(info.PID)} {
		ts.Setenv(key, value)
	}
}

// waitFor waits until a file has something: waitfor FILE REGEXP.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: waitfor FILE REGEXP")
	}
	want := regexp.MustCompile("(?m)" + args[1])
	poll(ts, args[1], func() bool {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && want.Match(b)
	})
}

// exits runs a program and checks its exit code: exits CODE PROGRAM ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// quickly is exits, within 10 seconds: quickly CODE PROGRAM ARGS...
func quickly(ts *testscript.TestScript, neg bool, args []string) {
	start := time.Now()
	exits(ts, neg, args)
	if d := time.Since(start); d > 10*time.Second {
		ts.Fatalf("took %v", d)
	}
}

// same checks that standard output is a text, but for the newline at its end:
// same TEXT.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if got := ts.ReadFile("stdout"); got != args[0]+"\n" {
		ts.Fatalf("standard output is %q, want %q", got, args[0]+"\n")
	}
}

// The second signal does not wait for what runs.
func TestSecondInterruptStopsAtOnce(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "fns", "slow")
	if err := os.MkdirAll(source, 0o755); err != nil {
		t.Fatal(err)
	}
	const program = "package slow\n\nimport (\n\t\"fmt\"\n\t\"time\"\n)\n\nfunc Handle() {\n\tfmt.Println(\"at it\")\n\ttime.Sleep(time.Minute)\n}\n"
	if err := os.WriteFile(filepath.Join(source, "slow.go"), []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "dev.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(exe)
	cmd.Args = []string{"fnhost", "dev", "fns", "--ready-file", "ready.json", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats", "127.0.0.1:0"}
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	said := func(text string) func() bool {
		return func() bool {
			b, _ := os.ReadFile(log.Name())
			return bytes.Contains(b, []byte(text))
		}
	}
	client := waitForHost(t, filepath.Join(dir, "ready.json"))
	go client.Invoke(t.Context(), "slow", nil, nil, nil)
	eventually(t, "an invocation", said("at it"))
	cmd.Process.Signal(os.Interrupt)
	eventually(t, "what it waits for", said("stopping: up to 30s for the invocations of slow (1)"))
	start := time.Now()
	cmd.Process.Signal(os.Interrupt)
	err = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d (%v), want %d", code, err, exitInterrupted)
	}
	if d := time.Since(start); d > 20*time.Second { // of the 30 s
		t.Errorf("the second interrupt took %v", d)
	}
}

func waitForHost(t *testing.T, file string) *admin.Client {
	t.Helper()
	var info admin.Info
	eventually(t, file, func() bool {
		b, err := os.ReadFile(file)
		return err == nil && json.Unmarshal(b, &info) == nil
	})
	client, err := admin.NewClient(info.Admin, admin.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !check() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited %v for %s", patience, what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
