package admin

import (
	"io"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/trigger/codec"
)

// route is one request of the API, and what its description says of it.
type route struct {
	pattern  string // of http.ServeMux
	summary  string
	query    []string     // parameters of the URL
	in       reflect.Type // of the body, nil for none or for bytes
	body     string       // media type of a body of bytes
	out      reflect.Type // of the answer, nil for none
	lines    bool         // it answers with an object a line, as they come
	outBytes string       // media type of an answer of bytes
	handler  func(http.ResponseWriter, *http.Request) error
}

func (s *Server) routes() []route {
	deployQuery := []string{"dir", "name", "release", "canary", "url", "ref", "commit", "author", "message", "by"}
	return slices.Concat(s.runRoutes(), s.bucketRoutes(), s.blobRoutes(), s.configRoutes(), s.secretRoutes(), s.identityRoutes(), s.namespaceRoutes(), s.auditRoutes(), []route{
		{pattern: "GET /healthz", summary: "200 while the host runs", handler: healthz},
		{pattern: "GET /v1/info", summary: "What host this is, and where it listens", out: reflect.TypeFor[Info](),
			handler: func(w http.ResponseWriter, _ *http.Request) error { return reply(w, s.backend.Info()) }},
		{pattern: "GET /v1/status", summary: "How the host is", out: reflect.TypeFor[Status](), handler: s.status},
		{pattern: "GET /v1/functions", summary: "All functions", out: reflect.TypeFor[[]Function](),
			handler: func(w http.ResponseWriter, _ *http.Request) error { return reply(w, s.backend.Functions()) }},
		{pattern: "GET /v1/functions/{name}", summary: "A function", out: reflect.TypeFor[Function](), handler: s.function},
		{pattern: "DELETE /v1/functions/{name}", summary: "Remove a deployed function, with all its versions", handler: s.remove},
		{pattern: "GET /v1/functions/{name}/versions", summary: "The versions of a deployed function, the newest first", out: reflect.TypeFor[[]Version](), handler: s.versions},
		{pattern: "GET /v1/functions/{name}/versions/{version}", summary: "A version, with the log of its build", out: reflect.TypeFor[Version](), handler: s.version},
		{pattern: "POST /v1/functions/{name}/release", summary: "Set the release, roll back, or promote a canary; answered when that serves",
			in: reflect.TypeFor[ReleaseRequest](), out: reflect.TypeFor[Release](), handler: s.release},
		{pattern: "POST /v1/invoke/{name...}", summary: "Run a function, \"orders\", or an endpoint of it, \"orders/create\"", body: "*/*", handler: s.invoke},
		{pattern: "GET /v1/logs", summary: "Log records", query: []string{"function", "invocation", "since", "tail", "follow"}, lines: true, handler: s.logs},
		{pattern: "GET /v1/deploys", summary: "The latest deploys, the newest first", out: reflect.TypeFor[[]Deploy](),
			handler: func(w http.ResponseWriter, _ *http.Request) error { return reply(w, s.backend.Deploys()) }},
		{pattern: "PUT /v1/deploys/{id}", summary: "Deploy a bundle, or the git repository at url, under an ID that the client chooses; one of a known ID is followed",
			query: deployQuery, body: bundleType, out: reflect.TypeFor[DeployEvent](), lines: true, handler: s.deploy},
		{pattern: "GET /v1/deploys/{id}", summary: "What happens in a deploy, from its begin", out: reflect.TypeFor[DeployEvent](), lines: true, handler: s.follow},
		{pattern: "DELETE /v1/deploys/{id}", summary: "Cancel a deploy; what serves stays as it was", handler: s.cancelDeploy},
		{pattern: "GET /v1/triggers", summary: "How the event and kv triggers, schedules and subscriptions are", out: reflect.TypeFor[[]EventTrigger](), handler: s.triggers},
		{pattern: "POST /v1/functions/{name}/pause", summary: "Have no event of its triggers begin, of one on a subject or all, until a time or resume",
			query: []string{"subject", "until"}, out: reflect.TypeFor[[]EventTrigger](), handler: s.pause},
		{pattern: "POST /v1/functions/{name}/resume", summary: "End a pause", query: []string{"subject"}, out: reflect.TypeFor[[]EventTrigger](), handler: s.resume},
		{pattern: "POST /v1/functions/{name}/replay", summary: "Run the function on events that a stream holds, until the client goes away",
			in: reflect.TypeFor[ReplayRequest](), out: reflect.TypeFor[ReplayEvent](), lines: true, handler: s.replay},
		{pattern: "GET /v1/events", summary: "Messages that streams hold, the oldest first: the latest ones, or the first ones from a time or sequence number on",
			query: []string{"stream", "subject", "from", "to", "limit"}, out: reflect.TypeFor[[]StoredEvent](), handler: s.storedEvents},
		{pattern: "GET /v1/events/{stream}/{sequence}", summary: "A message of a stream, with its data", out: reflect.TypeFor[StoredEvent](), handler: s.storedEvent},
		{pattern: "POST /v1/events/{subject}", summary: "Send a message; its headers are those of the request that begin with X-Fn-Pass-, such as X-Fn-Pass-Nats-Msg-Id, -Nats-Ttl, -Nats-Expected-Last-Subject-Sequence, and -Nats-Schedule (@at and a time) to send it later", body: "*/*",
			out: reflect.TypeFor[Receipt](), handler: s.publish},
		{pattern: "GET /v1/dead", summary: "Dead letters, the oldest first, without their data", query: []string{"function", "subject", "from", "limit"},
			out: reflect.TypeFor[[]DeadLetter](), handler: s.deadLetters},
		{pattern: "GET /v1/dead/{id}", summary: "A dead letter", out: reflect.TypeFor[DeadLetter](), handler: s.deadLetter},
		{pattern: "POST /v1/dead/{id}/redrive", summary: "Run its function once more, and remove it when that goes well", query: []string{"version"}, handler: s.redrive},
		{pattern: "DELETE /v1/dead/{id}", summary: "Remove a dead letter", handler: s.purgeDeadLetter},
		{pattern: "GET /v1/backup", summary: "All that the host keeps, as one file for fnhost restore; one without its end is no backup, and the trailer Fn-Error says why", outBytes: backupType, handler: s.backup},
		{pattern: "GET /v1/schemas/function.json", summary: "The JSON schema of function.yaml", handler: manifestSchema},
		{pattern: "GET /v1/openapi.json", summary: "This description", handler: s.openAPI},
	})
}

