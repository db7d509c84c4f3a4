package admin

import "time"

// DeployRequest says what to deploy, and what becomes of it.
type DeployRequest struct {
	ID        string `json:"id"`                  // that the client has chosen: a request of a known ID is the same deploy
	Dir       string `json:"dir,omitempty"`       // the folder in the tree, "" for all of it
	Name      string `json:"name,omitempty"`      // of the function, if the folder is one without a name of its own
	NoRelease bool   `json:"noRelease,omitempty"` // only make versions
	Canary    int    `json:"canary,omitempty"`    // percent of the invocations, 0 for all
	URL       string `json:"url,omitempty"`       // of a git repository to fetch, instead of an upload
	Ref       string `json:"ref,omitempty"`       // branch, tag or commit of it
	Commit    string `json:"commit,omitempty"`    // of an upload, if it is known
	Author    string `json:"author,omitempty"`    // who made it
	Message   string `json:"message,omitempty"`
	By        string `json:"by,omitempty"` // who deploys it
}

// Steps of a deploy, as they stand in its events.
const (
	StepReceive = "receive"
	StepFetch   = "fetch"
	StepBuild   = "build"
	StepStart   = "start"
	StepStore   = "store"
	StepRelease = "release"
	StepWarning = "warning" // no step: Text says what is not as it should be
)

// DeployEvent is something that happens in a deploy: a step of a function, or of
// the whole, begins or is done. The last event has Result or Error.
type DeployEvent struct {
	Time     time.Time     `json:"time"`
	Function string        `json:"function,omitempty"`
	Step     string        `json:"step,omitempty"`
	Done     bool          `json:"done,omitempty"`
	Took     time.Duration `json:"took,omitempty"` // nanoseconds
	Text     string        `json:"text,omitempty"`
	Result   []Deployed    `json:"result,omitempty"`
	Error    *Problem      `json:"error,omitempty"`
}

// Last reports whether no event follows.
func (e *DeployEvent) Last() bool { return e.Result != nil || e.Error != nil }

// Deployed is what became of one function of a deploy.
type Deployed struct {
	Function  string        `json:"function"`
	Version   string        `json:"version"`
	Unchanged bool          `json:"unchanged,omitempty"` // there was an equal version; a release that holds it stays
	Release   string        `json:"release,omitempty"`   // what serves now: "v3", or "v3=90 v4=10"; "" if nothing was released
	Before    string        `json:"before,omitempty"`    // what served: "v3", or "v3=90 v4=10"
	URL       string        `json:"url,omitempty"`
	Subject   string        `json:"subject"`
	Asks      bool          `json:"asks,omitempty"` // over HTTP it is asked who comes, and neither the manifest nor the host lets anybody
	Took      time.Duration `json:"took"`           // nanoseconds, from the begin of the deploy
}

// Deploy is a deploy that goes on, or has ended.
type Deploy struct {
	ID        string     `json:"id"`
	Functions []string   `json:"functions,omitempty"`
	Started   time.Time  `json:"started"`
	Ended     *time.Time `json:"ended,omitempty"`
	Error     string     `json:"error,omitempty"`
}

// Problem is a problem document (RFC 9457), with a code of package wire.
type Problem struct {
	Title       string       `json:"title"`
	Status      int          `json:"status"`
	Detail      string       `json:"detail"`
	Code        string       `json:"code"`
	Diagnostics []Diagnostic `json:"diagnostics,omitempty"` // of a source that does not build, with paths in its tree
}

// Version is a version of a deployed function.
type Version struct {
	Function  string        `json:"function"`
	Version   string        `json:"version"`
	Weight    int           `json:"weight"` // percent of the invocations it gets now
	Artifact  string        `json:"artifact"`
	Program   string        `json:"program"` // SHA-256
	Size      int64         `json:"size"`    // of the program, in bytes
	Source    VersionSource `json:"source"`
	Created   time.Time     `json:"created"`
	Took      time.Duration `json:"took"` // of the build, in nanoseconds
	Toolchain string        `json:"toolchain"`
	Doc       string        `json:"doc,omitempty"`
	Endpoints []string      `json:"endpoints"`          // names, "" for the root
	Manifest  any           `json:"manifest,omitempty"` // with defaults filled in
	Log       string        `json:"log,omitempty"`      // of the build, if one version was asked for
}

// VersionSource says where the source of a version came from.
type VersionSource struct {
	Kind    string `json:"kind"` // "upload", "git push" or "git"
	Bundle  string `json:"bundle"`
	Dir     string `json:"dir,omitempty"`
	Size    int64  `json:"size"`
	Files   int    `json:"files"`
	URL     string `json:"url,omitempty"`
	Ref     string `json:"ref,omitempty"`
	Commit  string `json:"commit,omitempty"`
	Author  string `json:"author,omitempty"`
	Message string `json:"message,omitempty"`
}

// Release says what of a function serves.
type Release struct {
	Function string    `json:"function"`
	Parts    []Part    `json:"parts"`
	Time     time.Time `json:"time"`
	By       string    `json:"by,omitempty"`
}

// ReleaseRequest changes a release. Exactly one of the first three is set.
type ReleaseRequest struct {
	Parts    []Part `json:"parts,omitempty"`    // the new one
	Rollback string `json:"rollback,omitempty"` // to a version, or "previous"
	Promote  bool   `json:"promote,omitempty"`  // the canary
	By       string `json:"by,omitempty"`
}

// Status is how the host is.
type Status struct {
	Info
	Functions map[string]int `json:"functions"` // how many are in each state
	Workers   int            `json:"workers"`
	Running   int            `json:"running"` // invocations
	Deploys   []Deploy       `json:"deploys,omitempty"`
	Stored    *Stored        `json:"stored,omitempty"`
	Free      int64          `json:"free"`              // bytes, where the data directory lies; -1 if that is not known
	Storage   string         `json:"storage,omitempty"` // why nothing can be stored, as on a full disk
}

// Stored is how much the registry stores, in bytes.
type Stored struct {
	Artifacts uint64 `json:"artifacts"`
	Sources   uint64 `json:"sources"`
	Records   uint64 `json:"records"`
}
