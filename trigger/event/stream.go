package event

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
)

// errNotTaken is wrapped by the errors for subjects that no stream takes yet.
var errNotTaken = errors.New("no stream takes it")

// streamFor returns the stream that holds the events of a trigger: the one that
// it names, or one that takes its subject, or else the host's own, which is
// changed to take it. For that one, from is the first sequence that an event of the
// subject can have.
func (t *Trigger) streamFor(ctx context.Context, spec *manifest.Event) (stream jetstream.Stream, from uint64, err error) {
	t.streams.Lock()
	defer t.streams.Unlock()
	stream, err = t.findStream(ctx, spec.Stream, spec.Subject)
	if errors.Is(err, errNotTaken) {
		return t.takeSubject(ctx, spec.Subject)
	}
	return stream, 0, err
}

// findStream is streamFor without changing anything: its error wraps errNotTaken
// if it is the host's own stream that has to be changed.
func (t *Trigger) findStream(ctx context.Context, name, subject string) (jetstream.Stream, error) {
	if name == "" {
		found, err := t.js.StreamNameBySubject(ctx, subject)
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, fmt.Errorf("stream of %s: %w", subject, err)
		}
		name = found
	}
	if name == "" {
		return nil, fmt.Errorf("stream of %s: %w", subject, errNotTaken)
	}
	stream, err := t.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, noStream{name}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	subjects := stream.CachedInfo().Config.Subjects
	if slices.ContainsFunc(subjects, func(s string) bool { return Covers(s, subject) }) {
		return stream, nil
	}
	if name == EventStream {
		return nil, fmt.Errorf("stream of %s: %w", subject, errNotTaken)
	}
	return nil, fmt.Errorf("stream %s takes %s, and that is not all of %s: change the stream, or the trigger", name, strings.Join(subjects, ", "), subject)
}

// takeSubject has the host's own stream take a subject, beside those it takes.
func (t *Trigger) takeSubject(ctx context.Context, subject string) (stream jetstream.Stream, from uint64, err error) {
	from = 1
	cfg := jetstream.StreamConfig{Name: EventStream, Description: "events of functions", MaxAge: keepEvents, AllowDirect: true, AllowMsgTTL: true}
	stream, err = t.js.Stream(ctx, EventStream)
	switch {
	case err == nil:
		cfg, from = stream.CachedInfo().Config, stream.CachedInfo().State.LastSeq+1
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, 0, fmt.Errorf("stream %s: %w", EventStream, err)
	}
	cfg.Subjects = addSubject(cfg.Subjects, subject)
	making, cancel := whole(ctx)
	defer cancel()
	stream, err = t.js.CreateOrUpdateStream(making, cfg)
	if err != nil {
		return nil, 0, fmt.Errorf("stream %s cannot take %s: %w", EventStream, subject, err)
	}
	t.takers.Clear()
	return stream, from, nil
}

// addSubject adds a subject to those of a stream, of which no two may match the
// same: one that the new one covers goes, and of two that overlap becomes one that
// covers both.
func addSubject(subjects []string, subject string) []string {
	for {
		i := slices.IndexFunc(subjects, func(s string) bool { return overlap(s, subject) && !Covers(subject, s) })
		if i < 0 {
			break
		}
		subject = join(subjects[i], subject)
	}
	subjects = slices.DeleteFunc(slices.Clone(subjects), func(s string) bool { return Covers(subject, s) })
	return append(subjects, subject)
}

// overlap reports whether some subject is matched by both.
func overlap(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		switch {
		case as[i] == ">" || bs[i] == ">":
			return true
		case as[i] != bs[i] && as[i] != "*" && bs[i] != "*":
			return false
		}
	}
	return len(as) == len(bs)
}

// join returns the narrowest subject that covers two that overlap.
func join(a, b string) string {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		switch {
		case as[i] == ">" || bs[i] == ">":
			return strings.Join(append(as[:i:i], ">"), ".")
		case as[i] != bs[i]:
			as[i] = "*"
		}
	}
	return strings.Join(as, ".")
}

// errForeign is wrapped by the error for a stream under a name of the host's that is
// somebody else's.
var errForeign = errors.New("is not the host's")

// ensureDead makes the stream of dead letters. Without it events are handled all the
// same, and those that would go there stay.
func (t *Trigger) ensureDead(ctx context.Context) error {
	t.streams.Lock()
	defer t.streams.Unlock()
	_, err := t.ownStream(ctx, jetstream.StreamConfig{
		Name: DeadStream, Description: "events that functions could not handle", Subjects: []string{DeadPrefix + ">"}, MaxAge: keepDead, AllowDirect: true,
	})
	if errors.Is(err, errForeign) {
		t.log.Error("dead letters cannot be stored: " + err.Error())
		return nil
	}
	return err
}

// ownStream returns a stream of the host's own, which is made if it is not there.
// One of that name that somebody else has made is left as it is, and is an error if
// it cannot serve. t.streams is held.
func (t *Trigger) ownStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := t.js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		making, cancel := whole(ctx)
		defer cancel()
		stream, err = t.js.CreateStream(making, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", cfg.Name, err)
	}
	is := stream.CachedInfo().Config
	lacks := ""
	for _, subject := range cfg.Subjects {
		if !slices.ContainsFunc(is.Subjects, func(s string) bool { return Covers(s, subject) }) {
			lacks = fmt.Sprintf("does not take %s", subject)
		}
	}
	switch {
	case lacks != "":
	case cfg.AllowMsgSchedules && !is.AllowMsgSchedules:
		lacks = "does not allow message schedules"
	case cfg.Retention != is.Retention:
		lacks = "does not keep messages as it must"
	}
	if lacks != "" {
		return nil, fmt.Errorf("the stream %s %w: it %s: move what it holds to a stream of another name, and remove it", cfg.Name, errForeign, lacks)
	}
	return stream, nil
}

// whole is the context of making a stream, which is not given up in the middle: a
// server that is stopped just then would leave something of it running.
func whole(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), setupTimeout)
}

// Covers reports whether each subject that b matches is matched by a.
func Covers(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i, token := range as {
		switch {
		case token == ">":
			return len(bs) > i
		case i >= len(bs), bs[i] == ">":
			return false
		case token != "*" && token != bs[i]:
			return false
		}
	}
	return len(as) == len(bs)
}
