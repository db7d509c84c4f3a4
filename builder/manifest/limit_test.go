package manifest

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseLimits(t *testing.T) {
	tests := []struct {
		name, text string
		want       Limit
		burst      int
	}{
		{"a rate alone", "limit: 100/s", Limit{Rate: "100/s", Per: PerCaller}, 100},
		{"the rate of a mapping", "limit: {rate: 5/m}", Limit{Rate: "5/m", Per: PerCaller}, 5},
		{"one key in a block", "limit:\n  rate: 5/m", Limit{Rate: "5/m", Per: PerCaller}, 5},
		{"all keys", "limit: {rate: 1000000/h, burst: 20, per: address}", Limit{Rate: "1000000/h", Burst: 20, Per: PerAddress}, 20},
		{"of all", "limit: {rate: 1/s, per: all}", Limit{Rate: "1/s", Per: PerAll}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := Parse(FileName, []byte(test.text+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(m.Limit, &test.want) {
				t.Errorf("got %+v, want %+v", m.Limit, test.want)
			}
			if _, per, burst := m.Limit.Parsed(); burst != test.burst || per < time.Second {
				t.Errorf("a burst of %d in %v, want %d", burst, per, test.burst)
			}
			route := "triggers:\n  http:\n    - path: /a\n      " + strings.ReplaceAll(test.text, "\n", "\n      ") + "\n"
			if m, err = Parse(FileName, []byte(route)); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(m.Triggers.HTTP[0].Limit, &test.want) {
				t.Errorf("of a route: got %+v, want %+v", m.Triggers.HTTP[0].Limit, test.want)
			}
		})
	}
}

func TestParseReportsMistakesInLimits(t *testing.T) {
	for text, want := range map[string]string{
		"limit: 100":                       `1:8: limit must be text, not 100 (write 100/s)`,
		"limit: often":                     `1:8: limit must be a number of requests in a time, such as 100/s, 100/m or 100/h, not "often"`,
		"limit: 0/s":                       `1:8: limit must be a number of requests`,
		"limit: 9999999/s":                 `1:8: limit must be from 1 to 1000000, not 9999999`,
		"limit: {burst: 3}":                `1:8: limit needs the key "rate"`,
		"limit: {}":                        `limit needs the key "rate"`,
		"limit: {rate: 1/s, burst: 0}":     `1:27: limit.burst must be from 1 to 1000000, not 0`,
		"limit: {rate: 1/s, per: calller}": `1:25: limit.per must be caller or address or all, not "calller" (write caller)`,
		"limit: {rate: 1/s, by: all}":      `unknown key "by"`,
		"limit: [1/s]":                     `1:8: limit must be text, not a list`,
		"limit:":                           `limit has no value`,
	} {
		if _, err := Parse(FileName, []byte(text+"\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}
