package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestMessagesAreAsTheyWereAppended(t *testing.T) {
	var b []byte
	want := []Message{
		{Header(nil).Add(":target", "orders").Add("Kind", "a"), []byte("one")},
		{nil, nil},
		{Header(nil).Add("Kind", ""), bytes.Repeat([]byte("x"), 1<<17)},
	}
	for _, m := range want {
		b = AppendMessage(b, m.Header, m.Payload)
	}
	got, err := Messages(b)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	for i, m := range got {
		if !bytes.Equal(m.Header, want[i].Header) || !bytes.Equal(m.Payload, want[i].Payload) {
			t.Errorf("message %d is %q %.20q", i, m.Header, m.Payload)
		}
	}
	if list, err := Messages(nil); len(list) != 0 || err != nil {
		t.Errorf("of nothing: %v %v", list, err)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(AppendMessage(AppendMessage(nil, Header(nil).Add("a", "b"), []byte("c")), nil, nil))
	f.Add([]byte{0, 1, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := Messages(b)
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Fatal(err)
			}
			return
		}
		var again []byte
		for _, m := range list {
			again = AppendMessage(again, m.Header, m.Payload)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%q became %q", b, again)
		}
	})
}

func TestReadMessage(t *testing.T) {
	h := Header(nil).Add("A", "b")
	stream := AppendMessage(AppendMessage(nil, h, []byte("one")), nil, nil)
	r := bytes.NewReader(stream)
	if m, err := ReadMessage(r, 3); err != nil || string(m.Header) != string(h) || string(m.Payload) != "one" {
		t.Errorf("first: %q %q, %v", m.Header, m.Payload, err)
	}
	if m, err := ReadMessage(r, 3); err != nil || len(m.Header)+len(m.Payload) != 0 {
		t.Errorf("second: %q %q, %v", m.Header, m.Payload, err)
	}
	if _, err := ReadMessage(r, 3); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if _, err := ReadMessage(bytes.NewReader(stream), 2); !errors.Is(err, ErrFrame) {
		t.Errorf("too large: %v", err)
	}
	for n := 1; n < 12; n++ {
		if _, err := ReadMessage(bytes.NewReader(stream[:n]), 3); err != io.ErrUnexpectedEOF {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
