package host

import (
	"encoding/json"
	"os"

	"github.com/fnhost/fnhost/builder"
)

// What is learnt of an artifact lies in files beside it, so that a host that
// starts needs not start a worker of each function to know it again.
const (
	readySuffix   = ".ready"   // its workers were ready once, and serve these endpoints
	schemasSuffix = ".schemas" // the schemas of those
)

func readBeside(a *builder.Artifact, suffix string, v any) bool {
	b, err := os.ReadFile(a.Path + suffix)
	return err == nil && json.Unmarshal(b, v) == nil
}

// writeBeside may fail: what is not written is learnt again.
func writeBeside(a *builder.Artifact, suffix string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return
	}
	tmp := a.Path + suffix + ".new"
	if os.WriteFile(tmp, b, 0o644) == nil {
		os.Rename(tmp, a.Path+suffix)
	}
}
