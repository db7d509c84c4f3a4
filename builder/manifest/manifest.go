package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// FileName is the name of the manifest in a function's directory. [Load] also
// takes function.yml.
const FileName = "function.yaml"

const otherFileName = "function.yml"

// Limits of what a manifest may say.
const (
	MaxFileSize    = 64 << 10         // bytes of the file itself
	MaxNameLength  = 63               // characters of a name: a DNS label
	MinTimeout     = time.Millisecond // of an invocation
	MaxTimeout     = 15 * time.Minute // of an invocation
	MaxConcurrency = 10_000           // invocations at once in one worker
	MaxQueue       = 100_000          // invocations that wait
	MaxWorkers     = 1024             // of one version on one node
	MinIdle        = time.Second      // before an idle worker stops
	MaxIdle        = 24 * time.Hour   // before an idle worker stops
	MinMemory      = 4 << 20          // bytes; an idle Go worker has about as much
	MaxMemory      = 1 << 40          // bytes
	MinProcesses   = 32               // of one worker, threads included; an idle Go worker has about ten
	MaxProcesses   = 100_000          // of one worker
	MinDisk        = 1 << 20          // bytes
	MaxDisk        = 1 << 40          // bytes
	MaxBody        = 1 << 30          // bytes of a request body
	MaxRoutes      = 256              // HTTP routes of one function
)

// What Network and Sandbox may be.
const (
	NetworkNone     = "none"     // no network at all
	NetworkOutbound = "outbound" // connections to others, none from them
	SandboxAuto     = "auto"     // as the host has it
	SandboxStrict   = "strict"   // all of the wall, or no worker
)

// HardMemory returns how many bytes a worker may have, its files and children included,
// before it is killed: a quarter more than Memory, and 32 MiB more at least. Without
// Memory it is 0: the host bounds it by its own.
func (m *Manifest) HardMemory() int64 {
	if m.Memory == 0 {
		return 0
	}
	return m.Memory + max(m.Memory/4, 32<<20)
}

// Manifest is what a function.yaml says, with the defaults filled in. The JSON
// form is for storing it; durations are nanoseconds there.
type Manifest struct {
	// Name is the function's name, valid by ValidName. Empty if the file has none:
	// the caller then derives it from the directory, with NameFromDir.
	Name string `json:"name,omitzero"`
	// Runtime is what runs the function. Default, and only value: "go".
	Runtime string `json:"runtime"`
	// Timeout is how long an invocation may take, waiting for a worker included,
	// from MinTimeout to MaxTimeout; 0, in the file "none", is until its caller
	// goes away. Default 30s.
	Timeout time.Duration `json:"timeout"`
	// Concurrency is how many invocations run at once in one worker, from 1 to
	// MaxConcurrency. Default 100.
	Concurrency int `json:"concurrency"`
	// Queue is how many invocations may wait when all workers are full, from 0
	// (none waits) to MaxQueue. Default 1000.
	Queue int `json:"queue"`
	// Scale says how many workers run.
	Scale Scale `json:"scale"`
	// Memory is the soft limit of one worker's memory in bytes (GOMEMLIMIT), from
	// MinMemory to MaxMemory. Default 0: none. Behind a wall a worker is killed that has
	// HardMemory.
	Memory int64 `json:"memory,omitzero"`
	// Network says what of the network the workers reach: NetworkNone, the default, or
	// NetworkOutbound.
	Network string `json:"network,omitzero"`
	// Processes is how many processes and threads a worker may have, itself included,
	// from MinProcesses to MaxProcesses. Default 0: 256.
	Processes int `json:"processes,omitzero"`
	// Disk is how many bytes the files may have that workers make, those of all workers on a
	// node together, from MinDisk to MaxDisk. Default 0: 512 MiB.
	Disk int64 `json:"disk,omitzero"`
	// Sandbox says what happens on a machine that cannot build the whole wall around
	// workers: with SandboxStrict the function is refused. Default empty: as the host has it.
	Sandbox string `json:"sandbox,omitzero"`
	// Body is the size in bytes of the largest request body, from 1 to MaxBody.
	// Default 8 MiB.
	Body int64 `json:"body"`
	// Env is added to the workers' environment. Values are as written in the file,
	// without NUL, but for ${config:limits.rate}, see [Expand]. Names match [A-Za-z_][A-Za-z0-9_]*, do not begin with FNHOST_
	// and are not GOMEMLIMIT, which Memory sets. Default nil.
	Env map[string]string `json:"env,omitzero"`
	// Public lets anybody call the function over HTTP, on hosts that ask who comes.
	// Default false.
	Public bool `json:"public,omitzero"`
	// Scopes let accounts call it over HTTP that have one of them. It is not set with
	// Public. Default nil: those whom a rule of the host lets.
	Scopes []string `json:"scopes,omitzero"`
	// Access lists what the function may touch. Default nil: everything in its
	// namespace.
	Access *Access `json:"access,omitzero"`
	// Config says what configuration the function reads. Default nil: nothing is
	// known of it.
	Config *Config `json:"config,omitzero"`
	// CORS lets browsers call the function from other origins. Default nil: no
	// CORS headers.
	CORS *CORS `json:"cors,omitzero"`
	// Limit bounds the HTTP requests for the function, by whichever route. Default nil: no
	// limit.
	Limit *Limit `json:"limit,omitzero"`
	// Async says how calls are handled that are stored first, and answered later.
	Async Async `json:"async,omitzero"`
	// Triggers start the function, beside the path and the subject it always has.
	Triggers Triggers `json:"triggers,omitzero"`
}

