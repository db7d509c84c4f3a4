package builder

import (
	"fmt"
	"strings"
	"testing"
)

func TestDetectRefusesWhatJSONHasNothingFor(t *testing.T) {
	const skip = `, or leave the field out with the tag json:"-"`
	tests := []struct {
		name, code   string
		line, column int
		want         string // behind "f.go:line:column: "
	}{
		{"channel in", "func Handle(c chan int) {}", 3, 15,
			"Handle is no handler: no JSON becomes its input: chan int is a channel (chan int): use a type that has JSON"},
		{"channel out", "func HandleX() (<-chan int, error) { return nil, nil }", 3, 17,
			"HandleX is no handler: its result never becomes JSON: <-chan int is a channel (<-chan int): return an iter.Seq, which goes out as it is yielded"},
		{"function in", "func Handle(f func()) {}", 3, 15, "Handle is no handler: no JSON becomes its input: func() is a function (func()): use a type that has JSON"},
		{"function out", "func Handle() func(a, b int) { return nil }", 3, 15, "Handle is no handler: its result never becomes JSON: func(a, b int) is a function (func(a, b int)): use a type that has JSON"},
		{"complex", "func Handle() complex128 { return 1 }", 3, 15, "Handle is no handler: its result never becomes JSON: complex128 is a complex number (complex128): use a type that has JSON"},
		{"error in", "func Handle(err error) {}", 3, 17, "Handle is no handler: no JSON becomes its input: error is an interface with methods (error): use a type that has JSON"},
		{"map", "func Handle(map[bool]int) {}", 3, 13,
			"Handle is no handler: no JSON becomes its input: map[bool]int is a map with keys that are no text (map[bool]int): use strings or whole numbers as keys, or a key type with MarshalText and UnmarshalText"},
		{"field", "type In struct {\n\tName string\n\tDone chan bool\n}\n\nfunc Handle(in *In) {}", 5, 7,
			"Handle is no handler: no JSON becomes its input: Done of In is a channel (chan bool): use a type that has JSON" + skip},
		{"declared later, nested", "func Handle() (a []Out, err error) { return }\n\ntype Out struct{ Lines map[string]*Line }\ntype Line struct {\n\tCall Fn `json:\"call\"`\n}\ntype Fn func()\n", 7, 7,
			"Handle is no handler: its result never becomes JSON: [].Lines[].Call of []Out is a function (func()): use a type that has JSON" + skip},
		{"struct without a name", "func Handle(struct{ P unsafe.Pointer }) {}", 3, 23,
			"Handle is no handler: no JSON becomes its input: P of struct{ P unsafe.Pointer } is an unsafe pointer (unsafe.Pointer): use a type that has JSON" + skip},
		{"interface in a field", "type In struct{ R interface{ Run() } }\n\nfunc Handle(in In) {}", 3, 19,
			"Handle is no handler: no JSON becomes its input: R of In is an interface with methods (interface{ Run() }): use a type that has JSON" + skip},
		{"interface by name", "type Runner interface{ Run() }\n\nfunc Handle(in Runner) {}", 5, 16,
			"Handle is no handler: no JSON becomes its input: Runner is an interface with methods (interface{ Run() }): use a type that has JSON"},
		{"keys of a struct", "type K struct{ A int }\ntype L = K\n\nfunc Handle() map[L]int { return nil }", 6, 15,
			"Handle is no handler: its result never becomes JSON: map[L]int is a map with keys that are no text (map[L]int): use strings or whole numbers"},
		{"embedded", "type Base struct{ C chan int }\ntype In struct{ *Base; N int }\n\nfunc Handle(in In) {}", 3, 21,
			"Handle is no handler: no JSON becomes its input: C of In is a channel (chan int): use a type"},
		{"stream", "func Handle() iter.Seq2[Item, error] { return nil }\n\ntype Item struct{ C chan int }", 5, 21,
			"Handle is no handler: its result never becomes JSON: C of Item is a channel (chan int)"},
		{"recursive", "type Node struct{ Next, Prev *Node; C complex64 }\n\nfunc Handle(n Node) Node { return n }", 3, 39,
			"Handle is no handler: no JSON becomes its input: C of Node is a complex number"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := writeTree(t, map[string]string{"f.go": "package f; import (\"iter\"; \"unsafe\")\n\n" + test.code})
			_, err := Detect(dir)
			list := diagnosticsOf(t, err)
			want := fmt.Sprintf("f.go:%d:%d: %s", test.line, test.column, test.want)
			if got := places(list[:1], dir); !strings.HasPrefix(got, want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if !strings.HasSuffix(list[0].Excerpt, "^\n") {
				t.Errorf("excerpt %q", list[0].Excerpt)
			}
		})
	}
}

