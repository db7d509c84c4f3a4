// Package thumbnail makes pictures smaller. It has a go.mod of its own, with a
// third-party dependency.
//
//	curl --data-binary @photo.jpg 'localhost:8080/thumbnail?width=200' > small.jpg
//
// A handler in the style of net/http sees the query of the request, and decides
// on status and type of the answer.
package thumbnail

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"strconv"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp" // so that image.Decode knows it
)

const (
	defaultWidth = 160
	maxWidth     = 1000

	// Of the original: a file of a few bytes may unpack to gigabytes.
	maxSide   = 10_000
	maxPixels = 25_000_000
)

// Handle answers a posted JPEG, PNG or WebP with the picture at ?width= pixels,
// or fewer if it has fewer: as a JPEG if it was one, else as a PNG.
func Handle(w http.ResponseWriter, r *http.Request) {
	width, err := widthOf(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	picture, format, err := decode(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	small := shrink(picture, width)
	if format == "jpeg" {
		w.Header().Set("Content-Type", "image/jpeg")
		jpeg.Encode(w, small, &jpeg.Options{Quality: 85})
		return
	}
	w.Header().Set("Content-Type", "image/png")
	png.Encode(w, small)
}

func widthOf(r *http.Request) (int, error) {
	text := r.URL.Query().Get("width")
	if text == "" {
		return defaultWidth, nil
	}
	width, err := strconv.Atoi(text)
	if err != nil || width < 1 || width > maxWidth {
		return 0, fmt.Errorf("width %q: want a number from 1 to %d", text, maxWidth)
	}
	return width, nil
}

// decode looks at the size that a picture claims before it unpacks it.
func decode(body io.Reader) (picture image.Image, format string, err error) {
	var head bytes.Buffer
	claimed, format, err := image.DecodeConfig(io.TeeReader(body, &head))
	if err != nil {
		return nil, "", fmt.Errorf("the body is not a JPEG, PNG or WebP: %w", err)
	}
	if claimed.Width > maxSide || claimed.Height > maxSide || claimed.Width*claimed.Height > maxPixels {
		return nil, "", fmt.Errorf("%d × %d pixels are too many: want up to %d a side and %d in all",
			claimed.Width, claimed.Height, maxSide, maxPixels)
	}
	picture, _, err = image.Decode(io.MultiReader(&head, body))
	if err != nil {
		return nil, "", fmt.Errorf("the %s is damaged: %w", format, err)
	}
	return picture, format, nil
}

// shrink keeps the proportions, and never enlarges.
func shrink(picture image.Image, width int) image.Image {
	from := picture.Bounds()
	width = min(width, from.Dx())
	height := max(1, from.Dy()*width/from.Dx())
	small := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.CatmullRom.Scale(small, small.Bounds(), picture, from, draw.Src, nil)
	return small
}
