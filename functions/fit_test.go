package functions

import (
	"encoding/json"
	"io"
	"iter"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// Types that encode or decode themselves, though encoding/json could not.
type (
	ownBoth    chan int
	ownPointer struct{ C chan int } // by methods of its pointer
	ownText    struct{ F func() }
	onlyWrites func()
	onlyReads  struct{ C complex64 }
)

func (ownBoth) MarshalJSON() ([]byte, error)     { return []byte("1"), nil }
func (*ownBoth) UnmarshalJSON([]byte) error      { return nil }
func (*ownPointer) MarshalJSON() ([]byte, error) { return []byte("1"), nil }
func (*ownPointer) UnmarshalJSON([]byte) error   { return nil }
func (ownText) MarshalText() ([]byte, error)     { return []byte("x"), nil }
func (*ownText) UnmarshalText([]byte) error      { return nil }
func (onlyWrites) MarshalJSON() ([]byte, error)  { return []byte("1"), nil }
func (*onlyReads) UnmarshalJSON([]byte) error    { return nil }

type (
	endless  *endless
	list     struct{ Next, Prev *list }
	listWith struct {
		Next *listWith
		Done chan int
	}
	textKey  struct{ A int }
	withChan struct{ C chan int }
)

func (textKey) MarshalText() ([]byte, error)  { return []byte("k"), nil }
func (*textKey) UnmarshalText([]byte) error   { return nil }
func fitsNot[T any](in, out string) misfitRow { return misfitRow{reflect.TypeFor[T](), in, out} }

// misfitRow is a type, with how what is wrong with it as input and as output begins.
type misfitRow struct {
	of      reflect.Type
	in, out string
}

func both[T any](what string) misfitRow { return fitsNot[T](what, what) }
func good[T any]() misfitRow            { return fitsNot[T]("", "") }

func TestWhatJSONHasNothingFor(t *testing.T) {
	tests := []misfitRow{
		good[int](), good[any](), good[map[string]any](), good[*list](), good[time.Time](), good[big.Int](), good[netip.Addr](),
		good[json.RawMessage](), good[[]byte](), good[map[int8]bool](), good[map[textKey]int](), good[struct{ a chan int }](),
		good[struct {
			C chan int `json:"-"`
		}](),
		good[ownBoth](), good[[]ownBoth](), good[*ownPointer](), good[[]ownPointer](), good[ownText](), good[struct{ T ownText }](),
		good[struct { // what is hidden is not seen
			withChan
			C int
		}](),
		both[chan int]("chan int is a channel (chan int): use a type that has JSON"),
		both[func()]("func() is a function"),
		both[complex64]("complex64 is a complex number"),
		both[unsafe.Pointer]("unsafe.Pointer is an unsafe pointer"),
		both[**struct{ C <-chan int }]("C of struct { C <-chan int } is a channel (<-chan int)"),
		both[withChan](`C of functions.withChan is a channel (chan int): use a type that has JSON, or leave the field out with the tag json:"-"`),
		both[[]map[string]*withChan]("[][].C of []map[string]*functions.withChan is a channel"),
		both[[]chan int]("[] of []chan int is a channel"),
		both[[2]func()]("[] of [2]func() is a function"),
		both[listWith]("Done of functions.listWith is a channel"),
		both[struct{ withChan }]("C of struct { functions.withChan } is a channel"),
		both[struct{ L []struct{ F func(int) } }]("L[].F of struct"),
		both[map[struct{ A int }]int]("map[struct { A int }]int is a map with keys that are no text (map[struct { A int }]int): use strings or whole numbers as keys"),
		both[map[bool]int]("map[bool]int is a map with keys that are no text"),
		both[map[any]int]("map[interface {}]int is a map with keys"),
		both[struct{ M map[float64]int }]("M of struct { M map[float64]int } is a map with keys"),
		both[endless]("functions.endless is a pointer to pointers without end"),
		fitsNot[io.Writer]("io.Writer is an interface with methods (io.Writer): use a type that has JSON", ""),
		fitsNot[struct{ E error }]("E of struct { E error } is an interface with methods (error)", ""),
		fitsNot[json.Marshaler]("json.Marshaler is an interface with methods", ""),
		fitsNot[ownPointer]("", "C of functions.ownPointer is a channel"), // a value has no address
		fitsNot[map[string]ownPointer]("", "[].C of map[string]functions.ownPointer is a channel"),
		fitsNot[onlyWrites]("functions.onlyWrites is a function", ""),
		fitsNot[onlyReads]("", "C of functions.onlyReads is a complex number"),
		fitsNot[map[*textKey]int]("map[*functions.textKey]int is a map with keys", ""),
	}
	for _, test := range tests {
		for _, side := range []struct {
			decode bool
			want   string
		}{{true, test.in}, {false, test.out}} {
			got := ""
			if m := misfitOf(test.of, side.decode); m != nil {
				got = m.text(test.of)
			}
			if (got == "") != (side.want == "") || !strings.HasPrefix(got, side.want) {
				t.Errorf("%v, decode %v: %q, want %q", test.of, side.decode, got, side.want)
			}
		}
		if test.of != reflect.TypeFor[endless]() {
			checkAgainstJSON(t, test.of, test.out == "")
		}
	}
}

// checkAgainstJSON holds that encoding/json agrees, for a value with something
// in each of its pointers, slices and maps.
func checkAgainstJSON(t *testing.T, of reflect.Type, fits bool) {
	t.Helper()
	v := reflect.New(of).Elem()
	fill(v, 4)
	if _, err := json.Marshal(v.Interface()); (err == nil) != fits {
		t.Errorf("%v: Marshal = %v, but fits is %v", of, err, fits)
	}
}

// fill puts something into the pointers, slices and maps of v.
func fill(v reflect.Value, depth int) {
	if depth == 0 || !v.CanSet() {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth-1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte("1"))
		}
		fill(v.Index(0), depth)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		elem := reflect.New(v.Type().Elem()).Elem()
		fill(elem, depth-1)
		v.SetMapIndex(reflect.Zero(v.Type().Key()), elem)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), depth-1)
		}
	}
}

func namedHandler(in withChan) error { return nil }

func (withChan) Handle() chan int { return nil }

func TestHandlersOfTypesWithoutJSONAreRefused(t *testing.T) {
	tests := []struct {
		name string
		fn   any
		want string
	}{
		{"input", namedHandler, `functions: endpoint "x": namedHandler is not a handler: no JSON becomes its input: C of functions.withChan is a channel (chan int): use a type`},
		{"method", withChan{}.Handle, `functions: endpoint "x": withChan.Handle is not a handler: its result never becomes JSON: chan int is a channel (chan int): return an iter.Seq, `},
		{"stream", func() iter.Seq[withChan] { return nil }, "its result never becomes JSON: C of functions.withChan is a channel"},
		{"stream with errors", func() iter.Seq2[[]func(), error] { return nil }, "its result never becomes JSON: [] of []func() is a function"},
		{"pointers", func(endless) {}, "is a pointer to pointers without end"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := Handle("x", test.fn)
			if err := e.Err(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Err = %v, want %q in it", err, test.want)
			}
		})
	}
	for _, fn := range []any{func(io.Reader) io.ReadCloser { return nil }, func([]byte) iter.Seq[string] { return nil }, func(*list) any { return nil }} {
		e := Handle("", fn)
		if err := e.Err(); err != nil {
			t.Errorf("%T: %v", fn, err)
		}
	}
}
