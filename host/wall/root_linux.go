package wall

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Paths behind a wall with a root of its own.
const (
	// rootBelow is where the root lies in the outermost mount. Whose root is not that of its
	// mounts makes no user namespace, however it asks: the kernel refuses that.
	rootBelow    = "/root"
	innerProgram = "/fn/program"
	innerTmp     = "/tmp"
)

// system is what of this machine a process sees, to read and to execute.
var system = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"}

// etc is what it sees of /etc: what resolves names and addresses, verifies
// certificates and tells the time.
var etc = []string{
	"ssl", "ca-certificates", "ca-certificates.conf", "pki", "resolv.conf", "hosts", "host.conf", "hostname", "nsswitch.conf", "gai.conf",
	"localtime", "timezone", "passwd", "group", "services", "protocols", "mime.types", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives",
}

// devices are those that it has.
var devices = []string{"null", "zero", "full", "random", "urandom"}

// spaces are the namespaces of a wall with a root of its own; a process gets one
// of process IDs when it starts.
const spaces = unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// enter takes the thread into namespaces of its own, with a root that has nothing
// but what the wall lets through: no file of the host, no socket, no process.
// at is a directory on which the new root is mounted meanwhile. uid is the user of
// what it will start.
func (s *Spec) enter(at string, uid int) error {
	flags := spaces
	if s.Network == None {
		flags |= unix.CLONE_NEWNET
	}
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	unix.Umask(0o022) // of this thread alone, from here on: what the root has is for its user to see
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("fnhost", at, "tmpfs", unix.MS_NOSUID, "mode=0755,size=1m"); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := s.furnish(at); err != nil {
		return err
	}
	if err := pivot(at); err != nil {
		return err
	}
	if s.KeepUser {
		return nil
	}
	return assume(uid)
}

// pivot makes what is mounted at a directory the root of the thread.
func pivot(at string) error {
	if err := unix.Chdir(at); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil { // what was the root lies on top
		return fmt.Errorf("unmount: %w", err)
	}
	if err := unix.Chroot(rootBelow); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return os.Chdir("/")
}

// furnish fills a new root, below what is mounted at a directory.
func (s *Spec) furnish(at string) error {
	root := at + rootBelow
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := s.showAll(root); err != nil {
		return err
	}
	if err := s.makeTmp(root + innerTmp); err != nil {
		return err
	}
	if err := s.showMore(root); err != nil {
		return err
	}
	return s.protect(at)
}

// showAll makes visible in a root what processes see of this machine.
func (s *Spec) showAll(at string) error {
	libs, names := s.ofSystem()
	for _, path := range libs {
		if err := show(path, at+path); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := show("/etc/"+name, at+"/etc/"+name); err != nil {
			return err
		}
	}
	for _, name := range devices {
		if err := bind("/dev/"+name, at+"/dev/"+name); err != nil {
			return err
		}
	}
	if s.Program != "" {
		if err := bind(s.Program, at+innerProgram); err != nil {
			return err
		}
	}
	for _, empty := range []string{"/proc", "/sys", "/run", "/var", innerTmp} {
		if err := os.Mkdir(at+empty, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// protect makes all that is mounted at a root read-only, but for what may be written. An
// old kernel does not know the call: Landlock and the owners of the files say the same.
func (s *Spec) protect(at string) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}
	err := unix.MountSetattr(unix.AT_FDCWD, at, unix.AT_RECURSIVE, &attr)
	if errors.Is(err, unix.ENOSYS) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read-only mounts: %w", err)
	}
	write := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV, Attr_clr: unix.MOUNT_ATTR_RDONLY}
	for _, path := range append(s.paths(Write), innerTmp) {
		if err := unix.MountSetattr(unix.AT_FDCWD, at+rootBelow+path, 0, &write); err != nil {
			return fmt.Errorf("mount %s to be written: %w", path, err)
		}
	}
	return nil
}

// show makes what is at path visible at target; it need not be there.
func show(path, target string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	if info.Mode()&os.ModeSymlink != 0 {
		link, err := os.Readlink(path)
		if err != nil {
			return err
		}
		if shown(filepath.Join(filepath.Dir(path), link)) || filepath.IsAbs(link) && shown(link) {
			return errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.Symlink(link, target))
		}
		if _, err := os.Stat(path); err != nil {
			return nil // it leads nowhere
		}
	}
	return bind(path, target)
}

// shown reports whether a path lies in what a process sees.
func shown(path string) bool {
	return slices.ContainsFunc(system, func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") })
}

// bind mounts the file or directory at path on target, which it makes.
func bind(path, target string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if _, there := os.Lstat(target); there == nil {
		// In what is shown already, which is not to be written to.
	} else if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		err = os.WriteFile(target, nil, 0o644)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(path, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s: %w", path, err)
	}
	return nil
}

// makeTmp mounts what the processes may write: files in memory, of bounded size,
// which the kernel removes with the wall, however the host ends.
func (s *Spec) makeTmp(at string) error {
	options := fmt.Sprintf("mode=0711,size=%d,nr_inodes=%d", s.Disk, 1024+s.Disk>>12)
	if err := unix.Mount("fnhost", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount %s: %w", innerTmp, err)
	}
	return nil
}
