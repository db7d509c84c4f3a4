package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host/registry"
	"github.com/fnhost/fnhost/kv/config"
)

// configNote says why nobody may read what was set at a path of a layer, as after a slip
// of the pen, and "" if somebody may.
func (h *Namespace) configNote(ctx context.Context, l ConfigLayer, path string, value json.RawMessage) string {
	index := *h.index.Load()
	if l.Function == "" {
		for _, f := range index {
			if r := f.current.Load(); r != nil && unread(r.main().manifest, path, value) == "" {
				return ""
			}
		}
		if len(index) == 0 || path == "" {
			return ""
		}
		return fmt.Sprintf("no function that serves reads %s: it is in no config.schema's properties, or not in access.config", path)
	}
	f := index[l.Function]
	if f == nil {
		return ""
	}
	var v *version
	if r := f.current.Load(); r != nil {
		v = r.main()
	}
	if l.Version > 0 {
		var err error
		if v, err = f.named(ctx, registry.VersionName(l.Version)); errors.Is(err, functions.ErrNoFunction) {
			return err.Error() + ": it is for when there is one"
		} else if err != nil {
			return ""
		}
	}
	if v == nil {
		return ""
	}
	return unread(v.manifest, path, value)
}

// unread says why a function of a manifest does not read what is at a path, "" if it may.
func unread(m *manifest.Manifest, path string, value json.RawMessage) string {
	if path == "" {
		return ""
	}
	if m.Access != nil {
		v, err := config.Parse(value)
		doc, setErr := config.Set(nil, path, v)
		if err != nil || setErr != nil {
			return ""
		}
		if allowed, _ := config.Only(doc, m.Access.Config); len(allowed) == 0 {
			return fmt.Sprintf("the function does not read %s: access.config in its %s does not list it", path, manifest.FileName)
		}
	}
	if m.Config == nil || m.Config.Schema == "" {
		return ""
	}
	var schema any
	if json.Unmarshal([]byte(m.Config.Schema), &schema) == nil && !hasProperty(schema, strings.Split(path, ".")) {
		return fmt.Sprintf("%s is not among the properties in the config.schema of its %s", path, manifest.FileName)
	}
	return ""
}

// hasProperty reports whether a schema names a path, or may do so in a way that is not
// followed here.
func hasProperty(schema any, path []string) bool {
	s, ok := schema.(map[string]any)
	if !ok || len(path) == 0 {
		return true
	}
	for _, key := range []string{"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties", "dependentSchemas", "items", "prefixItems"} {
		if _, ok := s[key]; ok {
			return true
		}
	}
	if _, ok := s["additionalProperties"].(map[string]any); ok {
		return true
	}
	properties, ok := s["properties"].(map[string]any)
	if !ok {
		return true
	}
	below, ok := properties[path[0]]
	return ok && hasProperty(below, path[1:])
}
