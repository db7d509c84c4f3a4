// Package admin is the management API of a host, as a server and as a client.
// The command line is a user of the client.
//
// Paths begin with /v1. Bodies are JSON; errors are problem documents (RFC 9457)
// with a code of package wire.
//
//	GET  /v1/info                     what host this is, and where it listens
//	GET  /v1/functions                all functions
//	GET  /v1/functions/{name}         one
//	POST /v1/invoke/{name...}         runs "function" or "function/endpoint" with the body; the headers
//	                                  X-Fn-Method and X-Fn-Uri are for http handlers
//	GET  /v1/logs                     records, a JSON object a line; query: function, invocation, since, tail, follow
//	GET  /v1/schemas/function.json    the JSON schema of function.yaml, for editors
//	GET  /v1/status                   how the host is: functions, workers, deploys, disk
//	PUT  /v1/deploys/{id}             deploys a bundle (package bundle), or the git repository at url, under
//	                                  an ID that the client chooses; what happens is answered as it does
//	GET  /v1/deploys                  the latest deploys
//	GET  /v1/deploys/{id}             what happens in one, from its begin
//	DELETE /v1/deploys/{id}           cancels it
//	GET  /v1/functions/{name}/versions            of a deployed function
//	GET  /v1/functions/{name}/versions/{version}  one, with the log of its build
//	POST /v1/functions/{name}/release sets, rolls back or promotes
//	DELETE /v1/functions/{name}       removes a deployed function
//	POST /v1/async/{name...}          stores a call that is answered later, as invoke; headers X-Call-Id, X-Callback-Url
//	GET  /v1/runs                     what has become of calls and events; query: function, state, limit
//	GET  /v1/runs/{id}                one, with input, output and lines of functions.Log; query: wait
//	DELETE /v1/runs/{id}              cancels it
//	GET  /v1/callback-secret          the key that callbacks are signed with
//	GET  /v1/secrets                  the secrets; values are never told
//	GET  /v1/secrets/{name...}        the versions of one
//	PUT  /v1/secrets/{name...}        sets one to the body; query: by
//	DELETE /v1/secrets/{name...}      removes it
//	POST /v1/master-key/rotate        seals all secrets with a new master key
//	GET, POST /v1/buckets             the buckets of functions, and making one
//	GET, DELETE /v1/buckets/{bucket}  one; query of DELETE: keys
//	GET  /v1/buckets/{bucket}/keys    keys, an object a line; query: prefix, suffix, glob, after, limit, descending, values
//	GET  /v1/buckets/{bucket}/watch   changes, an object a line; query: prefix, suffix, glob, initial, from, keysOnly
//	GET, PUT, DELETE /v1/buckets/{bucket}/keys/{key}  a value as it is; query of PUT: ttl, ifRevision, of DELETE: ifRevision, purge
//	GET  /v1/buckets/{bucket}/keys/{key}/history      what is kept of a key
//	POST /v1/buckets/{bucket}/keys/{key}/add          adds to a number; query: delta, ttl
//	GET  /v1/config                   what is set in a layer of the configuration; query: function, version
//	PUT  /v1/config                   sets path to the JSON that is the body; DELETE removes it
//	GET  /v1/config/effective         what a function reads, and from which layers
//	GET  /v1/config/history           revisions of a layer; POST /v1/config/rollback goes back to one
//	GET  /v1/blobs                    the stores of blobs of functions
//	PUT, DELETE /v1/blobs/{store}     makes one, removes it
//	GET  /v1/blobs/{store}/blobs      blobs; query: prefix, after, limit
//	GET, PUT, DELETE /v1/blobs/{store}/blobs/{name}  a blob as it is
//	GET  /v1/audit                    who has changed what, a JSON object a line; query: since, account, action, limit, follow
//	GET  /v1/audit/verify             whether a record was changed, or taken out
//	GET  /v1/backup                   all that the host keeps, as one file (package backup)
//	GET, POST /v1/namespaces          the namespaces, and making one
//	DELETE /v1/namespaces/{namespace} removes one with all that is in it; query: force
//	PUT  /v1/namespaces/{namespace}/limits  sets its limits
//	GET, POST, DELETE /v1/exports     what namespaces export to others; query of DELETE: from, to, function, subject
//	POST /v1/login                    tokens for account and password; POST /v1/refresh the next ones, /v1/logout ends them
//	GET  /v1/whoami                   who asks
//	GET  /v1/auth/check               whether somebody may do something, and why; query: as, namespace, resource
//	GET, POST /v1/accounts            the accounts, and making one
//	PATCH, DELETE /v1/accounts/{account}  changes one, removes it; DELETE …/logins ends its logins
//	GET, POST /v1/tokens              machine tokens, and making one; DELETE /v1/tokens/{id} revokes it
//	GET, POST /v1/rules               the rules, and adding one; DELETE /v1/rules/{id} removes it
//	GET, POST /v1/issuers             others whose tokens are good here; DELETE /v1/issuers/{name}
//	GET  /v1/keys                     the signing keys; POST /v1/keys/rotate makes a new one
//	GET  /.well-known/jwks.json       their public halves, for others
//	GET  /v1/openapi.json             this API, as OpenAPI 3.1
//	GET  /healthz                     200 while the host runs
//
// A request is for the default namespace, unless the header X-Fn-Namespace names another
// one: all but backups, the master key and the namespaces themselves is a namespace's own.
//
// A host that asks who comes gets a token as "Authorization: Bearer …", for all but
// /healthz, /v1/openapi.json, the public keys, and what gives and ends logins. Each answer tells the API's version, of which
// the major part stands in the paths, in the header Fn-Api.
package admin

