package manifest

import (
	"strings"
	"testing"
)

func TestValidName(t *testing.T) {
	for _, name := range []string{"a", "7", "orders", "pay-2", "a--b", "v", "v1x", "x-v1", strings.Repeat("a", 63)} {
		if err := ValidName(name); err != nil {
			t.Errorf("ValidName(%q) = %v", name, err)
		}
	}
	for _, name := range []string{"", "-", "-a", "a-", "A", "a.b", "a_b", "a b", "a\n", "é", "v0", "v12", "*", ">", strings.Repeat("a", 64)} {
		if err := ValidName(name); err == nil {
			t.Errorf("ValidName(%q) = nil", name)
		}
	}
	if got, want := ValidName("v3").Error(), `function name must not be "v3", which names a version`; got != want {
		t.Errorf("ValidName(v3) = %q, want %q", got, want)
	}
}

func TestNameFromDir(t *testing.T) {
	tests := []struct{ name, base, want string }{
		{"a valid name", "orders", "orders"},
		{"upper case", "OrderItems", "orderitems"},
		{"spaces, dots and underscores", "my_cool fn.go", "my-cool-fn-go"},
		{"other characters", "café+(1)", "caf1"},
		{"hyphens at the ends", "._a_.", "a"},
		{"nothing valid", "日本", ""},
		{"nothing", "", ""},
		{"a version", "V1", "v1"},
		{"too long", strings.Repeat("a", 62) + "_b", strings.Repeat("a", 62)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := NameFromDir(test.base); got != test.want {
				t.Errorf("NameFromDir(%q) = %q, want %q", test.base, got, test.want)
			}
		})
	}
}
