package admin

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestTheDescriptionIsComplete(t *testing.T) {
	c, api, _ := serve(t)
	resp, err := http.Get(c.URL() + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Summary    string
			Parameters []struct{ Name, In string }
			Responses  map[string]struct {
				Content map[string]struct {
					Schema struct{ Properties map[string]any }
				}
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil || doc.OpenAPI != "3.1.0" {
		t.Fatalf("version %q, %v", doc.OpenAPI, err)
	}
	for _, r := range api.routes() {
		method, path, _ := strings.Cut(r.pattern, " ")
		path = strings.ReplaceAll(path, "...}", "}")
		op, ok := doc.Paths[path][strings.ToLower(method)]
		if !ok || op.Summary == "" {
			t.Errorf("%s is not described", r.pattern)
		}
		n := strings.Count(path, "{") + len(r.query)
		if l := leaves[r.pattern]; l.resource != "" && !l.host {
			n++ // the header that names a namespace
		}
		if len(op.Parameters) != n {
			t.Errorf("%s has parameters %v", r.pattern, op.Parameters)
		}
		if op.Responses["default"].Content["application/problem+json"].Schema.Properties["code"] == nil {
			t.Errorf("%s: errors are not described", r.pattern)
		}
	}
	info := doc.Paths["/v1/info"]["get"].Responses["2XX"].Content["application/json"].Schema.Properties
	if info["version"] == nil || info["admin"] == nil {
		t.Errorf("info is described as %v", info)
	}
}