import (
	"context"
	"encoding/json"
	"time"

	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/worker"
	"github.com/fnhost/fnhost/trigger"
)

// Info says what host answers.
type Info struct {
	Version string    `json:"version"` // of fnhost
	Go      string    `json:"go"`      // of the host itself
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Dir     string    `json:"dir"`            // data directory
	HTTP    string    `json:"http,omitempty"` // URL of the gateway
	Admin   string    `json:"admin,omitempty"`
	NATS    string    `json:"nats,omitempty"` // URL for NATS clients
	Watch   []string  `json:"watch,omitempty"`
}

// Function is what there is to tell of a function.
type Function struct {
	Name        string       `json:"name"`              // "hello (functions/hello2)" for a directory that is left out, since another function has its name
	State       string       `json:"state"`             // "building", "ready", "failed" or "draining"
	Version     string       `json:"version,omitempty"` // that serves; of several, the one with the most invocations
	Release     []Part       `json:"release,omitempty"` // what serves, the heaviest first
	Since       *time.Time   `json:"since,omitempty"`   // when that became so
	Kind        string       `json:"kind"`              // "watched", "deployed" or "in process"
	Dir         string       `json:"dir,omitempty"`     // of a watched function
	Doc         string       `json:"doc,omitempty"`
	Artifact    string       `json:"artifact,omitempty"`
	Size        int64        `json:"size,omitempty"`  // of the artifact, in bytes
	Error       string       `json:"error,omitempty"` // why the latest source does not serve
	Diagnostics []Diagnostic `json:"diagnostics,omitempty"`
	Endpoints   []Endpoint   `json:"endpoints,omitempty"`
	Routes      []string     `json:"routes,omitempty"`
	Timeout     string       `json:"timeout,omitempty"`
	Network     string       `json:"network,omitempty"` // that its workers reach: "none", "outbound", or "all" without walls; "" of a function in process
	Walls       []string     `json:"walls,omitempty"`   // what the walls around its workers are made of
	Workers     worker.Stats `json:"workers"`
}

// Part is a version's part in a release.
type Part struct {
	Version string `json:"version"` // "v3"
	Weight  int    `json:"weight"`  // in percent
}

// Diagnostic is a fault of a source at its place.
type Diagnostic struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Excerpt string `json:"excerpt,omitempty"`
}

// Endpoint is one handler of a function.
type Endpoint struct {
	Name     string          `json:"name"` // "" for the root
	Kind     string          `json:"kind"`
	Doc      string          `json:"doc,omitempty"`
	Path     string          `json:"path"`    // at the gateway
	Subject  string          `json:"subject"` // of requests over NATS
	Request  json.RawMessage `json:"request,omitempty"`
	Response json.RawMessage `json:"response,omitempty"`
}

// Backend is what the API steers: a host.
type Backend interface {
	trigger.Invoker
	Steerer
	Events
	RunKeeper
	SecretKeeper
	BucketKeeper
	BlobKeeper
	Configurer
	Backuper
	Auditor
	Info() Info
	Functions() []Function
	Function(name string) (Function, error)
	ReadLogs(ctx context.Context, q logs.Query, yield func(logs.Record) error) error
}
