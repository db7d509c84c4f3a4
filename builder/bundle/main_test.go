package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeFiles writes a tree: "dir/" is a directory, "name@" a link to the contents,
// "name*" an executable.
func writeFiles(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, strings.TrimRight(name, "@*"))
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			switch name[len(name)-1] {
			case '/':
				err = os.MkdirAll(path, 0o755)
			case '@':
				err = os.Symlink(content, path)
			case '*':
				err = os.WriteFile(path, []byte(content), 0o755)
			default:
				err = os.WriteFile(path, []byte(content), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func writeTree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	writeFiles(t, dir, files)
	return dir
}

// readTree is the reverse of writeTree, without directories.
func readTree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		var content string
		switch {
		case e.Type() == fs.ModeSymlink:
			content, err = os.Readlink(path)
			name += "@"
		case info.Mode().IsRegular():
			var data []byte
			data, err = os.ReadFile(path)
			content = string(data)
			if info.Mode()&0o100 != 0 {
				name += "*"
			}
		default:
			t.Errorf("%s: %v", path, info.Mode())
		}
		files[name] = content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func pack(t testing.TB, dir string) ([]byte, Summary) {
	t.Helper()
	var buf bytes.Buffer
	s, err := Pack(t.Context(), dir, &buf, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), s
}

func paths(s Summary) []string {
	list := make([]string, len(s.Entries))
	for i, e := range s.Entries {
		list[i] = e.Path
	}
	return list
}

// archive makes a tar of headers, with contents for the regular files.
func archive(t testing.TB, list ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range list {
		content := ""
		if h.Typeflag == tar.TypeReg || h.Typeflag == 0 {
			content = "content of " + h.Name
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func compress(data []byte) []byte {
	var buf bytes.Buffer
	w, _ := gzip.NewWriterLevel(&buf, gzip.NoCompression)
	w.Write(data)
	w.Close()
	return buf.Bytes()
}

func wantError(t testing.TB, err, kind error, parts ...string) {
	t.Helper()
	var e *Error
	if !errors.Is(err, kind) || !errors.As(err, &e) {
		t.Fatalf("error %v, want an *Error that is %q", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not speak of %q", err, part)
		}
	}
}

// git runs git in dir, with no settings but those of the repository.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "GIT_") }),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir, "XDG_CONFIG_HOME="+dir)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, exit.Stderr)
		}
		t.Fatalf("these tests compare with git: %v", err)
	}
	return string(out)
}

// gitFiles lists what git would take from dir.
func gitFiles(t testing.TB, dir string) []string {
	t.Helper()
	out := git(t, dir, "ls-files", "-co", "--exclude-standard", "-z")
	list := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	if out == "" {
		list = nil
	}
	slices.Sort(list)
	return list
}
