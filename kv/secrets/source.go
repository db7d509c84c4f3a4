package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Source is where master keys come from: one of a text, a command and a file, or else
// the file Own. Its fields must not be changed once it is used.
type Source struct {
	// Text is the keys themselves, as [ParseKeyring] takes them: those of an
	// environment variable, for example.
	Text string
	// Command is a program with its arguments, which prints the keys. It is run without
	// a shell, with the environment of this process.
	Command []string
	// File holds the keys. Nobody but its owner may read it.
	File string
	// Own is such a file that belongs to the host: it is made when there is no other
	// source and the first secret is set, and written by [Store.Rotate].
	Own string
}

// commandTime bounds the run of a command.
const commandTime = 30 * time.Second

// Validate returns an error for a source that is several.
func (s *Source) Validate() error {
	n := 0
	for _, set := range []bool{s.Text != "", len(s.Command) > 0, s.File != ""} {
		if set {
			n++
		}
	}
	if n > 1 {
		return errors.New("the master key comes from one of FNHOST_MASTER_KEY, a file and a command: choose one")
	}
	return nil
}

// owned reports whether the keys are the host's own file.
func (s *Source) owned() bool { return s.Text == "" && len(s.Command) == 0 && s.File == "" }

// String says where the keys come from.
func (s *Source) String() string {
	switch {
	case s.Text != "":
		return "FNHOST_MASTER_KEY"
	case len(s.Command) > 0:
		return "the command " + s.Command[0]
	case s.File != "":
		return s.File
	}
	return s.Own
}

// Wanted says, of a key that is not among those of the source, what is there instead, and
// what to do.
func (s *Source) Wanted(ring *Keyring) string {
	have := s.String() + " is not there"
	if ids := ring.IDs(); len(ids) > 0 {
		have = s.String() + " has " + strings.Join(ids, ", ")
	}
	if s.owned() {
		return have + ": put the right one there (mode 0600), or name it with --master-key-file"
	}
	return have + ": give the right one there, or with --master-key-file instead"
}

// Load returns the keys, nil if the host has none and nobody has named another source.
// The error wraps [ErrKey] for a text that is no key; it never holds one.
func (s *Source) Load(ctx context.Context) (*Keyring, error) {
	text, err := s.read(ctx)
	if s.owned() && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	defer clear(text)
	r, err := ParseKeyring(string(text))
	if err != nil {
		return nil, fmt.Errorf("master key: %s: %w", s, err)
	}
	return r, nil
}

func (s *Source) read(ctx context.Context) ([]byte, error) {
	switch {
	case s.Text != "":
		return []byte(s.Text), nil
	case len(s.Command) > 0:
		return runCommand(ctx, s.Command)
	case s.File != "":
		return readKeys(s.File)
	}
	return readKeys(s.Own)
}

// readKeys reads a file that nobody else may read.
func readKeys(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so that others may read it: `chmod 600 %s`, and consider whether somebody has", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(text) > maxText {
		err = fmt.Errorf("%s: %w: it has more than %d bytes", path, ErrKey, maxText)
	}
	return text, err
}

// runCommand returns what a program prints. What it says beside goes into the error.
func runCommand(ctx context.Context, argv []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // its children, too
	cmd.WaitDelay = time.Second
	out, said := &limited{max: maxText}, &limited{max: 1000}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		err = fmt.Errorf("it did not end within %v", commandTime)
	case err == nil && out.over:
		err = fmt.Errorf("%w: it printed more than %d bytes", ErrKey, maxText)
	}
	if err != nil {
		clear(out.buf.Bytes())
		err = fmt.Errorf("the command %s: %w", argv[0], err)
		if text := strings.TrimSpace(said.buf.String()); text != "" {
			err = fmt.Errorf("%w; it wrote:\n\t%s", err, strings.ReplaceAll(text, "\n", "\n\t"))
		}
		return nil, err
	}
	return out.buf.Bytes(), nil
}

// limited keeps the first max bytes of what is written.
type limited struct {
	buf  bytes.Buffer
	max  int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	room := l.max - l.buf.Len()
	l.over = l.over || len(p) > room
	l.buf.Write(p[:min(len(p), room)])
	return len(p), nil
}

// writeOwn writes the host's own file, whole or not at all, and returns when it is on
// the disk.
func (s *Source) writeOwn(r *Keyring) error {
	text := "# Master key of the secrets of this host. Whoever has it and the streams has the secrets.\n" + r.Text()
	if err := WriteFile(s.Own, []byte(text)); err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	return nil
}

// WriteFile writes a file that only its owner may read, whole or not at all, and returns
// when it is on the disk.
func WriteFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
