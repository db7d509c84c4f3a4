// Package codec encodes and decodes the JSON of fnhost's own envelopes: problem
// documents, discovery, the management API. It is the one place that names the
// library, goccy/go-json, so that it can be exchanged; what is stored on disk,
// and what decides about access, uses encoding/json instead.
//
// Envelopes are structs of strings, integers, booleans, times and raw JSON: the
// library is known to differ from encoding/json for float32 and for the option
// "string" in tags.
package codec

import (
	"fmt"
	"io"

	"github.com/goccy/go-json"
)

// MaxSize is the largest envelope that [Decode] accepts, in bytes.
const MaxSize = 4 << 20

// Marshal returns v as JSON.
func Marshal(v any) ([]byte, error) { return json.Marshal(v) }

// Unmarshal decodes data into v.
func Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// Decode reads one envelope from r, which must hold nothing else.
func Decode(r io.Reader, v any) error {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return err
	}
	if len(data) > MaxSize {
		return fmt.Errorf("codec: more than %d bytes", MaxSize)
	}
	return json.Unmarshal(data, v)
}
