package admin

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// ConfigLayer names a layer of the configuration: that of the namespace, of a function,
// or of one version of it.
type ConfigLayer struct {
	Function string // "" for the namespace
	Version  string // "v3", "" for all
}

// Config is what is set in a layer.
type Config struct {
	Layer    string          `json:"layer"`    // "namespace default", "function orders" or "version v3 of orders"
	Revision uint64          `json:"revision"` // 0 if nothing was ever set
	Time     *time.Time      `json:"time,omitempty"`
	By       string          `json:"by,omitempty"`     // who has changed it
	Change   string          `json:"change,omitempty"` // "set limits.rate to 5"
	Values   json.RawMessage `json:"values"`
	Note     string          `json:"note,omitempty"` // of a set: why no function may read it, as where a path is misspelt
}

// EffectiveConfig is what a version of a function reads.
type EffectiveConfig struct {
	Function string            `json:"function"`
	Version  string            `json:"version,omitempty"` // "" if there is no such function yet
	Revision uint64            `json:"revision"`
	Values   json.RawMessage   `json:"values"`
	Defaults json.RawMessage   `json:"defaults,omitempty"` // of the function's manifest
	From     map[string]string `json:"from"`               // of each value, by its path, the layer, or "defaults"
	Partial  bool              `json:"partial,omitempty"`  // access.config leaves something out
	Misfit   string            `json:"misfit,omitempty"`   // in what it does not fit the function's schema
}

// Configurer is what the API needs of a host for configuration.
type Configurer interface {
	Config(ctx context.Context, l ConfigLayer) (Config, error)
	EffectiveConfig(ctx context.Context, l ConfigLayer) (EffectiveConfig, error)
	ConfigHistory(ctx context.Context, l ConfigLayer) ([]Config, error)
	SetConfig(ctx context.Context, l ConfigLayer, by, path string, value json.RawMessage) (Config, error)
	RemoveConfig(ctx context.Context, l ConfigLayer, by, path string) (Config, error)
	RollbackConfig(ctx context.Context, l ConfigLayer, by string, revision uint64) (Config, error)
}

// maxConfig bounds a value, in bytes of JSON.
const maxConfig = 256 << 10

func (s *Server) configRoutes() []route {
	one, layer := reflect.TypeFor[Config](), []string{"function", "version"}
	with := func(more ...string) []string { return append(more, layer...) }
	return []route{
		{pattern: "GET /v1/config", summary: "What is set in a layer of the configuration: the namespace's, a function's, or a version's", query: layer, out: one,
			handler: func(w http.ResponseWriter, r *http.Request) error {
				v, err := s.backend.Config(r.Context(), layerOf(r))
				return replyOr(w, v, err)
			}},
		{pattern: "GET /v1/config/effective", summary: "What a version of a function reads, by default of the one that serves, and from which layers it comes", query: layer,
			out: reflect.TypeFor[EffectiveConfig](), handler: func(w http.ResponseWriter, r *http.Request) error {
				v, err := s.backend.EffectiveConfig(r.Context(), layerOf(r))
				return replyOr(w, v, err)
			}},
		{pattern: "GET /v1/config/history", summary: "The revisions of a layer that are kept, the oldest first", query: layer, out: reflect.TypeFor[[]Config](),
			handler: func(w http.ResponseWriter, r *http.Request) error {
				v, err := s.backend.ConfigHistory(r.Context(), layerOf(r))
				if v == nil {
					v = []Config{}
				}
				return replyOr(w, v, err)
			}},
		{pattern: "PUT /v1/config", summary: "Set a path of a layer, such as limits.rate, to the JSON value that is the body; without a path, the whole layer. Refused if a function that serves does not take it",
			query: with("path", "by"), body: "application/json", out: one, handler: s.setConfig},
		{pattern: "DELETE /v1/config", summary: "Remove what a layer has at a path, or all of it", query: with("path", "by"), out: one,
			handler: func(w http.ResponseWriter, r *http.Request) error {
				q := r.URL.Query()
				v, err := s.backend.RemoveConfig(r.Context(), layerOf(r), by(r), q.Get("path"))
				return replyOr(w, v, err)
			}},
		{pattern: "POST /v1/config/rollback", summary: "Make an earlier revision of a layer the current one again, as a new revision", query: with("revision", "by"), out: one,
			handler: s.rollbackConfig},
	}
}

func layerOf(r *http.Request) ConfigLayer {
	return ConfigLayer{Function: r.URL.Query().Get("function"), Version: r.URL.Query().Get("version")}
}

func (s *Server) setConfig(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxConfig))
	if err != nil {
		return wire.Errorf(wire.TooLarge, "%v", err)
	}
	if !json.Valid(body) {
		return wire.Errorf(wire.BadRequest, "the body is no JSON: text is JSON in quotes")
	}
	v, err := s.backend.SetConfig(r.Context(), layerOf(r), by(r), r.URL.Query().Get("path"), body)
	return replyOr(w, v, err)
}

func (s *Server) rollbackConfig(w http.ResponseWriter, r *http.Request) error {
	revision, err := strconv.ParseUint(r.URL.Query().Get("revision"), 10, 64)
	if err != nil {
		return wire.Errorf(wire.BadRequest, "revision=%.40s: want a number", r.URL.Query().Get("revision"))
	}
	v, err := s.backend.RollbackConfig(r.Context(), layerOf(r), by(r), revision)
	return replyOr(w, v, err)
}

// configPath is the address of a layer, with pairs of parameters.
func configPath(path string, l ConfigLayer, pairs ...string) string {
	q := url.Values{}
	pairs = append(pairs, "function", l.Function, "version", l.Version)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return path + "?" + q.Encode()
}

// Config returns what is set in a layer.
func (c *Client) Config(ctx context.Context, l ConfigLayer) (Config, error) {
	var v Config
	return v, c.get(ctx, configPath("/v1/config", l), &v)
}

// EffectiveConfig returns what a version of a function reads, by default of the one
// that serves.
func (c *Client) EffectiveConfig(ctx context.Context, l ConfigLayer) (EffectiveConfig, error) {
	var v EffectiveConfig
	return v, c.get(ctx, configPath("/v1/config/effective", l), &v)
}

// ConfigHistory returns the revisions of a layer that are kept, the oldest first.
func (c *Client) ConfigHistory(ctx context.Context, l ConfigLayer) ([]Config, error) {
	var v []Config
	return v, c.get(ctx, configPath("/v1/config/history", l), &v)
}

// SetConfig sets a path of a layer to a JSON value.
func (c *Client) SetConfig(ctx context.Context, l ConfigLayer, by, path string, value json.RawMessage) (Config, error) {
	var v Config
	resp, err := c.do(ctx, http.MethodPut, configPath("/v1/config", l, "path", path, "by", by), http.Header{"Content-Type": {"application/json"}}, strings.NewReader(string(value)))
	if err != nil {
		return v, err
	}
	return v, decode(resp, &v)
}

// RemoveConfig removes what a layer has at a path, or all of it for an empty one.
func (c *Client) RemoveConfig(ctx context.Context, l ConfigLayer, by, path string) (Config, error) {
	var v Config
	return v, c.send(ctx, http.MethodDelete, configPath("/v1/config", l, "path", path, "by", by), nil, &v)
}

// RollbackConfig makes an earlier revision of a layer the current one again.
func (c *Client) RollbackConfig(ctx context.Context, l ConfigLayer, by string, revision uint64) (Config, error) {
	var v Config
	return v, c.send(ctx, http.MethodPost, configPath("/v1/config/rollback", l, "revision", strconv.FormatUint(revision, 10), "by", by), nil, &v)
}
