package admin

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger/codec"
)

// bundleType is the media type of a packed source tree.
const bundleType = "application/vnd.fnhost.bundle"

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	v, err := s.backend.Status(r.Context())
	return replyOr(w, v, err)
}

func (s *Server) follow(w http.ResponseWriter, r *http.Request) error {
	return stream(s, w, r, func(ctx context.Context, yield func(DeployEvent) error) error {
		return s.backend.FollowDeploy(ctx, r.PathValue("id"), yield)
	})
}

func (s *Server) cancelDeploy(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, s.backend.CancelDeploy(r.PathValue("id")))
}

func (s *Server) versions(w http.ResponseWriter, r *http.Request) error {
	v, err := s.backend.Versions(r.Context(), r.PathValue("name"))
	return replyOr(w, v, err)
}

func (s *Server) version(w http.ResponseWriter, r *http.Request) error {
	v, err := s.backend.Version(r.Context(), r.PathValue("name"), r.PathValue("version"))
	return replyOr(w, v, err)
}

func (s *Server) release(w http.ResponseWriter, r *http.Request) error {
	var req ReleaseRequest
	if err := codec.Decode(http.MaxBytesReader(w, r.Body, maxRequest), &req); err != nil {
		return wire.Errorf(wire.BadRequest, "the request: %v", err)
	}
	req.By = byOr(r, req.By)
	NoteOutcome(r.Context(), nil, req.detail())
	v, err := s.backend.Release(r.Context(), r.PathValue("name"), req)
	if err == nil {
		NoteOutcome(r.Context(), nil, partsDetail(v.Parts))
	}
	return replyOr(w, v, err)
}

func (s *Server) remove(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, s.backend.Remove(r.Context(), r.PathValue("name")))
}

// maxRequest bounds the body of a request that is neither a source nor an
// invocation, in bytes.
const maxRequest = 1 << 20

func replyOr(w http.ResponseWriter, v any, err error) error {
	if err != nil {
		return err
	}
	return reply(w, v)
}

func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (s *Server) deploy(w http.ResponseWriter, r *http.Request) error {
	req, err := parseDeploy(r.URL.Query())
	if err != nil {
		return wire.Errorf(wire.BadRequest, "%v", err)
	}
	req.ID, req.By = r.PathValue("id"), by(r)
	if ct := r.Header.Get("Content-Type"); req.URL == "" && ct != bundleType {
		return wire.Errorf(wire.BadRequest, "the body is of type %q: want %s, or a parameter url", ct, bundleType)
	}
	http.NewResponseController(w).SetReadDeadline(time.Time{}) // large sources on slow lines
	return stream(s, w, r, func(ctx context.Context, yield func(DeployEvent) error) error {
		return s.backend.Deploy(ctx, req, r.Body, func(e DeployEvent) error {
			noteDeploy(r.Context(), &e)
			return yield(e)
		})
	})
}

// stream sends events, a JSON object a line, as they happen. An error before the
// first one is an answer of its own.
func stream[T any](s *Server, w http.ResponseWriter, r *http.Request, run func(context.Context, func(T) error) error) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	rc := http.NewResponseController(w)
	begun := false
	err := run(ctx, func(e T) error {
		if !begun {
			w.Header().Set("Content-Type", "application/x-ndjson")
			begun = true
		}
		b, err := codec.Marshal(e)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(b, '\n')); err != nil {
			return err
		}
		return rc.Flush()
	})
	if begun {
		return nil // the client knows a stream without a last event for what it is
	}
	return err
}

// query is the request as the parameters of its URL, the ID left out.
func (req *DeployRequest) query() url.Values {
	v := make(url.Values)
	for key, value := range map[string]string{
		"dir": req.Dir, "name": req.Name, "url": req.URL, "ref": req.Ref, "commit": req.Commit, "author": req.Author, "message": req.Message, "by": req.By,
	} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if req.NoRelease {
		v.Set("release", "none")
	}
	if req.Canary != 0 {
		v.Set("canary", strconv.Itoa(req.Canary))
	}
	return v
}

func parseDeploy(v url.Values) (req DeployRequest, err error) {
	req = DeployRequest{
		Dir: v.Get("dir"), Name: v.Get("name"), URL: v.Get("url"), Ref: v.Get("ref"),
		Commit: v.Get("commit"), Author: v.Get("author"), Message: v.Get("message"), By: v.Get("by"),
	}
	switch release := v.Get("release"); release {
	case "none":
		req.NoRelease = true
	case "":
	default:
		return req, wire.Errorf(wire.BadRequest, "release=%s: want none, or nothing", release)
	}
	if c := v.Get("canary"); c != "" {
		if req.Canary, err = strconv.Atoi(c); err != nil || req.Canary < 1 || req.Canary > 99 {
			return req, wire.Errorf(wire.BadRequest, "canary=%s: want a percentage from 1 to 99", c)
		}
	}
	return req, nil
}

// Steerer is what the API needs of a host to deploy and release.
type Steerer interface {
	Status(ctx context.Context) (Status, error)
	// Deploy reads a bundle from body, unless the request names a git repository,
	// and yields events until the last one. The deploy goes on when ctx has ended
	// after the body was read.
	Deploy(ctx context.Context, req DeployRequest, body io.Reader, yield func(DeployEvent) error) error
	FollowDeploy(ctx context.Context, id string, yield func(DeployEvent) error) error
	CancelDeploy(id string) error
	Deploys() []Deploy
	Versions(ctx context.Context, name string) ([]Version, error)
	Version(ctx context.Context, name, version string) (Version, error)
	Release(ctx context.Context, name string, req ReleaseRequest) (Release, error)
	Remove(ctx context.Context, name string) error
}
