package redact

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestValuesAreHidden(t *testing.T) {
	const db, odd, pem = "hunter2-hunter2", "a\"b\\c<d>&é /?=\x01", "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\n  indented line\nshort\n-----END KEY-----\n"
	r := (*Redactor)(nil).With("db", []byte(db)).With("odd", []byte(odd)).With("tls/key", []byte(pem)).With("pin", []byte("12345")).With("number", []byte("1234567"))
	quoted, _ := json.Marshal(odd)
	std, web := base64.StdEncoding.EncodeToString, base64.URLEncoding.EncodeToString
	tests := []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"short", "hunte", "hunte"},
		{"no value", "hunter2 alone, and hunter2-hunter", "hunter2 alone, and hunter2-hunter"},
		{"as it is", db, "[secret db]"},
		{"in the middle, twice", "x" + db + db + "y", "x[secret db][secret db]y"},
		{"in JSON", string(quoted), `"[secret odd]"`},
		{"in a Go string", fmt.Sprintf("%q", odd), `"[secret odd]"`},
		{"in a query", "?p=" + url.QueryEscape(odd) + "&q=1", "?p=[secret odd]&q=1"},
		{"in a path", "/a/" + url.PathEscape(odd), "/a/[secret odd]"},
		{"in base64", std([]byte(db)), "[secret db]"},
		{"in base64 with padding", std([]byte(odd)), "[secret odd]" + strings.Repeat("=", strings.Count(std([]byte(odd)), "="))},
		{"in base64 for URLs", web([]byte(odd)), "[secret odd]" + strings.Repeat("=", strings.Count(web([]byte(odd)), "="))},
		{"a line of several", "key: MIIEvQIBADANBgkq", "key: [secret tls/key]"},
		{"an indented line of several", "indented line", "[secret tls/key]"},
		{"the frame of a PEM file", "-----BEGIN KEY-----", "-----BEGIN KEY-----"},
		{"all lines", strings.TrimSpace(pem), "-----BEGIN KEY-----\n[secret tls/key]\n  [secret tls/key]\nshort\n-----END KEY-----"},
		{"a value that is too short to look for", "12345", "12345"},
		{"a number", "n=1234567.", "n=[secret number]."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := r.Text(test.text); got != test.want {
				t.Errorf("%q becomes %q, want %q", test.text, got, test.want)
			}
			if got := (*Redactor)(nil).Text(test.text); got != test.text {
				t.Errorf("without secrets %q becomes %q", test.text, got)
			}
		})
	}
}

// In basic authentication, and wherever else it is encoded together with something.
func TestValuesAreHiddenInsideOfBase64(t *testing.T) {
	for size := MinValue; size < MinValue+8; size++ {
		value := strings.Repeat("Zz9", 10)[:size]
		r := (*Redactor)(nil).With("db", []byte(value))
		for before := range 5 {
			for after := range 5 {
				text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("u", before) + value + strings.Repeat("v", after)))
				if got := r.Text(text); !strings.Contains(got, "[secret db]") {
					t.Errorf("%d bytes after %d and before %d: %q becomes %q", size, before, after, text, got)
				}
			}
		}
	}
}

func TestJSONStaysJSON(t *testing.T) {
	r := (*Redactor)(nil).With("db", []byte("hunter2-hunter2")).With("n", []byte("1234567")).With("odd", []byte(`"a":"b"`))
	tests := []struct{ text, want string }{
		{``, ``},
		{`{"a":"b"}`, `{"a":"b"}`},
		{`{"a":"x hunter2-hunter2","hunter2-hunter2":[1,"hunter2-hunter2"]}`, `{"a":"x [secret db]","[secret db]":[1,"[secret db]"]}`},
		{`{"n":1234567,"m":[1234567.5],"k":1}`, `{"k":1,"m":["[secret n].5"],"n":"[secret n]"}`},
		{`{"a":"b","c":"d"}`, `{"a":"b","c":"d"}`},
	}
	for _, test := range tests {
		if got := string(r.JSON([]byte(test.text))); got != test.want {
			t.Errorf("%s becomes %s, want %s", test.text, got, test.want)
		}
	}
}

func TestOlderValuesStayHiddenForAWhile(t *testing.T) {
	var r *Redactor
	for i := range keepNamed + 2 {
		r = r.With("db", fmt.Appendf(nil, "value-%d-of-db", i))
		r = r.With("db", fmt.Appendf(nil, "value-%d-of-db", i))
	}
	r = r.With("other", []byte("another value"))
	for i := range keepNamed + 2 {
		text := fmt.Sprintf("value-%d-of-db", i)
		if hidden := r.Text(text) != text; hidden != (i >= 2) {
			t.Errorf("value %d: hidden %t", i, hidden)
		}
	}
	for i := range keepAll + 50 {
		r = r.With(fmt.Sprint("s", i), fmt.Appendf(nil, "value-%d", i))
	}
	if len(r.given) != keepAll {
		t.Errorf("%d values are kept", len(r.given))
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("hunter2-hunter2", "x hunter2-hunter2 y")
	f.Fuzz(func(t *testing.T, value, text string) {
		r := (*Redactor)(nil).With("db", []byte(value))
		if got := r.Text(text + value); len(value) >= MinValue && !strings.Contains(got, "[secret db]") {
			t.Errorf("%q with %q becomes %q", text, value, got)
		}
		b, err := json.Marshal(map[string]any{"a": text, "b": value + text, "c": len(text)})
		if err == nil && !json.Valid(r.JSON(b)) {
			t.Errorf("%s becomes %s", b, r.JSON(b))
		}
	})
}

func BenchmarkText(b *testing.B) {
	line := strings.Repeat("an ordinary line of output with nothing in it, ", 4) // 188 bytes
	for _, n := range []int{0, 1, 10, 100} {
		var r *Redactor
		for i := range n {
			r = r.With(fmt.Sprint("s", i), fmt.Appendf(nil, "sk_live_%d_%x", i, i*7919*104729))
		}
		b.Run(fmt.Sprintf("secrets=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				r.Text(line)
			}
		})
	}
}
