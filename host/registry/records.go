package registry

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/manifest"
)

// Function is the record of a function: what serves.
type Function struct {
	Name     string  `json:"name"`
	Release  Release `json:"release"`
	Released []int   `json:"released"` // versions that ever were in a release, ascending
	Revision uint64  `json:"-"`        // of the record; grows with each change
}

// Release says which versions get the invocations.
type Release struct {
	Parts []Part    `json:"parts"` // the heaviest first; the weights sum to 100
	Time  time.Time `json:"time"`
	By    string    `json:"by,omitempty"`
}

// Part is a version's part in a release.
type Part struct {
	Version int `json:"version"`
	Weight  int `json:"weight"` // in percent, from 1
}

// Whole returns the parts of a release of one version.
func Whole(version int) []Part { return []Part{{Version: version, Weight: 100}} }

// Canary returns the parts of a release in which version gets weight percent, and
// the heaviest version of before the rest. Weights of 0 and 100 leave one part.
func (r *Release) Canary(version, weight int) []Part {
	if len(r.Parts) == 0 || weight >= 100 || r.Parts[0].Version == version {
		return Whole(version)
	}
	return sorted([]Part{{r.Parts[0].Version, 100 - weight}, {version, weight}})
}

// Holds reports whether a version is part of the release.
func (r *Release) Holds(version int) bool {
	return slices.ContainsFunc(r.Parts, func(p Part) bool { return p.Version == version })
}

// String returns "v3", or "v3=90 v4=10".
func (r *Release) String() string {
	if len(r.Parts) == 1 {
		return VersionName(r.Parts[0].Version)
	}
	var list []string
	for _, p := range r.Parts {
		list = append(list, fmt.Sprintf("v%d=%d", p.Version, p.Weight))
	}
	return strings.Join(list, " ")
}

func sorted(parts []Part) []Part {
	slices.SortStableFunc(parts, func(a, b Part) int {
		if a.Weight != b.Weight {
			return b.Weight - a.Weight
		}
		return a.Version - b.Version
	})
	return parts
}

// Check returns what is wrong with a release, nil for nothing.
func (r *Release) Check() error {
	sum := 0
	seen := make(map[int]bool)
	for _, p := range r.Parts {
		if p.Weight < 1 || p.Weight > 100 {
			return fmt.Errorf("weight %d of v%d: want 1 to 100", p.Weight, p.Version)
		}
		if seen[p.Version] {
			return fmt.Errorf("v%d is named twice", p.Version)
		}
		seen[p.Version] = true
		sum += p.Weight
	}
	if sum != 100 {
		return fmt.Errorf("the weights sum to %d: want 100", sum)
	}
	return nil
}

// VersionName returns "v3" for 3.
func VersionName(number int) string { return "v" + strconv.Itoa(number) }

// ParseVersion returns 3 for "v3" or "3".
func ParseVersion(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(s, "v"))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a version: want v1, v2, …", s)
	}
	return n, nil
}

// Version is one build of a function. It never changes.
type Version struct {
	Function string `json:"function"`
	Number   int    `json:"number"`
	Artifact string `json:"artifact"` // the builder's id: a hash of all that it is made of
	Program  string `json:"program"`  // SHA-256 of the program, its name among the artifacts
	Size     int64  `json:"size"`     // of the program, in bytes
	// ManifestSum is a hash of the manifest; versions of equal Artifact and
	// ManifestSum are equal.
	ManifestSum string             `json:"manifestSum"`
	Manifest    *manifest.Manifest `json:"manifest"`
	Doc         string             `json:"doc,omitempty"`
	Endpoints   []Endpoint         `json:"endpoints"`
	Publishes   []builder.Publish  `json:"publishes,omitempty"` // subjects, as far as the source tells, with files in its tree
	Source      Source             `json:"source"`
	Created     time.Time          `json:"created"`
	Took        time.Duration      `json:"took"`      // the build, in nanoseconds
	Toolchain   string             `json:"toolchain"` // the Go that built it
}

// Name returns "v3".
func (v *Version) Name() string { return VersionName(v.Number) }

// Endpoint is one handler of a version.
type Endpoint struct {
	Name     string          `json:"name"`
	Kind     string          `json:"kind"`
	Doc      string          `json:"doc,omitempty"`
	Request  json.RawMessage `json:"request,omitempty"`
	Response json.RawMessage `json:"response,omitempty"`
}

// Kinds of sources.
const (
	Upload = "upload"   // sent by fnhost deploy, or the embedding program
	Push   = "git push" // pushed to the host's git remote
	Git    = "git"      // fetched by the host
)

// Source says where the source of a version came from.
type Source struct {
	Kind    string `json:"kind"`
	Bundle  string `json:"bundle"`            // SHA-256 of the bundle, its name among the sources
	Dir     string `json:"dir,omitempty"`     // of the function in the bundle, "" for all of it
	Size    int64  `json:"size"`              // of the files, in bytes
	Files   int    `json:"files"`             // in the bundle
	URL     string `json:"url,omitempty"`     // for Git
	Ref     string `json:"ref,omitempty"`     // for Git and Push
	Commit  string `json:"commit,omitempty"`  // if it is known
	Author  string `json:"author,omitempty"`  // who made it, or who deployed it
	Message string `json:"message,omitempty"` // the first line of the commit's
}
