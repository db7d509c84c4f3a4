package wall

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// libraries is what of the system a process sees that is the host's user, for whom
// files that only their owner may read are no secret.
var libraries = []string{"/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/usr/share", "/nix/store"}

// etcOfOwner is what it sees of /etc: that of etc, without keys.
var etcOfOwner = []string{
	"ssl/certs", "ssl/cert.pem", "ssl/ca-bundle.pem", "pki/tls/certs", "pki/tls/cert.pem", "pki/ca-trust/extracted",
	"resolv.conf", "hosts", "host.conf", "nsswitch.conf", "gai.conf", "localtime", "services", "protocols", "ld.so.cache", "alternatives",
}

// ofSystem returns what a process sees of the system, and of /etc.
func (s *Spec) ofSystem() (paths, names []string) {
	if s.KeepUser {
		return libraries, etcOfOwner
	}
	return system, etc
}

// paths returns what is shown with an access.
func (s *Spec) paths(a Access) []string {
	var list []string
	for _, one := range s.Shown {
		if one.Access == a {
			list = append(list, one.Path)
		}
	}
	return list
}

// below reports whether path is dir or lies below it.
func below(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// showMore mounts what is shown in the root at a directory, what lies in another one
// on top of that.
func (s *Spec) showMore(at string) error {
	list := slices.Clone(s.Shown)
	slices.SortStableFunc(list, func(a, b Shown) int { return strings.Compare(a.Path, b.Path) })
	for _, one := range list {
		target := at + one.Path
		if one.Access != Hide {
			if err := bind(one.Path, target); err != nil {
				return err
			}
			continue
		}
		if info, err := os.Lstat(target); err != nil || !info.IsDir() {
			continue // it is in nothing that is shown
		}
		if err := unix.Mount("fnhost", target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=1m"); err != nil {
			return fmt.Errorf("mount over %s: %w", one.Path, err)
		}
	}
	return nil
}

// lockRules are those of what is shown in a root of its own, where all may be read.
func (s *Spec) lockRules() []lockRule {
	var rules []lockRule
	for _, path := range s.paths(Write) {
		rules = append(rules, lockRule{path, Write})
	}
	return rules
}

// lockRulesInPlace are those of what is shown, without what is hidden.
func (s *Spec) lockRulesInPlace() []lockRule {
	var rules []lockRule
	hidden := s.paths(Hide)
	for _, one := range s.Shown {
		if one.Access != Hide {
			rules = one.without(rules, hidden)
		}
	}
	return rules
}

// without adds rules for all of one but what is hidden below it: what Landlock has
// allowed of a directory, it takes from nothing in it.
func (one Shown) without(rules []lockRule, hidden []string) []lockRule {
	if !slices.ContainsFunc(hidden, func(path string) bool { return below(one.Path, path) && path != one.Path }) {
		return append(rules, lockRule{one.Path, one.Access})
	}
	entries, err := os.ReadDir(one.Path)
	if err != nil {
		return rules
	}
	rules = append(rules, lockRule{one.Path, names})
	for _, e := range entries {
		path := filepath.Join(one.Path, e.Name())
		if slices.Contains(hidden, path) || e.Type()&os.ModeSymlink != 0 { // a rule would be about what it leads to
			continue
		}
		rules = Shown{path, one.Access}.without(rules, hidden)
	}
	return rules
}
