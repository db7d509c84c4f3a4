package manifest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	const data = `
config:
  schema:
    type: object
    required: [limits, token]
    properties:
      limits: {type: object, properties: {rate: {type: integer, minimum: 1}}}
      mode: {enum: [fast, null]}
  defaults:
    limits:
      rate: 10
      most: 123456789012345678901234567890
      share: 0.5
    on: true
    names: [a, "1"]
`
	m, err := Parse(FileName, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"limits":{"most":123456789012345678901234567890,"rate":10,"share":0.5},"names":["a","1"],"on":true}`; string(m.Config.Defaults) != want {
		t.Errorf("defaults %s, want %s", m.Config.Defaults, want)
	}
	stored, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var again Manifest
	if err := json.Unmarshal(stored, &again); err != nil || *again.Config != *m.Config {
		t.Errorf("stored and read again: %+v, %v", again.Config, err)
	}
	if v := again.Config.Values()["limits"].(map[string]any)["rate"]; fmt.Sprint(v) != "10" {
		t.Errorf("limits.rate is %v", v)
	}
}

func TestConfigMistakes(t *testing.T) {
	for _, test := range []struct{ name, data, want string }{
		{"an unknown key", "config:\n  default: {}\n", `2:3: unknown key "default" (did you mean "defaults"?)`},
		{"no mapping", "config:\n  defaults: [1]\n", "2:13: config.defaults must be a mapping of keys, not a list (write key: value)"},
		{"a type that is none", "config:\n  schema:\n    properties:\n      rate:\n        type: integr\n",
			`5:15: config.schema.properties.rate.type is no JSON Schema: want one of array, boolean, integer, null, number, object, string, not "integr"`},
		{"keywords that there are not, and all other mistakes", "config:\n  schema:\n    propertys: {}\n    x-note: mine\n    properties:\n      propertys: {minimun: 1, minimum: x}\n      list:\n        items: [{type: integr}, {nullable: yes}]\n    required: all\n", strings.Join([]string{
			`3:5: config.schema has a keyword that JSON Schema has not: "propertys" (did you mean "properties"?)`,
			`6:19: config.schema.properties.propertys has a keyword that JSON Schema has not: "minimun" (did you mean "minimum"?)`,
			`6:40: config.schema.properties.propertys.minimum is no JSON Schema: must be number, not "x"`,
			`8:16: config.schema.properties.list.items is no JSON Schema: must be boolean or object, not [{"type":"integr"},{"nullable":"yes"}]`,
			`8:34: config.schema.properties.list.items[1] has a keyword that JSON Schema has not: "nullable" (names of your own begin with x-)`,
			`9:15: config.schema.required is no JSON Schema: must be array, not "all"`,
		}, "\n")},
		{"a reference to elsewhere", "config:\n  schema:\n    $ref: https://example.com/x.json\n",
			`3:5: config.schema is no JSON Schema: "https://example.com/x.json" is elsewhere, and nothing is loaded: put it into $defs, and write #/$defs/NAME`},
		{"a default that does not fit", "config:\n  schema: {properties: {rate: {type: integer}}}\n  defaults:\n    rate: fast\n", `4:11: config.defaults.rate must be integer, not "fast"`},
		{"an item that does not fit", "config:\n  schema: {properties: {l: {items: {type: integer}}}}\n  defaults:\n    l:\n      - 1\n      - x\n", `6:9: config.defaults.l[1] must be integer, not "x"`},
		{"a default without a value", "config:\n  defaults:\n    rate:\n", "3:5: config.defaults.rate has no value (remove the key)"},
		{"a number in octal", "config:\n  defaults:\n    rate: 010\n", `3:11: config.defaults.rate must be a number as JSON has it, such as 10 or 0.5, not 010 (write "010" for the text)`},
		{"a repeated key", "config:\n  defaults:\n    a: 1\n    a: 2\n", `4:5: key "a" is already on line 3`},
		{"nothing of it may be read", "access: {}\nconfig: {}\n",
			`1:9: access does not let the function read the configuration that it describes (add to it config: ["*"], or the keys that it may read)`},
		{"a reference of another kind", "env:\n  A: ${confg:x}\n", `2:6: env.A refers to "confg", and only config can be referred to (did you mean "config"?) (write $${ for the text)`},
		{"a reference without end", "env:\n  A: \"${config:x\"\n", `2:6: env.A refers to something that has no end: "${config:x" (write ${config:limits.rate}, and $${ for the text)`},
		{"a reference to nothing", "env:\n  A: ${config:}\n", `2:6: env.A names no configuration: "" (write ${config:limits.rate}, or ${config:limits.rate:10} for a default)`},
	} {
		t.Run(test.name, func(t *testing.T) { checkMistake(t, test.data, test.want) })
	}
}

func TestExpand(t *testing.T) {
	for value, want := range map[string]string{
		"plain $HOME $$ {x}":             "plain $HOME $$ {x}",
		"${config:a.b}":                  "<config a.b>",
		"x ${config:a:1:2} ${config:b:}": "x <config a or 1:2> <config b or >",
		"$${config:a} $${":               "${config:a} ${",
	} {
		got, err := Expand(value, func(r Reference) (string, error) {
			if r.Optional {
				return fmt.Sprintf("<%s %s or %s>", r.Kind, r.Name, r.Default), nil
			}
			return fmt.Sprintf("<%s %s>", r.Kind, r.Name), nil
		})
		if err != nil || got != want || checkExpand(value) != nil {
			t.Errorf("%s: %q, %v, want %q", value, got, err, want)
		}
	}
}
