package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger/codec"
)

// ErrBrokenOff is wrapped by the errors of a deploy whose host went away before
// the last event. The deploy may go on: [Client.FollowDeploy] tells.
var ErrBrokenOff = errors.New("the host went away before the deploy ended")

// Status returns how the host is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var v Status
	return v, c.get(ctx, "/v1/status", &v)
}

// Deploy sends a packed source tree, or has the host fetch the git repository
// that the request names, and calls event with what happens. The request's ID
// makes it safe to try again: the host knows it then. It returns what became of
// each function. The error is an *[Problem] for what the host found wrong, or
// wraps [ErrBrokenOff] or [ErrUnreachable].
func (c *Client) Deploy(ctx context.Context, req DeployRequest, body io.Reader, event func(DeployEvent)) ([]Deployed, error) {
	var header http.Header
	if req.URL == "" {
		header = http.Header{"Content-Type": {bundleType}}
	}
	resp, err := c.do(ctx, http.MethodPut, "/v1/deploys/"+url.PathEscape(req.ID)+"?"+req.query().Encode(), header, body)
	if err != nil {
		return nil, err
	}
	return readEvents(resp.Body, event)
}

// FollowDeploy is [Client.Deploy] for a deploy that was begun before.
func (c *Client) FollowDeploy(ctx context.Context, id string, event func(DeployEvent)) ([]Deployed, error) {
	resp, err := c.do(ctx, http.MethodGet, "/v1/deploys/"+url.PathEscape(id), nil, nil)
	if err != nil {
		return nil, err
	}
	return readEvents(resp.Body, event)
}

func readEvents(body io.ReadCloser, event func(DeployEvent)) ([]Deployed, error) {
	defer body.Close()
	r := bufio.NewReader(body)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("%w: %w", ErrBrokenOff, err)
		}
		var e DeployEvent
		if err := codec.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("deploy: %w", err)
		}
		event(e)
		switch {
		case e.Error != nil:
			return nil, e.Error
		case e.Last():
			return e.Result, nil
		}
	}
}

// Error makes a Problem the error that it tells of.
func (p *Problem) Error() string { return p.Detail }

// Unwrap makes it an error of its code.
func (p *Problem) Unwrap() error { return &wire.Error{Code: wire.Code(p.Code)} }

// CancelDeploy ends a deploy. What serves stays as it was.
func (c *Client) CancelDeploy(ctx context.Context, id string) error {
	return c.send(ctx, http.MethodDelete, "/v1/deploys/"+url.PathEscape(id), nil, nil)
}

// Deploys returns the latest deploys, the newest first.
func (c *Client) Deploys(ctx context.Context) ([]Deploy, error) {
	var v []Deploy
	return v, c.get(ctx, "/v1/deploys", &v)
}

// Versions returns the versions of a deployed function, the newest first.
func (c *Client) Versions(ctx context.Context, name string) ([]Version, error) {
	var v []Version
	return v, c.get(ctx, "/v1/functions/"+url.PathEscape(name)+"/versions", &v)
}

// Version returns one version, with the log of its build.
func (c *Client) Version(ctx context.Context, name, version string) (Version, error) {
	var v Version
	return v, c.get(ctx, "/v1/functions/"+url.PathEscape(name)+"/versions/"+url.PathEscape(version), &v)
}

// Release changes what of a function serves, and returns when it does.
func (c *Client) Release(ctx context.Context, name string, req ReleaseRequest) (Release, error) {
	var v Release
	return v, c.send(ctx, http.MethodPost, "/v1/functions/"+url.PathEscape(name)+"/release", req, &v)
}

// Remove ends a deployed function, and removes its versions.
func (c *Client) Remove(ctx context.Context, name string) error {
	return c.send(ctx, http.MethodDelete, "/v1/functions/"+url.PathEscape(name), nil, nil)
}
