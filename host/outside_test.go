package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// outside returns the IDs on this machine of a worker of a function and of children of
// it, which text lists as the worker knows them: behind a wall it is process 1. host is
// the process that has started it.
func outside(t testing.TB, host int, function, text string) (list []int) {
	t.Helper()
	parent := host
	for i, inner := range strings.Fields(text) {
		found := 0
		files, _ := filepath.Glob("/proc/[0-9]*/status")
		for _, file := range files {
			data, _ := os.ReadFile(file)
			pid, ids, ppid := 0, "", ""
			for line := range strings.Lines(string(data)) {
				switch name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t"); name {
				case "Pid":
					pid, _ = strconv.Atoi(value)
				case "PPid":
					ppid = value
				case "NSpid":
					ids = value
				}
			}
			all := strings.Fields(ids)
			if ppid != fmt.Sprint(parent) || len(all) == 0 || all[len(all)-1] != inner {
				continue
			}
			if name, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline")); i > 0 || strings.HasPrefix(string(name), function+"\x00") {
				found = pid
			}
		}
		if found < 2 {
			t.Fatalf("no process of %d is %s to itself", parent, inner)
		}
		list = append(list, found)
		if i == 0 {
			parent = found
		}
	}
	return list
}
