// Package disktest gives a test a disk of its own, which it can fill up.
package disktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// dirVariable tells a test that was started anew where its disk is to be.
const dirVariable = "FNHOST_TEST_DISK"

// Run runs test with the directory of an empty disk of that many MiB, which lies in
// memory. The test runs in a process of its own, of this program, in name spaces
// in which it may mount: it needs not be root, but the system must allow user name
// spaces.
func Run(t *testing.T, size int, test func(t *testing.T, dir string)) {
	t.Helper()
	if dir := os.Getenv(dirVariable); dir != "" {
		if err := syscall.Mount("fnhost", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", size)); err != nil {
			t.Fatalf("mount: %v", err)
		}
		test(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), dirVariable+"="+t.TempDir())
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	err := cmd.Run()
	if errors.Is(err, os.ErrPermission) && os.Getuid() == 0 { // root may mount anyway
		retry := exec.Command(cmd.Path, cmd.Args[1:]...)
		retry.Env, retry.Stdout, retry.Stderr = cmd.Env, cmd.Stdout, cmd.Stderr
		retry.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		err = retry.Run()
	}
	if errors.Is(err, os.ErrPermission) {
		t.Fatalf("no name space to mount in: %v: allow user name spaces (sysctl kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0), or run as root", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Fill takes all that is free where dir lies. The function that it returns gives
// it back.
func Fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		n, err := f.Write(block)
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if n < len(block) {
			block = block[:len(block)/2]
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}