// serve implements the route.
func (rt route) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if err := rt.handler(w, r); err != nil && r.Context().Err() == nil {
		fail(w, err)
	}
}

func healthz(w http.ResponseWriter, _ *http.Request) error {
	_, err := io.WriteString(w, "ok\n")
	return err
}

func manifestSchema(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/schema+json")
	_, err := w.Write(manifest.Schema())
	return err
}

type object = map[string]any

// openAPI answers with the description of the API, made of the very routes.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	paths := make(map[string]object)
	for _, r := range s.routes() {
		method, path, _ := strings.Cut(r.pattern, " ")
		path = strings.ReplaceAll(path, "...}", "}")
		if paths[path] == nil {
			paths[path] = make(object)
		}
		paths[path][strings.ToLower(method)] = r.describe(path)
	}
	b, err := codec.Marshal(object{
		"openapi": "3.1.0",
		"info": object{"title": "fnhost management API", "version": APIVersion,
			"description": "Errors are problem documents (RFC 9457) with a member code."},
		"paths":      paths,
		"security":   []object{{"token": []string{}}},
		"components": object{"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}}},
	})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/vnd.oai.openapi+json")
	_, err = w.Write(b)
	return err
}

var wildcard = regexp.MustCompile(`\{(\w+)\}`)

// describe returns the route as an operation of OpenAPI.
func (rt route) describe(path string) object {
	params := []object{}
	text := object{"type": "string"}
	for _, m := range wildcard.FindAllStringSubmatch(path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": text})
	}
	for _, name := range rt.query {
		params = append(params, object{"name": name, "in": "query", "schema": text})
	}
	if l := leaves[rt.pattern]; l.resource != "" && !l.host {
		params = append(params, object{"name": HeaderNamespace, "in": "header", "schema": text})
	}
	op := object{"summary": rt.summary, "parameters": params}
	switch {
	case rt.in != nil:
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": schemaOf(rt.in)}}}
	case rt.body != "":
		op["requestBody"] = object{"content": object{rt.body: object{}}}
	}
	ok := object{"description": "done"}
	if rt.out != nil || rt.lines {
		media := "application/json"
		if rt.lines {
			media = "application/x-ndjson"
		}
		ok["content"] = object{media: object{"schema": schemaOf(rt.out)}}
	}
	if rt.outBytes != "" {
		ok["content"] = object{rt.outBytes: object{}}
	}
	failed := object{"description": "a problem", "content": object{"application/problem+json": object{"schema": schemaOf(reflect.TypeFor[Problem]())}}}
	op["responses"] = object{"2XX": ok, "default": failed}
	return op
}

func schemaOf(t reflect.Type) any {
	if t == nil {
		return object{}
	}
	return public(functions.SchemaOf(t))
}

// public removes from a schema what says where its Go type is declared.
func public(s *functions.Schema) *functions.Schema {
	if s == nil {
		return nil
	}
	s.GoType, s.GoField = "", ""
	for p := range maps.Values(s.Properties) {
		public(p)
	}
	public(s.Items)
	public(s.Values)
	return s
}