// What JSON has something for, and what only the worker can tell.
func TestDetectAcceptsTypesThatMayHaveJSON(t *testing.T) {
	tests := []string{
		"func Handle(in any) any { return in }",
		"func Handle(in interface{}) error { return nil }",
		"func Handle() interface{ Run() } { return nil }",
		"func Handle(map[int8][]byte) map[string]map[uint]any { return nil }",
		"type In struct { C chan int `json:\"-\"`; f func(); _ complex64 }\n\nfunc Handle(in In) In { return in }",
		"type In struct { C chan int }\n\nfunc (*In) UnmarshalJSON([]byte) error { return nil }\n\nfunc Handle(in In) {}",
		"type In chan int\n\nfunc Handle(in *In) {}\n\nfunc (In) MarshalText() ([]byte, error) { return nil, nil }",
		"type K struct{ A int }\n\nfunc (*K) UnmarshalText([]byte) error { return nil }\n\nfunc Handle(in map[K]int) {}",
		"type K struct{ time.Time }\n\nfunc Handle(in map[K]int) {}",
		"type In struct { time.Time; C chan int }\n\nfunc Handle(in In) {}",
		"type Own struct { time.Time `json:\"-\"`; C chan int }\ntype In struct{ Own }\n\nfunc Handle(in In) {}",
		"type In[T any] struct { V T; M map[T]int }\n\nfunc Handle(in In[string]) {}",
		"type Base struct{ C chan int }\ntype In struct{ Base; C int }\n\nfunc Handle(in In) {}",
		"type Base struct{ C chan int }\ntype In struct{ Base; D int `json:\"C\"` }\n\nfunc Handle(in In) {}",
		"type Base struct{ C chan int }\ntype More struct{ C int }\ntype In struct{ Base; More }\n\nfunc Handle(in In) {}",
		"type Node struct { Next *Node; All []Node; By map[string]Node }\n\nfunc Handle(in Node) *Node { return nil }",
		"type Stream func(yield func(int) bool)\n\nfunc Handle() Stream { return nil }\n\nfunc HandleX() func(func(int, error) bool) { return nil }",
		"func Handle() iter.Seq[int] { return nil }\n\nfunc HandleX() iter.Seq2[[]byte, error] { return nil }",
		"type error struct{ A int }\ntype complex64 string\n\nfunc Handle(in struct { E error; C complex64 }) {}",
		"type A B\ntype B A\n\nfunc Handle(in map[A]int) A { panic(0) }", // for the compiler to refuse
		"type T struct{ T; *T; A int }\n\nfunc Handle(in T) {}",
		"func Handle(w http.ResponseWriter, r *http.Request) {}",
	}
	for _, code := range tests {
		t.Run(code, func(t *testing.T) {
			dir := writeTree(t, map[string]string{"f.go": "package f\n\nimport (\n\t\"iter\"\n\t\"net/http\"\n\t\"time\"\n)\n\n" + code})
			if _, err := Detect(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWideEmbeddingIsNotFollowedForEver(t *testing.T) {
	var code strings.Builder
	code.WriteString("package f\n\nfunc Handle(in L0) {}\n")
	for level := range 8 {
		fmt.Fprintf(&code, "type L%d struct{", level)
		for i := range 20 {
			fmt.Fprintf(&code, " A%d_%d;", level, i)
		}
		code.WriteString(" }\n")
		for i := range 20 {
			fmt.Fprintf(&code, "type A%d_%d struct{ L%d }\n", level, i, level+1)
		}
	}
	code.WriteString("type L8 struct{}\n")
	if _, err := Detect(writeTree(t, map[string]string{"f.go": code.String()})); err != nil {
		t.Error(err)
	}
}
