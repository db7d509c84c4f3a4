package wall

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var roles = map[string]func(){"echo": echo, "attack": attack, "eat": eat, "files": files, "fork": fork, "write": writeNote, "visit": visit, "dial": dial, "nothing": func() {}}

// attack tries to get out, in all ways that leave it alive, and writes for each a
// line: its name and what stopped it, nothing if it went through. Its arguments say
// what there is to attack.
func attack() {
	for _, a := range attacks(os.Args[1:]) {
		fmt.Printf("%s\t%v\n", a.name, a.try())
	}
}

type attempt struct {
	name string
	try  func() error
}

// argument returns the value of a name=value.
func argument(args []string, name string) string {
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			return v
		}
	}
	return ""
}

func attacks(args []string) []attempt {
	read := func(path string) func() error {
		return func() error { _, err := os.ReadFile(path); return err }
	}
	write := func(path string) func() error {
		return func() error { return os.WriteFile(path, []byte("was here"), 0o666) }
	}
	connect := func(network, address string) func() error {
		return func() error {
			c, err := net.DialTimeout(network, address, 5*time.Second)
			if err == nil {
				c.Close()
			}
			return err
		}
	}
	socket := func(family, kind, protocol int) func() error {
		return func() error {
			fd, err := unix.Socket(family, kind, protocol)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}
	}
	raw := func(number uintptr, a, b, c uintptr) func() error {
		return func() error {
			if _, _, errno := unix.Syscall(number, a, b, c); errno != 0 {
				return errno
			}
			return nil
		}
	}
	secret, host := argument(args, "secret"), argument(args, "host")
	hostPid, _ := strconv.Atoi(host)
	neighbour, _ := strconv.Atoi(argument(args, "neighbour"))
	path := func(s string) uintptr { p, _ := unix.BytePtrFromString(s); return uintptr(unsafe.Pointer(p)) }
	list := []attempt{
		{"inherited descriptors", onlyStandard},
		{"read shadow", read("/etc/shadow")},
		{"read data", read(secret)},
		{"list data", func() error { _, err := os.ReadDir(filepath.Dir(secret)); return err }},
		{"read neighbour's directory", func() error { _, err := os.ReadDir(argument(args, "neighbourDir")); return err }},
		{"read environ of init", read("/proc/1/environ")},
		{"read environ of host", read("/proc/" + host + "/environ")},
		{"root of host", read("/proc/" + host + "/root" + secret)},
		{"read the disk", func() error { f, err := os.Open("/dev/vda"); _ = f; return err }},
		{"write to the disk", func() error { return unix.Mknod("sda", unix.S_IFBLK|0o666, 8<<8) }},
		{"write outside", write("/outside")}, {"write to /etc", write("/etc/hosts")}, {"write to /usr", write("/usr/outside")},
		{"write to /tmp", write("/tmp/outside")}, {"write data", write(secret + ".new")},
		{"write own program", func() error {
			f, err := os.OpenFile(argument(args, "program"), os.O_WRONLY, 0)
			_ = f
			return err
		}},
		{"chmod data", func() error { return os.Chmod(secret, 0o777) }}, {"chmod data by number", raw(unix.SYS_FCHMODAT, ^uintptr(99), path(secret), 0o777)},
		{"age data", func() error { return os.Chtimes(secret, time.Time{}, time.Unix(1, 0)) }},
		{"attributes of data", func() error { return unix.Setxattr(secret, "user.x", []byte("x"), 0) }},
		{"remove data", func() error { return os.Remove(secret) }}, {"cut data", func() error { return os.Truncate(secret, 0) }},
		{"hard link", func() error { return os.Link(secret, "linked") }},
		{"symbolic link", func() error { os.Symlink(secret, "symbolic"); return read("symbolic")() }},
		{"tcp to host", connect("tcp", argument(args, "tcp"))}, {"udp", connect("udp", "127.0.0.1:53")},
		{"ipv6", connect("tcp", "[::1]:80")}, {"unix to host", connect("unix", argument(args, "unix"))},
		{"abstract to host", connect("unix", argument(args, "abstract"))},
		{"raw", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)}, {"packet", socket(unix.AF_PACKET, unix.SOCK_RAW, 0)},
		{"netlink", socket(unix.AF_NETLINK, unix.SOCK_RAW, 0)}, {"vsock", socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
		{"mptcp", socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)}, {"sctp", socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP)},
		{"alg", socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
		{"listen", func() error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				l.Close()
			}
			return err
		}},
		{"listen without bind", func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err == nil {
				err = unix.Listen(fd, 1)
			}
			return err
		}},
		{"trace neighbour", func() error { return unix.PtraceAttach(neighbour) }}, {"trace host", func() error { return unix.PtraceSeize(hostPid) }},
		{"read memory", func() error {
			b := make([]byte, 8)
			_, err := unix.ProcessVMReadv(hostPid, []unix.Iovec{{Base: &b[0], Len: 8}}, []unix.RemoteIovec{{Base: 4096, Len: 8}}, 0)
			return err
		}},
		{"pidfd of host", func() error {
			fd, err := unix.PidfdOpen(hostPid, 0)
			if err == nil {
				_, err = unix.PidfdGetfd(fd, 0, 0)
			}
			return err
		}},
		{"mount", func() error { return unix.Mount("x", "/tmp", "tmpfs", 0, "") }}, {"unmount", func() error { return unix.Unmount("/tmp", unix.MNT_DETACH) }},
		{"unshare user", func() error { return unix.Unshare(unix.CLONE_NEWUSER) }}, {"unshare mount", func() error { return unix.Unshare(unix.CLONE_NEWNS) }},
		{"clone user", raw(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD), 0, 0)}, {"clone pid", raw(unix.SYS_CLONE, unix.CLONE_NEWPID|uintptr(unix.SIGCHLD), 0, 0)},
		{"clone3 user", clone3(unix.CLONE_NEWUSER)}, {"clone3 mount", clone3(unix.CLONE_NEWNS)}, {"clone3 pid", clone3(unix.CLONE_NEWPID)}, {"setns", func() error { return unix.Setns(0, 0) }},
		{"chroot", func() error { return unix.Chroot(".") }}, {"pivot_root", func() error { return unix.PivotRoot(".", ".") }},
		{"setuid", func() error { return unix.Setresuid(0, 0, 0) }}, {"setuid of another", func() error { return unix.Setresuid(1, 1, 1) }},
		{"setgroups", func() error { return unix.Setgroups([]int{0, 42}) }},
		{"capabilities", func() error {
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			data := [2]unix.CapUserData{{Effective: 1 << unix.CAP_SYS_ADMIN, Permitted: 1 << unix.CAP_SYS_ADMIN}}
			return unix.Capset(&header, &data[0])
		}},
		{"bpf", raw(unix.SYS_BPF, 0, 0, 0)}, {"perf", raw(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0)}, {"userfaultfd", raw(unix.SYS_USERFAULTFD, 0, 0, 0)},
		{"io_uring", raw(unix.SYS_IO_URING_SETUP, 1, 0, 0)}, {"keyctl", raw(unix.SYS_KEYCTL, 0, 0, 0)}, {"kexec", raw(unix.SYS_KEXEC_LOAD, 0, 0, 0)},
		{"load a module", raw(unix.SYS_INIT_MODULE, 0, 0, 0)}, {"reboot", raw(unix.SYS_REBOOT, 0, 0, 0)}, {"swapoff", raw(unix.SYS_SWAPOFF, path("/x"), 0, 0)},
		{"set the clock", func() error { return unix.Settimeofday(&unix.Timeval{Sec: 1}) }}, {"set the host's name", func() error { return unix.Sethostname([]byte("x")) }},
		{"outlive the host", func() error { return unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) }},
		{"push input to a terminal", func() error { return unix.IoctlSetInt(0, unix.TIOCSTI, 0) }},
		{"raise limits", func() error { return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}) }},
		{"limits of the host", func() error {
			return unix.Prlimit(hostPid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
		}},
		{"slow the host down", func() error { return unix.Setpriority(unix.PRIO_PROCESS, hostPid, 19) }},
		{"slow the user down", func() error {
			if unix.Getpid() == 1 {
				return errors.New("its user is nobody else's")
			}
			return unix.Setpriority(unix.PRIO_USER, 0, 19)
		}},
		{"pin the host", func() error { return unix.SchedSetaffinity(hostPid, &unix.CPUSet{1}) }},
		{"shared memory", func() error {
			if unix.Getpid() == 1 {
				return errors.New("it has none of others")
			}
			return raw(unix.SYS_SHMGET, 1, 4096, unix.IPC_CREAT|0o600)()
		}},
		{"stop the host", func() error { return unix.Kill(hostPid, unix.SIGSTOP) }}, {"kill the host's group", func() error { return unix.Kill(-hostPid, unix.SIGKILL) }},
		{"kill the parent", func() error {
			if os.Getppid() == 0 {
				return errors.New("it has none")
			}
			return unix.Kill(os.Getppid(), unix.SIGKILL)
		}},
		{"kill neighbour", func() error { return unix.Kill(neighbour, unix.SIGKILL) }},
		{"kill all", func() error { // but itself
			if err := unix.Kill(-1, unix.SIGKILL); err != nil {
				return err
			}
			return errors.New("nobody there")
		}},
	}
	return list
}

