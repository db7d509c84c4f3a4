package main

import (
	"fmt"
	"strconv"
	"time"
)

// manifestUnits say how the numbers of a manifest are shown; others are as they are.
var manifestUnits = map[string]func(float64) string{
	"manifest.timeout":     durationOr("none"),
	"manifest.scale.idle":  durationOr("default"),
	"manifest.cors.maxAge": durationOr("default"),
	"manifest.memory":      sizeOr("none"),
	"manifest.body":        sizeOr("default"),
	"manifest.scale.max": func(n float64) string {
		if n == 0 {
			return "default"
		}
		return plain(n)
	},
}

func durationOr(zero string) func(float64) string {
	return func(n float64) string {
		if n == 0 {
			return zero
		}
		return time.Duration(n).String()
	}
}

func sizeOr(zero string) func(float64) string {
	return func(n float64) string {
		if n == 0 {
			return zero
		}
		return size(int64(n))
	}
}

func plain(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// flatten makes lines of nested values: "manifest.scale.min".
func flatten(prefix string, v any) (lines [][2]string) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range sortedKeys(v) {
			lines = append(lines, flatten(prefix+"."+key, v[key])...)
		}
	case []any:
		for i, one := range v {
			lines = append(lines, flatten(fmt.Sprintf("%s.%d", prefix, i), one)...)
		}
	case nil:
	case float64:
		show := manifestUnits[prefix]
		if show == nil {
			show = plain
		}
		lines = append(lines, [2]string{prefix, show(v)})
	default:
		lines = append(lines, [2]string{prefix, fmt.Sprint(v)})
	}
	return lines
}
