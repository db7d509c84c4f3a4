package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settle parses a command line as far as its settings.
func settle(t *testing.T, args ...string) (*app, *cobra.Command, error) {
	t.Helper()
	a := &app{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, stop: func() {}}
	root := a.root()
	cmd, rest, err := root.Find(args)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Fatal(err)
	}
	return a, cmd, a.settings.apply(cmd)
}

func TestPrecedence(t *testing.T) {
	const file = "http: file:1\ndrain: 5s\nverbose: true\nwatch: [a, b]\n"
	tests := []struct {
		name, file, variable, flag string
		setting, want              string
	}{
		{"default", "", "", "", "http", "127.0.0.1:8080"},
		{"file beats default", file, "", "", "http", "file:1"},
		{"variable beats file", file, "variable:1", "", "http", "variable:1"},
		{"flag beats variable", file, "variable:1", "--http=flag:1", "http", "flag:1"},
		{"flag beats file", file, "", "--http=flag:1", "http", "flag:1"},
		{"variable beats default", "", "variable:1", "", "http", "variable:1"},
		{"flag that says the default beats variable", file, "variable:1", "--http=127.0.0.1:8080", "http", "127.0.0.1:8080"},
		{"empty variable is none", file, "", "", "http", "file:1"},
		{"duration", file, "", "", "drain", "5s"},
		{"switch", file, "", "", "verbose", "true"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if test.file != "" {
				writeFile(t, configFile, test.file)
			}
			t.Setenv("FNHOST_HTTP", test.variable)
			args := []string{"dev"}
			if test.flag != "" {
				args = append(args, test.flag)
			}
			_, cmd, err := settle(t, args...)
			if err != nil {
				t.Fatal(err)
			}
			if got := cmd.Flags().Lookup(test.setting).Value.String(); got != test.want {
				t.Errorf("%s is %q, want %q", test.setting, got, test.want)
			}
		})
	}
}

func TestLists(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, configFile, "watch:\n  - a\n  - b\n")
	for _, test := range []struct{ variable, want string }{{"", "[a,b]"}, {"c,d,e", "[c,d,e]"}} {
		t.Setenv("FNHOST_WATCH", test.variable)
		_, cmd, err := settle(t, "dev")
		if err != nil {
			t.Fatal(err)
		}
		if got := cmd.Flags().Lookup("watch").Value.String(); got != test.want {
			t.Errorf("with FNHOST_WATCH=%q: %s, want %s", test.variable, got, test.want)
		}
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "other.yaml"), "data: state\ncache: /abs\n")
	t.Chdir(t.TempDir())
	_, cmd, err := settle(t, "dev", "--config", filepath.Join(dir, "other.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"data": filepath.Join(dir, "state"), "cache": "/abs"} {
		if got := cmd.Flags().Lookup(name).Value.String(); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestBadSettings(t *testing.T) {
	tests := []struct{ name, file, variable, want string }{
		{"unknown key", "http: a:1\n htp: b", "", "fnhost.yaml:"},
		{"near key", "# first\nhtpp: a:1\n", "", `fnhost.yaml:2:1: unknown setting "htpp" (did you mean "http"?)`},
		{"bad duration", "quiet: true\ndrain: soon\n", "", `fnhost.yaml:2:1: drain: "soon": want a duration`},
		{"mapping for a value", "http: {a: b}\n", "", "fnhost.yaml:1:1: http: want a plain value"},
		{"no value", "http:\n", "", "fnhost.yaml:1:1: http: want a plain value"},
		{"list for one value", "http: [a, b]\n", "", "fnhost.yaml:1:1: http"},
		{"no mapping", "- http\n", "", "want lines of the form"},
		{"repeated key", "http: a:1\nhttp: b:1\n", "", "fnhost.yaml:2:1: "},
		{"input of one call", "header: x\n", "", `unknown setting "header"`},
		{"bad variable", "", "soon", `FNHOST_DRAIN: "soon": want a duration`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			writeFile(t, configFile, test.file)
			t.Setenv("FNHOST_DRAIN", test.variable)
			_, _, err := settle(t, "dev")
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, test.want)
			}
		})
	}
}

func TestEmptySettingsFile(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n"} {
		t.Chdir(t.TempDir())
		writeFile(t, configFile, text)
		if _, _, err := settle(t, "dev"); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestServers(t *testing.T) {
	t.Setenv("FNHOST_ADMIN", "")
	t.Setenv("FNHOST_SERVER", "")
	tests := []struct{ name, file, flag, want, bad string }{
		{"by name", "servers:\n  staging: http://10.0.0.1:8081\n", "staging", "http://10.0.0.1:8081", ""},
		{"by URL", "servers: {staging: http://a:1}\n", "http://b:2", "http://b:2", ""},
		{"named in the file", "server: staging\nservers: {staging: http://a:1}\n", "", "http://a:1", ""},
		{"where dev would listen", "admin: 127.0.0.1:9\n", "", "http://127.0.0.1:9", ""},
		{"unknown", "servers: {staging: http://a:1}\n", "stagin", "", `did you mean "staging"?`},
		{"no URL", "", "ftp://a", "", "want http://HOST:PORT"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			writeFile(t, configFile, test.file)
			args := []string{"list"}
			if test.flag != "" {
				args = append(args, "--server", test.flag)
			}
			a, _, err := settle(t, args...)
			if err != nil {
				t.Fatal(err)
			}
			c, err := a.client()
			if test.bad != "" {
				if err == nil || !strings.Contains(err.Error(), test.bad) {
					t.Errorf("got %v, want %q", err, test.bad)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.URL() != test.want {
				t.Errorf("got %s, want %s", c.URL(), test.want)
			}
		})
	}
}

func TestHelpOfEachFlagNamesItsVariable(t *testing.T) {
	root := (&app{}).root()
	for _, cmd := range append(root.Commands(), root) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if isSetting(f) && !strings.HasSuffix(f.Usage, "["+variable(f.Name)+"]") {
				t.Errorf("%s --%s: the help does not name %s: %s", cmd.CommandPath(), f.Name, variable(f.Name), f.Usage)
			}
		})
	}
}

func TestParseSince(t *testing.T) {
	at, err := parseSince("10m")
	if d := time.Since(at); err != nil || d < 10*time.Minute || d > 11*time.Minute {
		t.Errorf("10m is %v ago, %v", d, err)
	}
	if at, err = parseSince("2026-01-02T15:04:05Z"); err != nil || at.Unix() != 1767366245 {
		t.Errorf("got %v, %v", at, err)
	}
	for _, bad := range []string{"yesterday", "-5m", "10"} {
		if _, err := parseSince(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
