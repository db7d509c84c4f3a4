package manifest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// function writes files into a new directory.
func function(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoad(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  *Manifest
		err   string
	}{
		{"no manifest is the defaults", nil, Default(), ""},
		{"function.yaml", map[string]string{"function.yaml": "queue: 5"}, with(func(m *Manifest) { m.Queue = 5 }), ""},
		{"function.yml", map[string]string{"function.yml": "queue: 5"}, with(func(m *Manifest) { m.Queue = 5 }), ""},
		{"both", map[string]string{"function.yaml": "", "function.yml": ""}, nil,
			"function.yml: there is function.yaml too, and a function has one manifest (remove one of the two)"},
		{"a mistake", map[string]string{"function.yml": "queue: x"}, nil,
			`function.yml:1:8: queue must be a whole number, not "x"`},
		{"too large", map[string]string{"function.yaml": strings.Repeat("#", MaxFileSize+1)}, nil,
			"function.yaml: the file has more than 64 KiB"},
		{"as large as may be", map[string]string{"function.yaml": strings.Repeat("#", MaxFileSize)}, Default(), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Load(function(t, test.files))
			if err == nil && test.err != "" || err != nil && err.Error() != test.err {
				t.Errorf("Load error = %v, want %q", err, test.err)
			}
			var all Errors
			if err != nil && !errors.As(err, &all) {
				t.Errorf("Load error is a %T, want Errors", err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("Load = %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestLoadOfWhatIsNoFile(t *testing.T) {
	t.Run("no directory", func(t *testing.T) {
		if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Load = %v, want fs.ErrNotExist", err)
		}
	})
	t.Run("a directory for the manifest", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, FileName), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || err.Error() != "function.yaml: is not a plain file" {
			t.Errorf("Load = %v", err)
		}
	})
	t.Run("a link inside the directory", func(t *testing.T) {
		dir := function(t, map[string]string{"other.yaml": "queue: 5"})
		if err := os.Symlink("other.yaml", filepath.Join(dir, FileName)); err != nil {
			t.Fatal(err)
		}
		if m, err := Load(dir); err != nil || m.Queue != 5 {
			t.Errorf("Load = %+v, %v", m, err)
		}
	})
	t.Run("a link out of the directory", func(t *testing.T) {
		outside := function(t, map[string]string{"secret": "queue: 5"})
		dir := t.TempDir()
		if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, FileName)); err != nil {
			t.Fatal(err)
		}
		if m, err := Load(dir); err == nil {
			t.Errorf("Load = %+v, want an error", m)
		}
	})
}
