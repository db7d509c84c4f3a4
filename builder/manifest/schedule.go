package manifest

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Limits of schedules and subscriptions.
const (
	MaxSchedules     = 64                  // of one function
	MinEvery         = time.Second         // between two runs
	MaxEvery         = 30 * 24 * time.Hour // between two runs
	MaxSubscriptions = 64                  // of one function
)

// Schedule starts the function at certain times. A run that fails is tried again;
// one that was missed, because no host ran, is made up for once, unless Missed says
// otherwise.
type Schedule struct {
	// Cron is a pattern of five fields (minute, hour, day of month, month, day of
	// week) or six (with seconds before those), or @hourly, @daily, @weekly,
	// @monthly or @yearly. Exactly one of Cron and Every is set.
	Cron string `json:"cron,omitzero"`
	// Every is the time from one run to the next, from MinEvery to MaxEvery.
	Every time.Duration `json:"every,omitzero"`
	// Zone is the time zone of Cron, as the IANA names it. Default empty: UTC.
	Zone string `json:"zone,omitzero"`
	// Missed says what becomes of a run that did not begin within a minute of its
	// time, since no host ran, say: "run", which makes up for all of them by one run,
	// or "skip". With Every, the time of a run is when the server made it, and a
	// server that starts makes at once one that is due. Default "run".
	Missed string `json:"missed"`
	// Endpoint is the endpoint that is run. Default empty: the root.
	Endpoint string `json:"endpoint,omitzero"`
	// Retries is how often a run that failed is tried again, from 0 to MaxRetries,
	// before it becomes a dead letter. Default 2.
	Retries int `json:"retries"`
}

// Pattern returns Cron with six fields, or "@every 90s".
func (s *Schedule) Pattern() string {
	switch {
	case s.Every > 0:
		return "@every " + s.Every.String()
	case len(strings.Fields(s.Cron)) == 5:
		return "0 " + s.Cron
	}
	return s.Cron
}

// String returns the schedule as it is written: "0 3 * * * Europe/Berlin", or
// "every 1h".
func (s *Schedule) String() string {
	if s.Every > 0 {
		return "every " + formatDuration(s.Every)
	}
	return strings.TrimSpace(s.Cron + " " + s.Zone)
}

// Next returns the first time of Cron after t, in its zone. It returns the zero
// time if there is none, and for Every, which the pattern alone does not tell.
func (s *Schedule) Next(t time.Time) time.Time {
	zone, err := time.LoadLocation(s.Zone)
	if err != nil || s.Every > 0 {
		return time.Time{}
	}
	pattern, err := cronParser.Parse(s.Cron)
	if err != nil {
		return time.Time{}
	}
	return pattern.Next(t.In(zone))
}

var cronParser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

var scheduleKeys = keys[Schedule]{
	fields: []field[Schedule]{
		key("cron", text(schema{}, checkCron), func(s *Schedule) *string { return &s.Cron },
			"Times, as five fields (minute hour day month weekday), or six with seconds first, or @daily and the like."),
		key("every", duration(MinEvery, MaxEvery), func(s *Schedule) *time.Duration { return &s.Every },
			"Time from one run to the next: 1s to 720h."),
		key("zone", text(schema{}, checkZone), func(s *Schedule) *string { return &s.Zone },
			"Time zone of cron, such as Europe/Berlin. Default: UTC."),
		key("missed", oneOf("run", "skip"), func(s *Schedule) *string { return &s.Missed },
			"Runs that did not begin within a minute of their time: run one for all of them, or skip."),
		key("endpoint", text(schema{"pattern": namePattern.String(), "maxLength": MaxNameLength}, checkLabel),
			func(s *Schedule) *string { return &s.Endpoint }, "Endpoint that is run. Default: the root."),
		key("retries", integer(0, MaxRetries), func(s *Schedule) *int { return &s.Retries },
			"Retries of a run that failed, before it becomes a dead letter."),
	},
	init: func(s *Schedule) { s.Missed, s.Retries = "run", 2 },
	check: func(r *reader, n node, s *Schedule) {
		switch {
		case (s.Cron == "") == (s.Every == 0):
			r.bad(n, `write cron: "0 3 * * *", or every: 1h`, "needs one of the keys cron and every")
		case s.Zone != "" && s.Every > 0:
			r.bad(n.child("zone"), "", "cannot stand beside every, which is the same in all zones")
		}
	},
}

func checkCron(s string) *problem {
	if strings.HasPrefix(s, "@every") || strings.Contains(s, "TZ=") {
		return &problem{fmt.Sprintf("must be a cron pattern, not %.80q", s), "the keys every and zone say that"}
	}
	if _, err := cronParser.Parse(s); err != nil {
		return &problem{fmt.Sprintf("is no cron pattern: %v", err), `five fields, such as "30 3 * * mon-fri"`}
	}
	return nil
}

func checkZone(s string) *problem {
	if _, err := time.LoadLocation(s); err != nil || s == "Local" {
		return &problem{fmt.Sprintf("must be a time zone such as Europe/Berlin, not %.80q", s), ""}
	}
	return nil
}

// Subscribe starts the function for each message on a subject, as it comes:
// nothing is stored, and a message that comes while no host listens, or fails, is
// gone.
type Subscribe struct {
	// Subject is that of the messages, wildcards allowed, none of the server's and
	// of the host's.
	Subject string `json:"subject"`
	// Endpoint is the endpoint that handles them. Default empty: the root.
	Endpoint string `json:"endpoint,omitzero"`
	// Each says that each node handles each message. Default false: one of them does.
	Each bool `json:"each,omitzero"`
}

var subscribeKeys = keys[Subscribe]{fields: []field[Subscribe]{
	required(key("subject", text(schema{"pattern": `^[^$\s][^\s]*$`, "maxLength": maxSubject}, checkEventSubject),
		func(s *Subscribe) *string { return &s.Subject }, "Subject of the messages, with the wildcards * and >.")),
	key("endpoint", text(schema{"pattern": namePattern.String(), "maxLength": MaxNameLength}, checkLabel),
		func(s *Subscribe) *string { return &s.Endpoint }, "Endpoint that handles them. Default: the root."),
	key("each", boolean(), func(s *Subscribe) *bool { return &s.Each },
		"Whether each node handles each message."),
}}
