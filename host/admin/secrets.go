package admin

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// Secret is what is known of a version of a secret. Its value is never told.
type Secret struct {
	Name    string    `json:"name"`
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	By      string    `json:"by,omitempty"`
	Key     string    `json:"key"` // ID of the master key that seals it
}

// KeyRotation is what a change of the master key has done.
type KeyRotation struct {
	Key       string   `json:"key"`               // ID of the one that seals from now on
	Rewrapped int      `json:"rewrapped"`         // versions that were sealed anew
	Dropped   []string `json:"dropped,omitempty"` // IDs of those that are of no use any more
	Unread    []string `json:"unread,omitempty"`  // versions that are damaged, or whose key is not there
	Source    string   `json:"source"`            // where the keys come from
	Owned     bool     `json:"owned"`             // it is the host's own file, in which there is no more to do
}

// SecretKeeper is what the API needs of a host for secrets.
type SecretKeeper interface {
	Secrets() ([]Secret, error)
	SecretVersions(name string) ([]Secret, error)
	SetSecret(ctx context.Context, name string, value []byte, by string) (Secret, error)
	RemoveSecret(ctx context.Context, name string) error
	RotateMasterKey(ctx context.Context) (KeyRotation, error)
}

// maxSecret bounds a value, in bytes; the host says what is too large.
const maxSecret = 1 << 20

func (s *Server) secretRoutes() []route {
	return []route{
		{pattern: "GET /v1/secrets", summary: "The secrets, by name, with their latest versions; values are never told", out: reflect.TypeFor[[]Secret](), handler: s.secrets},
		{pattern: "GET /v1/secrets/{name...}", summary: "The versions of a secret that are kept, the newest first", out: reflect.TypeFor[[]Secret](), handler: s.secretVersions},
		{pattern: "PUT /v1/secrets/{name...}", summary: "Set a secret: the body is its next version, as it is", query: []string{"by"}, body: "application/octet-stream", out: reflect.TypeFor[Secret](), handler: s.setSecret},
		{pattern: "DELETE /v1/secrets/{name...}", summary: "Remove a secret, with all its versions", handler: s.removeSecret},
		{pattern: "POST /v1/master-key/rotate", summary: "Seal all secrets with a new master key", out: reflect.TypeFor[KeyRotation](), handler: s.rotateMasterKey},
	}
}

func (s *Server) secrets(w http.ResponseWriter, _ *http.Request) error {
	list, err := s.backend.Secrets()
	return replyOr(w, list, err)
}

func (s *Server) secretVersions(w http.ResponseWriter, r *http.Request) error {
	list, err := s.backend.SecretVersions(r.PathValue("name"))
	return replyOr(w, list, err)
}

func (s *Server) setSecret(w http.ResponseWriter, r *http.Request) error {
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSecret))
	defer clear(value)
	if err != nil {
		return wire.Errorf(wire.TooLarge, "the value is larger than a secret may be")
	}
	v, err := s.backend.SetSecret(r.Context(), r.PathValue("name"), value, by(r))
	return replyOr(w, v, err)
}

func (s *Server) removeSecret(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, s.backend.RemoveSecret(r.Context(), r.PathValue("name")))
}

func (s *Server) rotateMasterKey(w http.ResponseWriter, r *http.Request) error {
	done, err := s.backend.RotateMasterKey(r.Context())
	return replyOr(w, done, err)
}

// secretPath is the path of a secret, whose name may have slashes.
func secretPath(name string) string {
	return "/v1/secrets/" + url.PathEscape(name)
}

// Secrets returns the secrets, by name, with their latest versions.
func (c *Client) Secrets(ctx context.Context) ([]Secret, error) {
	var v []Secret
	return v, c.get(ctx, "/v1/secrets", &v)
}

// SecretVersions returns the versions of a secret that are kept, the newest first.
func (c *Client) SecretVersions(ctx context.Context, name string) ([]Secret, error) {
	var v []Secret
	return v, c.get(ctx, secretPath(name), &v)
}

// SetSecret stores the next version of a secret. by says who does so.
func (c *Client) SetSecret(ctx context.Context, name string, value []byte, by string) (Secret, error) {
	var v Secret
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	resp, err := c.do(ctx, http.MethodPut, secretPath(name)+"?"+url.Values{"by": {by}}.Encode(), header, bytes.NewReader(value))
	if err != nil {
		return v, err
	}
	return v, decode(resp, &v)
}

// RemoveSecret removes a secret with all its versions.
func (c *Client) RemoveSecret(ctx context.Context, name string) error {
	return c.send(ctx, http.MethodDelete, secretPath(name), nil, nil)
}

// RotateMasterKey seals all secrets with a new master key.
func (c *Client) RotateMasterKey(ctx context.Context) (KeyRotation, error) {
	var v KeyRotation
	return v, c.send(ctx, http.MethodPost, "/v1/master-key/rotate", nil, &v)
}