// Scale says how many workers of a function run on a node.
type Scale struct {
	// Min is how many workers are kept even when idle, from 0 to MaxWorkers.
	// Default 0.
	Min int `json:"min"`
	// Max is the most workers, from Min to MaxWorkers. Default 0: the number of
	// cores, or Min if that is more.
	Max int `json:"max"`
	// Idle is how long a worker beyond Min may be idle before it stops, from
	// MinIdle to MaxIdle. Default 5m.
	Idle time.Duration `json:"idle"`
}

// Access is the allow-list of what a function may touch. A nil or empty list
// allows nothing of its kind. The package documentation describes the patterns.
type Access struct {
	// Functions are name patterns of the functions it may call.
	Functions []string `json:"functions,omitzero"`
	// Buckets are name patterns of the KV buckets it may read and write.
	Buckets []string `json:"buckets,omitzero"`
	// Subjects are the NATS subjects it may publish to, wildcards allowed. None
	// begins with $: those are the server's own, also where a wildcard matches them.
	Subjects []string `json:"subjects,omitzero"`
	// Config are key patterns of the configuration it may read.
	Config []string `json:"config,omitzero"`
	// Secrets are key patterns of the secrets it may read.
	Secrets []string `json:"secrets,omitzero"`
}

// CORS says which pages of other origins may call the function.
type CORS struct {
	// Origins are "*", or origins such as https://example.com, whose host may begin
	// with a "*." that stands for any subdomain. At least one.
	Origins []string `json:"origins"`
	// Methods are the allowed methods, upper case. Default nil: GET, HEAD and POST.
	Methods []string `json:"methods,omitzero"`
	// Headers are the request headers that a page may set, or "*". Default nil:
	// those that need no permission.
	Headers []string `json:"headers,omitzero"`
	// Expose are the response headers that a page may read, or "*". Default nil:
	// those that need no permission.
	Expose []string `json:"expose,omitzero"`
	// Credentials allows cookies and authorization. It needs origins other than
	// "*". Default false.
	Credentials bool `json:"credentials,omitzero"`
	// MaxAge is how long a browser may remember the answer to a preflight, from 1s
	// to 24h. Default 0: the browser decides.
	MaxAge time.Duration `json:"maxAge,omitzero"`
}

// Triggers are what starts a function, by kind.
type Triggers struct {
	// HTTP are routes of the gateway, at most MaxRoutes. No two of them match the
	// same request without one being more specific.
	HTTP []Route `json:"http,omitzero"`
	// Event are the events that start the function, at most MaxEvents.
	Event []Event `json:"event,omitzero"`
	// Schedule are the times that start the function, at most MaxSchedules.
	Schedule []Schedule `json:"schedule,omitzero"`
	// Subscribe are the messages that start the function, at most MaxSubscriptions.
	Subscribe []Subscribe `json:"subscribe,omitzero"`
	// KV are the changes of buckets that start the function, at most MaxKV.
	KV []KV `json:"kv,omitzero"`
}

