package manifest

import (
	"reflect"
	"testing"
	"time"
)

func TestParseSchedules(t *testing.T) {
	tests := []struct {
		name, schedule string
		want           Schedule
		pattern        string
	}{
		{"five fields", `cron: 30 3 * * mon-fri`, Schedule{Cron: "30 3 * * mon-fri", Retries: 2, Missed: "run"}, "0 30 3 * * mon-fri"},
		{"six fields in a zone", `{cron: "*/5 * * * * *", zone: Europe/Berlin, endpoint: poll, retries: 0}`,
			Schedule{Cron: "*/5 * * * * *", Zone: "Europe/Berlin", Endpoint: "poll", Missed: "run"}, "*/5 * * * * *"},
		{"a word", `cron: "@daily"`, Schedule{Cron: "@daily", Retries: 2, Missed: "run"}, "@daily"},
		{"nothing made up for", `{every: 1h, missed: skip}`, Schedule{Every: time.Hour, Retries: 2, Missed: "skip"}, "@every 1h0m0s"},
		{"an interval", `every: 90s`, Schedule{Every: 90 * time.Second, Retries: 2, Missed: "run"}, "@every 1m30s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := Parse(FileName, []byte("triggers:\n  schedule:\n    - "+test.schedule+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			want := with(func(m *Manifest) { m.Triggers.Schedule = []Schedule{test.want} })
			if !reflect.DeepEqual(m, want) {
				t.Errorf("Parse:\n got %s\nwant %s", toJSON(t, m), toJSON(t, want))
			}
			if got := m.Triggers.Schedule[0].Pattern(); got != test.pattern {
				t.Errorf("Pattern = %q, want %q", got, test.pattern)
			}
		})
	}
}

func TestScheduleMistakes(t *testing.T) {
	for _, test := range []struct{ name, schedule, want string }{
		{"no time", `endpoint: poll`, `3:5: triggers.schedule[0] needs one of the keys cron and every (write cron: "0 3 * * *", or every: 1h)`},
		{"two times", `{cron: "@daily", every: 1h}`, `3:5: triggers.schedule[0] needs one of the keys cron and every (write cron: "0 3 * * *", or every: 1h)`},
		{"four fields", `cron: "* * * *"`, `3:11: triggers.schedule[0].cron is no cron pattern: expected 5 to 6 fields, found 4: [* * * *] (five fields, such as "30 3 * * mon-fri")`},
		{"minute 60", `cron: "60 * * * *"`, `3:11: triggers.schedule[0].cron is no cron pattern: end of range (60) above maximum (59): 60 (five fields, such as "30 3 * * mon-fri")`},
		{"every in cron", `cron: "@every 5s"`, `3:11: triggers.schedule[0].cron must be a cron pattern, not "@every 5s" (the keys every and zone say that)`},
		{"a zone in cron", `cron: "TZ=UTC 0 3 * * *"`, `3:11: triggers.schedule[0].cron must be a cron pattern, not "TZ=UTC 0 3 * * *" (the keys every and zone say that)`},
		{"an interval below a second", `every: 100ms`, `3:12: triggers.schedule[0].every must be from 1s to 720h, not 100ms`},
		{"a zone that is none", `{cron: "@daily", zone: Europe/Berln}`, `3:28: triggers.schedule[0].zone must be a time zone such as Europe/Berlin, not "Europe/Berln"`},
		{"the zone of the machine", `{cron: "@daily", zone: Local}`, `3:28: triggers.schedule[0].zone must be a time zone such as Europe/Berlin, not "Local"`},
		{"a policy that is none", `{every: 1h, missed: skipp}`, `3:25: triggers.schedule[0].missed must be run or skip, not "skipp" (write skip)`},
		{"a zone for an interval", `{every: 1h, zone: UTC}`, `3:23: triggers.schedule[0].zone cannot stand beside every, which is the same in all zones`},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkMistake(t, "triggers:\n  schedule:\n  - "+test.schedule+"\n", test.want)
		})
	}
}

func TestSchedulesSayWhatTheyAre(t *testing.T) {
	at := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		s    Schedule
		text string
		next string
	}{
		{Schedule{Cron: "0 3 * * *"}, "0 3 * * *", "2026-03-29T03:00:00Z"},
		{Schedule{Cron: "0 3 * * *", Zone: "Europe/Berlin"}, "0 3 * * * Europe/Berlin", "2026-03-29T01:00:00Z"}, // summer time begins
		{Schedule{Cron: "@hourly"}, "@hourly", "2026-03-28T13:00:00Z"},
		{Schedule{Cron: "0 0 30 2 *"}, "0 0 30 2 *", "0001-01-01T00:00:00Z"},
		{Schedule{Every: time.Hour}, "every 1h", "0001-01-01T00:00:00Z"},
		{Schedule{Every: 90 * time.Second}, "every 1m30s", "0001-01-01T00:00:00Z"},
	} {
		if got := test.s.String(); got != test.text {
			t.Errorf("%+v is %q, want %q", test.s, got, test.text)
		}
		if got := test.s.Next(at).UTC().Format(time.RFC3339); got != test.next {
			t.Errorf("%s comes next at %s, want %s", test.text, got, test.next)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	m, err := Parse(FileName, []byte("triggers:\n  subscribe:\n    - {subject: metrics.>, endpoint: count, each: true}\n"))
	want := with(func(m *Manifest) { m.Triggers.Subscribe = []Subscribe{{"metrics.>", "count", true}} })
	if err != nil || !reflect.DeepEqual(m, want) {
		t.Errorf("Parse:\n got %s, %v\nwant %s", toJSON(t, m), err, toJSON(t, want))
	}
	checkMistake(t, "triggers:\n  subscribe:\n  - subject: tick.x\n", `3:14: triggers.subscribe[0].subject must not begin with tick., which the host uses itself`)
	checkMistake(t, "triggers:\n  subscribe:\n  - each: true\n", `3:5: triggers.subscribe[0] needs the key "subject"`)
}
