package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host/admin"
)

// typedInput makes JSON of the function's own flags, on top of body.
func typedInput(e *admin.Endpoint, line *commandLine, body []byte) ([]byte, error) {
	first := line.typed[0].name
	usagef := func(format string, args ...any) error {
		return usageError{fmt.Errorf(format, args...), "fnhost invoke " + line.name}
	}
	s := parseSchema(e.Request)
	switch {
	case e.Kind == "http":
		return nil, usagef("%s is an http handler, whose fields nobody knows, so no --%s: give its input with -d, or --path '/?%s=…'", line.name, first, first)
	case s == nil:
		return nil, usagef("%s takes no fields, so no --%s: give its input, if any, with -d", line.name, first)
	}
	input := make(map[string]any)
	if len(body) > 0 && json.Unmarshal(body, &input) != nil {
		return nil, usagef("-d is no JSON object, so --%s cannot be added to it: choose one of the two", first)
	}
	fields := fieldsOf(s)
	for _, typed := range line.typed {
		f, ok := findField(fields, typed.name)
		if !ok && s.open() {
			f, ok = field{flag: typed.name, path: []string{typed.name}, schema: orAny(s.Values)}, true
		}
		if !ok {
			if len(fields) == 0 {
				return nil, usagef("%s takes %s, so no --%s: give its input with -d", line.name, typeName(s), typed.name)
			}
			return nil, usagef("%s has no --%s%s", line.name, typed.name, flagHint(typed.name, flagNames(fields)))
		}
		if err := f.set(input, typed); err != nil {
			return nil, usagef("--%s: %w", typed.name, err)
		}
	}
	return json.Marshal(input)
}

// findField finds a field by its flag, or by its name in JSON, with or without
// the prefix that tells it from fnhost's own flags.
func findField(fields []field, name string) (field, bool) {
	for _, want := range []string{name, strings.TrimPrefix(name, fieldPrefix)} {
		for _, f := range fields {
			if strings.Join(f.path, ".") == want {
				return f, true
			}
		}
		for _, f := range fields {
			if f.flag == kebab(want) || strings.EqualFold(strings.Join(f.path, "."), want) {
				return f, true
			}
		}
	}
	return field{}, false
}

// set puts the value of a flag at the place of its field.
func (f field) set(input map[string]any, typed typedFlag) error {
	for _, name := range f.path[:len(f.path)-1] {
		next, ok := input[name].(map[string]any)
		if !ok {
			next = make(map[string]any)
			input[name] = next
		}
		input = next
	}
	name := f.path[len(f.path)-1]
	s := f.schema
	switch {
	case !typed.hasValue && s.Type != "boolean":
		return fmt.Errorf("a value is missing: want %s", typeName(s))
	case !typed.hasValue:
		input[name] = true
		return nil
	case s.Items != nil && !(strings.HasPrefix(typed.value, "[") && s.Items.Type != "string"):
		v, err := typedValue(s.Items, typed.value)
		list, _ := input[name].([]any)
		input[name] = append(list, v)
		return err
	case s.Values != nil && !strings.HasPrefix(typed.value, "{"):
		key, value, ok := strings.Cut(typed.value, "=")
		if !ok {
			return fmt.Errorf("%q: want KEY=VALUE", typed.value)
		}
		v, err := typedValue(s.Values, value)
		m, ok := input[name].(map[string]any)
		if !ok {
			m = make(map[string]any)
			input[name] = m
		}
		m[key] = v
		return err
	}
	v, err := typedValue(s, typed.value)
	input[name] = v
	return err
}

// typedValue converts a flag's text to what the schema wants.
func typedValue(s *functions.Schema, text string) (any, error) {
	bad := fmt.Errorf("%q: want %s", text, typeName(s))
	switch s.Type {
	case "integer":
		return integer(s, text, bad)
	case "number":
		if _, err := strconv.ParseFloat(text, 64); err != nil || !json.Valid([]byte(text)) {
			return nil, bad
		}
		return json.Number(text), nil
	case "boolean":
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, bad
		}
		return b, nil
	case "string":
		return stringValue(s, text, bad)
	case "object", "array":
		var v any
		if json.Unmarshal([]byte(text), &v) != nil || (s.Type == "object") != isObject(v) {
			return nil, bad
		}
		return json.RawMessage(text), nil
	}
	if json.Valid([]byte(text)) {
		return json.RawMessage(text), nil
	}
	return text, nil
}

func isObject(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}

func integer(s *functions.Schema, text string, bad error) (any, error) {
	if d, err := time.ParseDuration(text); err == nil && s.Format == "duration" {
		return int64(d), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		if _, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, bad
		}
	} else if s.Minimum != nil && n < int64(*s.Minimum) {
		return nil, bad
	}
	return json.Number(strings.TrimPrefix(text, "+")), nil
}

func stringValue(s *functions.Schema, text string, bad error) (any, error) {
	switch {
	case s.Encoding == "base64" && strings.HasPrefix(text, "@"):
		b, err := os.ReadFile(text[1:])
		return b, err // which encodes as base64
	case s.Encoding == "base64":
		if _, err := base64.StdEncoding.DecodeString(text); err != nil {
			return nil, bad
		}
	case s.Format == "date-time":
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			return nil, bad
		}
	}
	return text, nil
}
