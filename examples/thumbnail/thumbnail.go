// Package thumbnail makes images smaller. It has a go.mod of its own, and a
// third-party dependency.
//
//	curl --data-binary @photo.jpg 'localhost:8080/thumbnail?width=200' > small.jpg
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
	_ "golang.org/x/image/webp" // so that WebP can be read, too
)

const (
	defaultWidth = 160
	maxWidth     = 2000
	maxPixels    = 50_000_000 // of the original: a small file can unpack to gigabytes
)

// Handle scales the posted JPEG, PNG or WebP to ?width= pixels, keeps its
// proportions, and answers with a JPEG, or a PNG for a PNG.
func Handle(w http.ResponseWriter, r *http.Request) {
	width := defaultWidth
	if s := r.URL.Query().Get("width"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxWidth {
			http.Error(w, fmt.Sprintf("width %q: want a number from 1 to %d", s, maxWidth), http.StatusBadRequest)
			return
		}
		width = n
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	info, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		http.Error(w, "the body is no JPEG, PNG or WebP: "+err.Error(), http.StatusUnprocessableEntity)
		return
	}
	if info.Width*info.Height > maxPixels {
		http.Error(w, fmt.Sprintf("%d × %d pixels are more than %d", info.Width, info.Height, maxPixels), http.StatusUnprocessableEntity)
		return
	}
	original, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	small := scale(original, width)
	if format == "png" {
		w.Header().Set("Content-Type", "image/png")
		png.Encode(w, small)
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	jpeg.Encode(w, small, &jpeg.Options{Quality: 85})
}

func scale(original image.Image, width int) image.Image {
	b := original.Bounds()
	height := max(1, b.Dy()*width/b.Dx())
	small := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.CatmullRom.Scale(small, small.Bounds(), original, b, draw.Src, nil)
	return small
}