// Route is one HTTP route.
type Route struct {
	// Path is a path in the syntax of [net/http.ServeMux]. It begins with a slash.
	Path string `json:"path"`
	// Methods are the methods it takes, upper case. Default nil: all, and POST for a
	// route that stores an event.
	Methods []string `json:"methods,omitzero"`
	// Host is the host name it answers to, lower case, without a port. Default
	// empty: all.
	Host string `json:"host,omitzero"`
	// Endpoint is the endpoint that it invokes. Default empty: the root.
	Endpoint string `json:"endpoint,omitzero"`
	// Event is the subject of an event that the route stores, instead of invoking
	// anything: its body, which is answered with 202 when a stream has it. Parts of it
	// may be wildcards of Path, such as orders.{id}.paid. Default empty: none.
	Event string `json:"event,omitzero"`
	// Public and Scopes say who may use the route, in place of those of the function.
	// Default: those.
	Public bool     `json:"public,omitzero"`
	Scopes []string `json:"scopes,omitzero"`
	// Limit bounds the requests for the route, which count for that of the function, too.
	// Default nil: no limit.
	Limit *Limit `json:"limit,omitzero"`
}

// Patterns returns the route in the pattern syntax of [net/http.ServeMux], once
// for each method. Those of all routes of one manifest can be registered on one
// ServeMux.
func (r Route) Patterns() []string {
	if len(r.Methods) == 0 && r.Event != "" {
		return []string{"POST " + r.Host + r.Path}
	}
	if len(r.Methods) == 0 {
		return []string{r.Host + r.Path}
	}
	patterns := make([]string, len(r.Methods))
	for i, method := range r.Methods {
		patterns[i] = method + " " + r.Host + r.Path
	}
	return patterns
}

// Default returns the manifest of a function that has none. Its Name is empty.
func Default() *Manifest {
	return &Manifest{
		Runtime:     "go",
		Timeout:     30 * time.Second,
		Concurrency: 100,
		Queue:       1000,
		Scale:       Scale{Idle: 5 * time.Minute},
		Body:        8 << 20,
		Async:       DefaultAsync(),
	}
}

// Parse reads a manifest and fills in the defaults. The name of the file is only
// for the errors. An empty file is the default manifest. If anything is wrong,
// Parse returns [Errors], and no manifest.
func Parse(file string, data []byte) (*Manifest, error) {
	r := &reader{file: file}
	m := Default()
	if root := r.document(data); root != nil {
		manifestKeys.read(r, node{Node: root}, m)
	}
	if len(r.errs) > 0 {
		r.errs.keepWithin(data)
		r.errs.sort()
		return nil, r.errs
	}
	return m, nil
}

// Load reads the manifest of the function in dir: function.yaml or function.yml,
// and the defaults if there is neither. It returns [Errors] if the manifest is
// wrong, with File relative to dir, also if both files are there or if the one
// there is not a plain file. A link that leads out of dir is not followed. Other
// errors are those of opening and reading.
func Load(dir string) (*Manifest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	defer root.Close()
	var found []string
	for _, name := range []string{FileName, otherFileName} {
		if _, err := root.Lstat(name); err == nil {
			found = append(found, name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("manifest: %w", err)
		}
	}
	switch len(found) {
	case 0:
		return Default(), nil
	case 1:
		return loadFile(root, found[0])
	}
	return nil, Errors{{
		File:    otherFileName,
		Message: fmt.Sprintf("there is %s too, and a function has one manifest", FileName),
		Hint:    "remove one of the two",
	}}
}

func loadFile(root *os.Root, name string) (*Manifest, error) {
	// Opening a named pipe would wait for its writer.
	info, err := root.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, Errors{{File: name, Message: "is not a plain file"}}
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	defer f.Close()
	// One byte more than allowed is enough for Parse to refuse the file.
	data, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return Parse(name, data)
}
