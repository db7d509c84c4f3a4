package event

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/builder/manifest"
)

// filter says which events a trigger handles. Those it does not are acknowledged
// when they come, and counted.
type filter struct {
	headers map[string][]string
	fields  []fieldFilter
}

type fieldFilter struct {
	path []string
	any  []any // string, float64 or bool
}

// newFilter returns nil for no filter.
func newFilter(spec *manifest.Filter) *filter {
	if spec == nil {
		return nil
	}
	f := &filter{headers: spec.Header}
	for path, values := range spec.Data {
		f.fields = append(f.fields, fieldFilter{strings.Split(path, "."), values})
	}
	return f
}

// matches reports whether all of the filter holds for m.
func (f *filter) matches(m *nats.Msg) bool {
	for name, values := range f.headers {
		if !slices.ContainsFunc(header(m, name), func(v string) bool { return slices.Contains(values, v) }) {
			return false
		}
	}
	if len(f.fields) > 0 && !json.Valid(m.Data) {
		return false
	}
	for _, ff := range f.fields {
		v := dataField(m, ff.path)
		if n, ok := v.(json.Number); ok {
			v, _ = n.Float64()
		}
		if v == nil || !slices.Contains(ff.any, v) {
			return false
		}
	}
	return true
}

// filtered returns start, but for events that are not to be handled.
func (r *reader) filtered(p *puller, start func(*message)) func(*message) {
	if p.filter == nil && r.source.Messages == nil {
		return start
	}
	return func(m *message) {
		takes := r.source.takes(m.msg)
		if takes && (p.filter == nil || p.filter.matches(m.msg)) {
			start(m)
			return
		}
		if takes { // what the source only comes along with is nobody's event
			r.skip(m, "the trigger is not for it")
		}
		m.Ack()
		p.rate.giveBack(1)
	}
}

// skip counts an event that is taken off without being handled.
func (r *reader) skip(m *message, why string) {
	r.skipped.Add(1)
	if !r.t.log.Enabled(r.ctx, slog.LevelDebug) {
		return
	}
	meta, err := m.Metadata()
	if err != nil {
		return
	}
	r.t.log.Debug("an event is skipped: "+why, "function", r.function, "subject", m.Subject(), "sequence", meta.Sequence.Stream)
}
