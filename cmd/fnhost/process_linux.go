package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// processAt finds out which process listens on an address: of another user, only
// root learns it.
func processAt(address string) process {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return process{}
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return process{}
	}
	sockets := make(map[string]bool)
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		listening(table, n, sockets)
	}
	if len(sockets) == 0 {
		return process{}
	}
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return process{}
	}
	for _, file := range files {
		if to, err := os.Readlink(file); err != nil || !sockets[to] {
			continue
		}
		dir := filepath.Dir(filepath.Dir(file))
		pid, _ := strconv.Atoi(filepath.Base(dir))
		name, _ := os.ReadFile(filepath.Join(dir, "comm"))
		return process{pid, strings.TrimSpace(string(name))}
	}
	return process{}
}

// listening adds the sockets of a table that listen on port, as links name them.
func listening(table string, port int, sockets map[string]bool) {
	data, err := os.ReadFile(table)
	if err != nil {
		return
	}
	const listens, inode = "0A", 9
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) > inode && fields[3] == listens && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
			sockets["socket:["+fields[inode]+"]"] = true
		}
	}
}
