package secrets

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeysThatAreNotWholeSaySo(t *testing.T) {
	text := NewKey().Text()
	other := []byte(text)
	if other[20] == 'A' {
		other[20] = 'B'
	} else {
		other[20] = 'A'
	}
	tests := []struct{ name, text, want string }{
		{"nothing", "", "is empty"},
		{"only a comment", "# " + text, "is empty"},
		{"something else", "hunter2", "begins with fnmaster_"},
		{"cut", text[:len(text)-1], "cut short"},
		{"cut to the prefix", keyPrefix, "cut short"},
		{"too long", text + "A", "1 too many"},
		{"changed", string(other), "checksum"},
		{"a character of none", text[:30] + "!" + text[31:], "character"},
		{"twice", text + " " + text, "twice"},
		{"the second one cut", NewKey().Text() + "\n" + text[:40], "key 2: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseKeyring(test.text)
			wantErr(t, err, ErrKey)
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q in it", err, test.want)
			}
			for i := range len(text) - 12 {
				if i >= len(keyPrefix) && strings.Contains(err.Error(), text[i:i+12]) {
					t.Errorf("%v has a part of the key", err)
				}
			}
		})
	}
	two := NewKeyring(NewKey(), NewKey())
	again, err := ParseKeyring("# comment\n\n" + strings.ReplaceAll(two.Text(), "\n", " \t\r\n"))
	if err != nil || fmt.Sprint(again.IDs()) != fmt.Sprint(two.IDs()) || again.Primary() != two.Primary() {
		t.Errorf("parsed again: %v, %v", again, err)
	}
}

func TestKeysDoNotPrintThemselves(t *testing.T) {
	k := NewKey()
	bits := fmt.Sprintf("%x", k.bits[:4])
	numbers := fmt.Sprint(k.bits[:4])[1:]
	ring := NewKeyring(k)
	b, _ := json.Marshal([]any{k, ring})
	for _, text := range []string{fmt.Sprint(k, ring, *ring), fmt.Sprintf("%+v %#v %x %d %s %q", k, k, k, k, k, k), fmt.Sprintf("%+v %#v %x %d", *ring, *ring, *ring, ring), string(b)} {
		if strings.Contains(text, bits) || strings.Contains(text, numbers[:len(numbers)-1]) || strings.Contains(text, k.Text()[10:20]) {
			t.Errorf("it prints as %s", text)
		}
	}
}

func TestSources(t *testing.T) {
	dir := t.TempDir()
	k := NewKey()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(k.Text()), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open := write("open", 0o644)
	tests := []struct {
		name   string
		source Source
		want   string // in the error, "" for none
	}{
		{"a text", Source{Text: k.Text()}, ""},
		{"a file", Source{File: write("good", 0o600)}, ""},
		{"the own file", Source{Own: write("own", 0o400)}, ""},
		{"a command", Source{Command: []string{"printf", "%s", k.Text()}}, ""},
		{"a file that others may read", Source{File: open}, "chmod 600"},
		{"no file", Source{File: filepath.Join(dir, "none")}, "no such file"},
		{"no program", Source{Command: []string{"/none/whatever"}}, "no such file"},
		{"a command that fails", Source{Command: []string{"sh", "-c", "echo locked >&2; echo " + k.Text() + "; exit 3"}}, "exit status 3; it wrote:\n\tlocked"},
		{"a command that prints too much", Source{Command: []string{"sh", "-c", "head -c 100000 /dev/zero"}}, "more than"},
		{"a command that prints no key", Source{Command: []string{"echo", "secret-that-is-none"}}, "begins with"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ring, err := test.source.Load(t.Context())
			if test.want == "" {
				if err != nil || ring.Primary() != k {
					t.Errorf("%v, %v", ring, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret-that") || strings.Contains(err.Error(), k.Text()) {
				t.Errorf("%v, want %q in it", err, test.want)
			}
		})
	}
	if ring, err := (&Source{Own: filepath.Join(dir, "none")}).Load(t.Context()); ring != nil || err != nil {
		t.Errorf("a host without a key: %v, %v", ring, err)
	}
	if err := (&Source{Text: "a", File: "b"}).Validate(); err == nil {
		t.Error("two sources are fine")
	}
}

func FuzzParseKeyring(f *testing.F) {
	f.Add(NewKey().Text())
	f.Add("# x\n" + NewKeyring(NewKey(), NewKey()).Text())
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseKeyring(text)
		if err != nil {
			return
		}
		again, err := ParseKeyring(r.Text())
		if err != nil || fmt.Sprint(again.IDs()) != fmt.Sprint(r.IDs()) {
			t.Errorf("%q: %v is %v again, %v", text, r.IDs(), again.IDs(), err)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	ring := NewKeyring(NewKey())
	r := &record{Format: recordFormat, Namespace: "default", Name: "db", Version: 3}
	r.Sealed = ring.Seal([]byte("value"), r.place()...)
	f.Add("default.3.db", r.encode())
	f.Add("check", []byte(`{"format":1,"name":".check"}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		parseRecordKey(key)
		got, err := decodeRecord(key, value)
		if err != nil {
			return
		}
		if b, err := ring.Open(got.Sealed, got.place()...); err == nil && (string(b) != "value" || key != "default.3.db") {
			t.Errorf("%q opens as %q", key, b)
		}
		if again, err := decodeRecord(key, got.encode()); err != nil || fmt.Sprint(again.place()) != fmt.Sprint(got.place()) {
			t.Errorf("%+v is %+v again, %v", got, again, err)
		}
	})
}
