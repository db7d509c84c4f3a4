package main

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
)

// wipeEnvironment overwrites a text where the process was given its environment, which
// the kernel shows in /proc to whoever runs as the same user, whatever os.Unsetenv has
// done. It does what it can.
func wipeEnvironment(text string) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // behind the name of the program
	fields := strings.Fields(rest)
	const envStart, envEnd = 50 - 3, 51 - 3 // proc(5) counts from 1, and two fields are cut
	if len(fields) <= envEnd {
		return
	}
	start, err1 := strconv.ParseInt(fields[envStart], 10, 64)
	end, err2 := strconv.ParseInt(fields[envEnd], 10, 64)
	if err1 != nil || err2 != nil || start <= 0 || end <= start || end-start > 8<<20 {
		return
	}
	mem, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer mem.Close()
	env, err := io.ReadAll(io.NewSectionReader(mem, start, end-start))
	if err != nil {
		return
	}
	for at := bytes.Index(env, []byte(text)); at >= 0; at = bytes.Index(env, []byte(text)) {
		copy(env[at:], bytes.Repeat([]byte("x"), len(text)))
		mem.WriteAt(env[at:at+len(text)], start+int64(at))
	}
}
