// Package thumbnailer makes a small picture of each one that is uploaded:
//
//	nats sub 'thumbnails.>' &
//	fnhost send uploads.cat -d @cat.jpg
//
// The picture is made by the function thumbnail.
package thumbnailer

import (
	"context"
	"errors"
	"strings"

	"github.com/fnhost/fnhost/functions"
)

// Handle makes the thumbnail of uploads.NAME and sends it as thumbnails.NAME.
func Handle(ctx context.Context, e functions.Event) error {
	var small []byte
	err := functions.Call(ctx, "thumbnail", e.Data, &small)
	if errors.Is(err, functions.ErrBadRequest) || errors.Is(err, &functions.Error{Code: functions.Unprocessed}) {
		return functions.Permanent(err) // it will be no picture the next time either
	}
	if err != nil {
		return err
	}
	return functions.Publish(ctx, "thumbnails."+strings.TrimPrefix(e.Subject, "uploads."), small)
}