// clone3 makes a child in new namespaces.
func clone3(flags uint64) func() error {
	return func() error {
		args := struct{ flags, pidfd, childTid, parentTid, exitSignal, stack, stackSize, tls uint64 }{flags: flags, exitSignal: uint64(unix.SIGCHLD)}
		pid, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
		switch {
		case errno != 0:
			return errno
		case pid == 0:
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		return nil
	}
}

// onlyStandard returns an error if no descriptors are open but those that are given,
// and those that the runtime has opened.
func onlyStandard() error {
	for fd := 3; fd < 1024; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 { // what the runtime has opened itself has the flag
			name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
			fmt.Println("descriptor", fd, name)
			return nil
		}
	}
	return errors.New("none")
}

// eat takes memory until it is stopped.
func eat() {
	var all [][]byte
	for len(all) < 10<<10 {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	fmt.Println("ate all", len(all))
}

// files writes to its directory until it is stopped.
func files() {
	f, err := os.Create("big")
	for n := 0; err == nil && n < 10<<10; n++ {
		_, err = f.Write(make([]byte, 1<<20))
	}
	fmt.Println("wrote:", err)
}

// fork starts children until it is stopped.
func fork() {
	n := 0
	var err error
	for ; n < 1000; n++ {
		cmd := exec.Command("/bin/sleep", "60")
		if err = cmd.Start(); err != nil {
			break
		}
	}
	fmt.Println("forked:", n, err)
	bufio.NewReader(os.Stdin).ReadString('\n')
}

// writeNote writes a file, and reads it.
func writeNote() {
	name := filepath.Join(os.TempDir(), "note")
	err := os.WriteFile(name, []byte("note"), 0o600)
	data, readErr := os.ReadFile("note")
	fmt.Println(errors.Join(err, readErr, os.Rename("note", "note2")), string(data))
}

// visit does to files what its arguments say.
func visit() {
	for _, arg := range os.Args[1:] {
		what, path, _ := strings.Cut(arg, " ")
		var err error
		switch what {
		case "read":
			_, err = os.ReadFile(path)
		case "write":
			err = os.WriteFile(path, []byte("was here"), 0o600)
		case "setuid":
			err = errors.Join(os.WriteFile(path, nil, 0o700), os.Chmod(path, 0o700|os.ModeSetuid))
		}
		fmt.Println(arg, err == nil)
	}
}

func dial() {
	c, err := net.Dial("tcp", os.Args[1])
	if err == nil {
		c.Close()
	}
	fmt.Println(err)
}

// target is what there is to attack: a host with a secret, sockets, and a neighbour.
type target struct {
	args      []string
	neighbour *inmate
}

func newTarget(t *testing.T, m *Machine) *target {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := buildWall(t, m, Spec{})
	n := run(t, w, "echo")
	if !n.answers() {
		t.Fatal("the neighbour does not answer")
	}
	g := &target{neighbour: n}
	add := func(name, value string) { g.args = append(g.args, name+"="+value) }
	for _, l := range [][3]string{{"tcp", "tcp", "127.0.0.1:0"}, {"unix", "unix", filepath.Join(dir, "socket")}, {"abstract", "unix", fmt.Sprintf("@fnhost-test-%d", os.Getpid())}} {
		listener, err := net.Listen(l[1], l[2])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		add(l[0], listener.Addr().String())
	}
	add("secret", secret)
	add("host", strconv.Itoa(os.Getpid()))
	add("neighbour", strconv.Itoa(n.Pid))
	add("neighbourDir", n.dir)
	add("program", w.spec.Program)
	return g
}

func TestNoAttackGetsThrough(t *testing.T) {
	for name, m := range machines() {
		t.Run(name, func(t *testing.T) {
			t.Logf("walls of %v; missing: %s", m.Parts(), m.Summary())
			if !m.seccomp || !m.rooted && m.landlock < 6 {
				t.Skip("what is tried here would get through, and harm this machine")
			}
			noAttackGetsThrough(t, m, false)
			t.Run("user", func(t *testing.T) { noAttackGetsThrough(t, m, true) })
		})
	}
}

func noAttackGetsThrough(t *testing.T, m *Machine, keepUser bool) {
	for _, network := range []Network{None, Outbound} {
		t.Run(string(network), func(t *testing.T) {
			g := newTarget(t, m)
			var mu sync.Mutex
			var told []string
			w := buildWall(t, m, Spec{Network: network, KeepUser: keepUser, Refused: func(r Refusal) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, r.String())
			}})
			a := run(t, w, "attack", g.args...)
			stopped := 0
			for line := a.line(); line != ""; line = a.line() {
				name, why, _ := strings.Cut(line, "\t")
				if why == "<nil>" && !expected(m, network, name, keepUser) {
					t.Errorf("%s: it went through", name)
				}
				stopped++
			}
			if state, _ := a.ended(); stopped != len(attacks(nil)) && m.rooted {
				t.Errorf("%d of %d attacks were told; the attacker ended with %v", stopped, len(attacks(nil)), state)
			}
			if !g.neighbour.answers() {
				t.Error("the neighbour does not answer any more")
			}
			mu.Lock()
			defer mu.Unlock()
			wants := []string{"look into another process", "make a namespace", "change what is mounted"}
			if network == None {
				wants = append(wants, "the function tried to open a network connection: write network: outbound in its function.yaml")
			}
			for _, want := range wants {
				n := 0
				for _, s := range told {
					if strings.Contains(s, want) {
						n++
					}
				}
				if n != 1 && m.notify {
					t.Errorf("%q was told %d times: %q", want, n, told)
				}
			}
		})
	}
}

