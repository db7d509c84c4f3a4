package gitpush

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// hookName is what git calls its hook, and so what the program is called then.
const hookName = "pre-receive"

// Variables that tell the hook where the Server is.
const (
	socketVar = "FNHOST_PUSH_SOCKET"
	secretVar = "FNHOST_PUSH_SECRET"
)

// maxUpdates bounds the list of refs of one push, in bytes.
const maxUpdates = 1 << 20

// hookVersion changes with the two messages below: a host may run while another
// version of its program is put in its place.
const hookVersion = 1

// hello is what the hook says first.
type hello struct {
	Version int
	Secret  string
	Updates string            // the hook's standard input
	Env     map[string]string // all that begin with GIT_
}

// message is what the Server says to the hook, until Done.
type message struct {
	Output []byte `json:",omitempty"`
	Done   bool   `json:",omitempty"`
	Status int    `json:",omitempty"` // of Done: 0 accepts the push
}

// IsHook reports whether this process was started by git to ask a Server about a
// push. A program that has a Server must ask this first of all in main, and do
// nothing else if it is so:
//
//	if gitpush.IsHook() {
//		os.Exit(gitpush.RunHook(os.Stdin, os.Stderr))
//	}
func IsHook() bool {
	return len(os.Args) > 0 && filepath.Base(os.Args[0]) == hookName && os.Getenv(socketVar) != ""
}

// RunHook asks the Server whether a push is accepted, shows what that has to say
// to the pusher, and returns the status for [os.Exit]: 0 for yes.
func RunHook(stdin io.Reader, stderr io.Writer) int {
	status, err := runHook(stdin, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "the host cannot be asked about this push: %v\n", err)
		return 1
	}
	return status
}

func runHook(stdin io.Reader, stderr io.Writer) (int, error) {
	updates, err := io.ReadAll(io.LimitReader(stdin, maxUpdates+1))
	if err != nil {
		return 1, err
	}
	if len(updates) > maxUpdates {
		return 1, fmt.Errorf("it has too many refs (more than %d KiB of them): push fewer at once", maxUpdates>>10)
	}
	h := hello{Version: hookVersion, Secret: os.Getenv(secretVar), Updates: string(updates), Env: make(map[string]string)}
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "GIT_") {
			h.Env[name] = value
		}
	}
	conn, err := net.Dial("unix", os.Getenv(socketVar))
	if err != nil {
		return 1, err
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(h); err != nil {
		return 1, err
	}
	for answers := json.NewDecoder(conn); ; {
		var m message
		if err := answers.Decode(&m); err != nil {
			return 1, fmt.Errorf("it has gone away (%w): push again when it runs", err)
		}
		if _, err := stderr.Write(m.Output); err != nil {
			return 1, err
		}
		if m.Done {
			return m.Status, nil
		}
	}
}
