package manifest

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/fnhost/fnhost/builder/nearest"
)

// problem is what a check of a text finds: how the message goes on after the
// key's path, and how to put it right.
type problem struct{ message, hint string }

// text is text that passes check. The description may have a pattern or an enum
// for editors; check decides.
func text(describe schema, check func(s string) *problem) value[string] {
	return value[string]{
		read: func(r *reader, n node, into *string) {
			s, ok := n.text()
			if !ok {
				hint := ""
				if written, scalar := n.scalar(); scalar {
					hint = fmt.Sprintf("write %q", written)
					if p := check(written); p != nil {
						hint = p.hint // quotes alone do not help
					}
				}
				r.bad(n, hint, "must be text, not %s", n.describe())
				return
			}
			if p := check(s); p != nil {
				r.bad(n, p.hint, "%s", p.message)
				return
			}
			*into = s
		},
		schema: func(def string) schema {
			s := describe.with("type", "string")
			if def != "" {
				s["default"] = def
			}
			return s
		},
	}
}

// oneOf is a text out of a few.
func oneOf(choices ...string) value[string] {
	return text(schema{"enum": choices}, func(s string) *problem {
		for _, choice := range choices {
			if s == choice {
				return nil
			}
		}
		p := &problem{message: fmt.Sprintf("must be %s, not %.80q", strings.Join(choices, " or "), s)}
		if near, ok := nearest.Name(s, choices); ok {
			p.hint = fmt.Sprintf("write %s", near)
		}
		return p
	})
}

// integer is a whole number in decimal.
func integer(low, high int) value[int] {
	return value[int]{
		read: func(r *reader, n node, into *int) {
			written := n.GetToken().Value
			i, err := strconv.Atoi(written)
			_, number := n.Node.(*ast.IntegerNode)
			// The parser takes a number of more than 64 bits for text.
			number = number || n.GetToken().Type == token.StringType && isDigits(written)
			switch {
			// YAML versions disagree whether 010 is eight or ten.
			case !number, err != nil && !isRange(err), len(written) > 1 && written[0] == '0':
				r.bad(n, "", "must be a whole number, not %s", n.describe())
			case err != nil || i < low || i > high:
				r.bad(n, "", "must be from %d to %d, not %.80s", low, high, written)
			default:
				*into = i
			}
		},
		schema: func(def int) schema {
			s := schema{"type": "integer", "minimum": low, "maximum": high}
			if def >= low {
				s["default"] = def
			}
			return s
		},
	}
}

func isRange(err error) bool {
	numError, ok := err.(*strconv.NumError)
	return ok && numError.Err == strconv.ErrRange
}

func boolean() value[bool] {
	return value[bool]{
		read: func(r *reader, n node, into *bool) {
			b, ok := n.Node.(*ast.BoolNode)
			if !ok {
				r.bad(n, "", "must be true or false, not %s", n.describe())
				return
			}
			*into = b.Value
		},
		schema: func(def bool) schema { return schema{"type": "boolean", "default": def} },
	}
}

var (
	durationPattern = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)
	daysPattern     = regexp.MustCompile(`^[0-9]{1,3}d$`)
	sizePattern     = regexp.MustCompile(`^[0-9]+(KiB|MiB|GiB|KB|MB|GB)?$`)
	sizeSlip        = regexp.MustCompile(`(?i)^([0-9]+) *([KMG])(i?)B?$`)
)

// duration is a time with its unit, such as 30s.
func duration(low, high time.Duration) value[time.Duration] {
	return value[time.Duration]{
		read: func(r *reader, n node, into *time.Duration) {
			written, _ := n.scalar()
			d, err := time.ParseDuration(written)
			switch {
			case isDigits(written):
				r.bad(n, fmt.Sprintf("write %q", written+"s"), "needs a unit")
			case daysPattern.MatchString(written):
				days, _ := strconv.Atoi(strings.TrimSuffix(written, "d"))
				r.bad(n, fmt.Sprintf("write %q", fmt.Sprint(days*24, "h")), "has the unit d, and the units are ms, s, m and h")
			case !durationPattern.MatchString(written):
				r.bad(n, "", "must be a duration such as 30s or 5m, not %s", n.describe())
			case err != nil || d < low || d > high:
				r.bad(n, "", "must be from %s to %s, not %.80s", formatDuration(low), formatDuration(high), written)
			default:
				*into = d
			}
		},
		schema: func(def time.Duration) schema {
			s := schema{"type": "string", "pattern": durationPattern.String()}
			if def > 0 {
				s["default"] = formatDuration(def)
			}
			return s
		},
	}
}

// orNone is a duration, or the word none, which is 0.
func orNone(d value[time.Duration]) value[time.Duration] {
	return value[time.Duration]{
		read: func(r *reader, n node, into *time.Duration) {
			if written, _ := n.scalar(); written == "none" {
				*into = 0
				return
			}
			d.read(r, n, into)
		},
		schema: func(def time.Duration) schema {
			s := d.schema(def)
			s["pattern"] = "^none$|" + s["pattern"].(string)
			return s
		},
	}
}

// isDigits reports whether s is a number without a unit.
func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// formatDuration is Duration.String without the zeros behind: 5m rather than 5m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var sizeUnits = map[string]int64{
	"": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}

// size is a number of bytes, with or without a unit.
func size(low, high int64) value[int64] {
	return value[int64]{
		read: func(r *reader, n node, into *int64) {
			written, _ := n.scalar()
			if !sizePattern.MatchString(written) {
				r.bad(n, sizeHint(written), "must be a size such as 256MiB or 1GB, not %s", n.describe())
				return
			}
			digits := strings.TrimRight(written, "KMGiB")
			i, err := strconv.ParseInt(digits, 10, 64)
			unit := sizeUnits[written[len(digits):]]
			if err != nil || i > math.MaxInt64/unit || i*unit < low || i*unit > high {
				r.bad(n, "", "must be from %s to %s, not %.80s", FormatSize(low), FormatSize(high), written)
				return
			}
			*into = i * unit
		},
		schema: func(def int64) schema {
			s := schema{"type": []string{"string", "integer"}, "pattern": sizePattern.String(), "minimum": low, "maximum": high}
			if def > 0 {
				s["default"] = FormatSize(def)
			}
			return s
		},
	}
}

// sizeHint returns what 256mb, 256 MB or 256M was meant to be.
func sizeHint(written string) string {
	m := sizeSlip.FindStringSubmatch(written)
	if m == nil {
		return "the units are KiB, MiB, GiB, KB, MB and GB"
	}
	unit := strings.ToUpper(m[2]) + "iB"
	if m[3] == "" && strings.HasSuffix(strings.ToUpper(written), "B") {
		unit = strings.ToUpper(m[2]) + "B"
	}
	return fmt.Sprintf("write %q", m[1]+unit)
}

// FormatSize writes bytes in the largest unit that they are a multiple of: "8MiB", "1000 bytes".
func FormatSize(n int64) string {
	for _, unit := range []string{"GiB", "MiB", "KiB"} {
		if n >= sizeUnits[unit] && n%sizeUnits[unit] == 0 {
			return fmt.Sprint(n/sizeUnits[unit], unit)
		}
	}
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprint(n, " bytes")
}