// expected reports whether an attack is none: what a wall lets through that is as it is.
func expected(m *Machine, network Network, name string, keepUser bool) bool {
	switch name {
	case "tcp to host", "udp", "ipv6":
		return network == Outbound
	case "setuid": // to what it is
		return unix.Getuid() == 0 && (!m.rooted || keepUser)
	case "write to /tmp": // which is in memory, and the wall's own
		return keepUser && m.rooted
	case "unix to host":
		return network == Outbound && !m.rooted
	}
	return false
}

func TestLimitsStopWhoTakesAll(t *testing.T) {
	m := Probe()
	tests := []struct {
		role, want string // a line that it writes, or ends with
		verdict    string
		bounded    bool
	}{
		{"eat", "", "killed at its limit of memory, 256 MiB", m.groups.has("memory")},
		{"files", "no space left|file too large", "", true},
		{"fork", "resource temporarily unavailable", "met its limit of 64 processes", m.groups.has("pids")},
	}
	for _, test := range tests {
		t.Run(test.role, func(t *testing.T) {
			if test.role == "fork" && !test.bounded && !m.rooted {
				t.Skip("nothing bounds processes here")
			}
			n := run(t, buildWall(t, m, Spec{}), "echo")
			a := run(t, buildWall(t, m, Spec{Memory: 256 << 20, Processes: 64, Disk: 16 << 20}), test.role)
			var wrote []string
			for line := a.line(); line != ""; line = a.line() {
				wrote = append(wrote, line)
				if test.role == "fork" {
					break
				}
			}
			if !n.answers() {
				t.Error("the neighbour does not answer")
			}
			a.Kill()
			state, verdict := a.ended()
			text := strings.Join(wrote, "\n")
			if strings.Contains(text, "ate all") || test.want != "" && !slices.ContainsFunc(strings.Split(test.want, "|"), func(s string) bool { return strings.Contains(text, s) }) {
				t.Errorf("it wrote %.300s and ended with %v", text, state)
			}
			if test.bounded && !strings.Contains(verdict, test.verdict) {
				t.Errorf("verdict %q, want %q", verdict, test.verdict)
			}
		})
	}
}

// The same as an ordinary user: this test program, run by nobody.
func TestAnOrdinaryUserHasWallsToo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("it is run by one already")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "fnhost-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const nobody = 65534
	program := filepath.Join(dir, "wall.test")
	err = errors.Join(os.WriteFile(program, data, 0o755), os.Mkdir(filepath.Join(dir, "tmp"), 0o700), os.Chown(filepath.Join(dir, "tmp"), nobody, nobody), os.Chmod(dir, 0o755))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.run=TestNoAttackGetsThrough|TestLimitsStopWhoTakesAll")
	cmd.Dir, cmd.Env = dir, []string{"TMPDIR=" + filepath.Join(dir, "tmp"), "HOME=" + dir, "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestNoAttackGetsThrough") {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
