package functions

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
)

func settings(t testing.TB, data string) *Settings {
	t.Helper()
	s, err := newSettings("f", 7, false, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const someSettings = `{"limits":{"rate":10,"share":0.5,"big":9007199254740993,"wait":"1m30s"},"beta":true,"name":"x","servers":[{"host":"a"},{"host":"b"}]}`

func TestGettersOfSettings(t *testing.T) {
	s := settings(t, someSettings)
	for _, test := range []struct {
		name      string
		got, want any
	}{
		{"an int", s.Int("limits.rate", 1), 10},
		{"a big one", s.Int("limits.big", 1), 9007199254740993},
		{"none", s.Int("limits.none", 1), 1},
		{"text as an int", s.Int("name", 1), 1},
		{"a fraction as an int", s.Int("limits.share", 1), 1},
		{"a float", s.Float("limits.share", 1), 0.5},
		{"an int as a float", s.Float("limits.rate", 1), 10.0},
		{"a bool", s.Bool("beta", false), true},
		{"text as a bool", s.Bool("name", true), true},
		{"text", s.String("name", "d"), "x"},
		{"a number as text", s.String("limits.big", "d"), "9007199254740993"},
		{"a bool as text", s.String("beta", "d"), "true"},
		{"an object as text", s.String("limits", "d"), "d"},
		{"a duration", s.Duration("limits.wait", 1), 90 * time.Second},
		{"a number as a duration", s.Duration("limits.rate", time.Second), time.Second},
		{"an item", s.String("servers.1.host", ""), "b"},
		{"an item too far", s.String("servers.2.host", "d"), "d"},
		{"below a scalar", s.String("name.x", "d"), "d"},
		{"of nil", (*Settings)(nil).Int("a", 3), 3},
		{"revision", s.Revision(), uint64(7)},
		{"function", s.Function(), "f"},
		{"all of it", string(s.JSON()), someSettings},
	} {
		if test.got != test.want {
			t.Errorf("%s: %v, want %v", test.name, test.got, test.want)
		}
	}
}

func TestDecodeSettings(t *testing.T) {
	s := settings(t, someSettings)
	var limits struct {
		Rate int
		Big  json.Number
	}
	if err := s.Decode("limits", &limits); err != nil || limits.Rate != 10 || limits.Big != "9007199254740993" {
		t.Errorf("limits %+v, %v", limits, err)
	}
	var all struct{ Name string }
	if err := s.Decode("", &all); err != nil || all.Name != "x" {
		t.Errorf("all %+v, %v", all, err)
	}
	var n int
	if err := s.Decode("name", &n); !errors.Is(err, &Error{Code: Unprocessed}) {
		t.Errorf("text into a number: %v", err)
	}
	for path, want := range map[string]string{
		"limits.rat": `there is no configuration "limits.rat" (did you mean "limits.rate"?)`,
		"limit.rate": `there is no configuration "limit.rate" (did you mean "limits.rate"?)`,
		"other":      `there is no configuration "other"`,
	} {
		if err := s.Decode(path, &n); !errors.Is(err, ErrNotFound) || err.Error() != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	s.partial = true
	if err := s.Decode("other", &n); err == nil || err.Error() != `there is no configuration "other", or the function may not read it: access.config in its function.yaml lists what it may` {
		t.Errorf("what may not be read: %v", err)
	}
}

func TestSettingsNeverChange(t *testing.T) {
	s := settings(t, someSettings)
	v, _ := s.Lookup("")
	v.(map[string]any)["name"] = "y"
	v.(map[string]any)["servers"].([]any)[0].(map[string]any)["host"] = "y"
	s.JSON()[2] = 'y'
	if got := s.String("name", "") + s.String("servers.0.host", "") + string(s.JSON()); got != "xa"+someSettings {
		t.Errorf("they have become %s", got)
	}
}
