package rpc

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/codec"
)

// ServiceName is the name under which discovery finds a host.
const ServiceName = "fnhost"

// serviceVersion is that of the protocol on the subjects, as discovery wants one.
const serviceVersion = "1.0.0"

// service answers the discovery protocol of NATS services
// (https://github.com/nats-io/nats-architecture-and-design, ADR-32). nats.go has
// a server's side of it, too, but one that runs an endpoint's requests one after
// another.
type service struct {
	conn    *nats.Conn
	id      string
	started time.Time
	subs    []*nats.Subscription

	mu    sync.Mutex
	table *trigger.Table
	stats map[string]*stats // by endpoint name
}

// stats counts the requests of one endpoint.
type stats struct {
	requests, errors int64
	lastError        string
	time             time.Duration
}

// The messages of the protocol.
type (
	identity struct {
		Name     string            `json:"name"`
		ID       string            `json:"id"`
		Version  string            `json:"version"`
		Metadata map[string]string `json:"metadata"`
		Type     string            `json:"type"`
	}
	infoReply struct {
		identity
		Description string         `json:"description"`
		Endpoints   []endpointInfo `json:"endpoints"`
	}
	endpointInfo struct {
		Name       string            `json:"name"`
		Subject    string            `json:"subject"`
		QueueGroup string            `json:"queue_group"`
		Metadata   map[string]string `json:"metadata"`
	}
	statsReply struct {
		identity
		Started   time.Time       `json:"started"`
		Endpoints []endpointStats `json:"endpoints"`
	}
	endpointStats struct {
		Name           string `json:"name"`
		Subject        string `json:"subject"`
		QueueGroup     string `json:"queue_group"`
		Requests       int64  `json:"num_requests"`
		Errors         int64  `json:"num_errors"`
		LastError      string `json:"last_error"`
		Processing     int64  `json:"processing_time"`         // nanoseconds
		AverageProcess int64  `json:"average_processing_time"` // nanoseconds
	}
)

func newService(conn *nats.Conn) (*service, error) {
	s := &service{conn: conn, id: rand.Text()[:22], started: time.Now().UTC(), table: &trigger.Table{}, stats: make(map[string]*stats)}
	for verb, answer := range map[string]func() any{"PING": s.ping, "INFO": s.info, "STATS": s.statistics} {
		for _, subject := range []string{"$SRV." + verb, "$SRV." + verb + "." + ServiceName, "$SRV." + verb + "." + ServiceName + "." + s.id} {
			sub, err := conn.Subscribe(subject, func(m *nats.Msg) {
				b, err := codec.Marshal(answer())
				if err == nil && verb == "INFO" && int64(len(b)) > conn.MaxPayload() {
					b, err = codec.Marshal(s.infoOf(false))
				}
				if err == nil && mayAnswer(m.Reply) {
					m.Respond(b)
				}
			})
			if err != nil {
				s.close()
				return nil, fmt.Errorf("discovery: %w", err)
			}
			s.subs = append(s.subs, sub)
		}
	}
	return s, nil
}

func (s *service) close() {
	for _, sub := range s.subs {
		sub.Unsubscribe()
	}
}

func (s *service) update(t *trigger.Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = t
	for key := range s.stats {
		function, _, _ := strings.Cut(key, "_")
		if t.Functions[function] == nil {
			delete(s.stats, key)
		}
	}
}

// function returns what is known of a function, nil for nothing.
func (s *service) function(name string) *trigger.Function {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.Functions[name]
}

// endpointName is the name of an endpoint in discovery, which allows no dots.
// Names of functions have no underscore.
func endpointName(function, endpoint string) string {
	if endpoint == "" {
		return function
	}
	return function + "_" + endpoint
}

func (s *service) count(function, endpoint string, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.table.Functions[function]; f == nil || f.Endpoint(endpoint) == nil {
		return // nobody gets to fill the memory with names
	}
	key := endpointName(function, endpoint)
	st := s.stats[key]
	if st == nil {
		st = &stats{}
		s.stats[key] = st
	}
	st.requests++
	st.time += took
	if err != nil {
		st.errors++
		e := wire.AsError(err)
		st.lastError = fmt.Sprintf("%d:%s", trigger.StatusOf(e), e.Message)
	}
}

func (s *service) identity(kind string) identity {
	return identity{Name: ServiceName, ID: s.id, Version: serviceVersion, Metadata: map[string]string{}, Type: "io.nats.micro.v1." + kind + "_response"}
}

func (s *service) ping() any { return s.identity("ping") }

func (s *service) info() any { return s.infoOf(true) }

// infoOf returns what INFO answers. Without the schemas and texts it is short
// enough for servers with small messages and many functions.
func (s *service) infoOf(full bool) any {
	r := infoReply{identity: s.identity("info"), Description: "functions of an fnhost node", Endpoints: []endpointInfo{}}
	s.each(func(f *trigger.Function, e *trigger.Endpoint) {
		meta := map[string]string{"function": f.Name, "version": f.Version, "kind": e.Kind}
		for key, value := range map[string]string{"description": e.Doc, "request": string(e.Request), "response": string(e.Response)} {
			if value != "" && full {
				meta[key] = value
			}
		}
		r.Endpoints = append(r.Endpoints, endpointInfo{
			Name: endpointName(f.Name, e.Name), Subject: Subject(f.Name, e.Name), QueueGroup: Queue, Metadata: meta,
		})
	})
	return r
}

func (s *service) statistics() any {
	r := statsReply{identity: s.identity("stats"), Started: s.started, Endpoints: []endpointStats{}}
	s.each(func(f *trigger.Function, e *trigger.Endpoint) {
		one := endpointStats{Name: endpointName(f.Name, e.Name), Subject: Subject(f.Name, e.Name), QueueGroup: Queue}
		if st := s.stats[one.Name]; st != nil {
			one.Requests, one.Errors, one.LastError, one.Processing = st.requests, st.errors, st.lastError, st.time.Nanoseconds()
			one.AverageProcess = one.Processing / one.Requests
		}
		r.Endpoints = append(r.Endpoints, one)
	})
	return r
}

// each visits all endpoints, in the order of their names.
func (s *service) each(visit func(*trigger.Function, *trigger.Endpoint)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.table.Functions)) {
		f := s.table.Functions[name]
		for i := range f.Endpoints {
			visit(f, &f.Endpoints[i])
		}
	}
}

// Subject returns the subject of an endpoint, "" being the root.
func Subject(function, endpoint string) string {
	if endpoint == "" {
		return Prefix + function
	}
	return Prefix + function + "." + endpoint
}
