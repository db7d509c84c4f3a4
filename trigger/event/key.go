package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// keyer finds the key of an event, as [manifest.Event.Key] says.
type keyer struct {
	part   int      // of the subject, from 1
	header string   // "" if it is none
	field  []string // of the data
}

func newKeyer(spec string) keyer {
	kind, rest, _ := strings.Cut(spec, ".")
	switch {
	case kind == "subject" && rest != "":
		n, _ := strconv.Atoi(rest)
		return keyer{part: n}
	case kind == "header":
		return keyer{header: rest}
	case kind == "data":
		return keyer{field: strings.Split(rest, ".")}
	}
	return keyer{}
}

// maxKey is how long a key may be: a longer one is known by its hash.
const maxKey = 256

// of returns the key of m, "" if it has none.
func (k *keyer) of(m *nats.Msg) string {
	key := k.find(m)
	if len(key) > maxKey {
		return fmt.Sprintf("%x", sha256.Sum256([]byte(key)))
	}
	return key
}

func (k *keyer) find(m *nats.Msg) string {
	switch {
	case k.part > 0:
		return part(m.Subject, k.part)
	case k.header != "":
		if values := header(m, k.header); len(values) > 0 {
			return values[0]
		}
		return ""
	case k.field != nil:
		return keyText(dataField(m, k.field))
	}
	return m.Subject
}

// part returns the n-th part of a subject, from 1.
func part(subject string, n int) string {
	for ; n > 1; n-- {
		_, rest, ok := strings.Cut(subject, ".")
		if !ok {
			return ""
		}
		subject = rest
	}
	first, _, _ := strings.Cut(subject, ".")
	return first
}

// header returns the values of a header, in any case. Those of a CloudEvent are
// found in its document too, if it is one that holds all of it.
func header(m *nats.Msg, name string) []string {
	if values, ok := m.Header[name]; ok {
		return values
	}
	for key, values := range m.Header {
		if strings.EqualFold(key, name) {
			return values
		}
	}
	if len(name) > 3 && strings.EqualFold(name[:3], "ce-") && isStructured(m) {
		if v := keyText(field(m.Data, []string{strings.ToLower(name[3:])})); v != "" {
			return []string{v}
		}
	}
	return nil
}

// isStructured reports whether the data of m are a CloudEvent with all that belongs to it.
func isStructured(m *nats.Msg) bool {
	if len(m.Header) == 0 {
		return false
	}
	for key, values := range m.Header {
		if strings.EqualFold(key, "Content-Type") && len(values) > 0 {
			kind, _, _ := strings.Cut(values[0], ";")
			return strings.EqualFold(strings.TrimSpace(kind), "application/cloudevents+json")
		}
	}
	return false
}

// dataField returns a field of an event's data: a string, a json.Number, a bool, or
// nil if there is none that is one of these.
func dataField(m *nats.Msg, path []string) any {
	if isStructured(m) {
		path = append([]string{"data"}, path...)
	}
	return field(m.Data, path)
}

// field finds a field of a JSON document without making values of the others.
func field(data []byte, path []string) any {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	for _, name := range path {
		if token, err := d.Token(); err != nil || token != json.Delim('{') {
			return nil
		}
		if !enter(d, name) {
			return nil
		}
	}
	token, err := d.Token()
	if err != nil {
		return nil
	}
	if _, ok := token.(json.Delim); ok {
		return nil
	}
	return token
}

// enter reads an object up to the value of a name.
func enter(d *json.Decoder, name string) bool {
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return false
		}
		if key == name {
			return true
		}
		if skip(d) != nil {
			return false
		}
	}
	return false
}

// skip reads a value.
func skip(d *json.Decoder) error {
	for depth := 0; ; {
		token, err := d.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// keyText writes a field as a key.
func keyText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}
