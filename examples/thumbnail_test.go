package examples_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// photo is a picture with what photos have: slow changes, edges, and noise.
func photo(width, height int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	noise := rand.New(rand.NewPCG(1, 2))
	for y := range height {
		for x := range width {
			fx, fy := float64(x)/float64(width), float64(y)/float64(height)
			sky := 200 - 120*fy
			if math.Hypot(fx-0.7, fy-0.3) < 0.15 {
				sky = 250 // the sun
			}
			grain := noise.Float64() * 12
			m.SetRGBA(x, y, color.RGBA{uint8(sky), uint8(120 + 80*math.Sin(9*fx) + grain), uint8(220*fy + grain), 255})
		}
	}
	return m
}

func encodeJPEG(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 92}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encodePNG(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bomb is the beginning of a PNG that would unpack to 3.6 GB.
func bomb() []byte {
	header := []byte("IHDR\x00\x00\x75\x30\x00\x00\x75\x30\x08\x06\x00\x00\x00") // 30000 × 30000, RGBA
	b := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), header...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(header))
}

// webP is a picture of one colour, in the lossless format of WebP: a code with one
// symbol takes no bits, so that the pixels need none.
func webP(width, height int, c color.RGBA) []byte {
	var bits uint64
	var filled int
	data := []byte{0x2f}
	put := func(value, n int) {
		bits |= uint64(value) << filled
		for filled += n; filled >= 8; filled -= 8 {
			data = append(data, byte(bits))
			bits >>= 8
		}
	}
	put(width-1, 14)
	put(height-1, 14)
	put(0, 1+3+3) // no alpha, version 0; no transform, colour cache or meta codes
	for _, symbol := range []uint8{c.G, c.R, c.B, c.A} {
		put(0b101, 3) // a simple code, of one symbol, of eight bits
		put(int(symbol), 8)
	}
	put(0b0001, 4) // and for distances one of one bit
	put(0, 7)      // up to a whole byte
	if len(data)%2 == 1 {
		data = append(data, 0)
	}
	file := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(12+len(data)))
	file = binary.LittleEndian.AppendUint32(append(file, "WEBPVP8L"...), uint32(len(data)))
	return append(file, data...)
}

func wantPicture(t *testing.T, data []byte, format string, width, height int) image.Image {
	t.Helper()
	m, got, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v in %.100q", err, data)
	}
	if size := m.Bounds().Size(); got != format || size != image.Pt(width, height) {
		t.Errorf("got a %s of %v, want a %s of (%d,%d)", got, size, format, width, height)
	}
	return m
}

func testThumbnail(t *testing.T, r *running) {
	t.Run("sizes", func(t *testing.T) { testThumbnailSizes(t, r) })
	t.Run("looks like the original", func(t *testing.T) { testThumbnailLooks(t, r) })
	t.Run("refused", func(t *testing.T) { testThumbnailRefused(t, r) })
	t.Run("NATS", func(t *testing.T) { testThumbnailOverNATS(t, r) })
}

func testThumbnailSizes(t *testing.T, r *running) {
	tests := []struct {
		name, query    string
		original       []byte
		format         string
		width, height  int
		smallerInBytes bool
	}{
		{"JPEG", "?width=200", encodeJPEG(t, photo(1600, 1200)), "jpeg", 200, 150, true},
		{"JPEG of the default width", "", encodeJPEG(t, photo(640, 480)), "jpeg", 160, 120, true},
		{"PNG", "?width=100", encodePNG(t, photo(400, 600)), "png", 100, 150, true},
		{"larger than the original", "?width=900", encodePNG(t, photo(30, 20)), "png", 30, 20, false},
		{"a line stays one", "?width=10", encodePNG(t, photo(900, 1)), "png", 10, 1, true},
		{"WebP", "?width=100", webP(320, 240, color.RGBA{200, 90, 30, 255}), "png", 100, 75, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := r.http(t, "POST", "/thumbnail"+test.query, test.original)
			if a.status != 200 || a.header.Get("Content-Type") != "image/"+test.format {
				t.Fatalf("%d %s %.200s", a.status, a.header.Get("Content-Type"), a.body)
			}
			wantPicture(t, a.body, test.format, test.width, test.height)
			if test.smallerInBytes && len(a.body) >= len(test.original) {
				t.Errorf("%d bytes became %d", len(test.original), len(a.body))
			}
		})
	}
}

// Sun, sky and ground are where they were.
func testThumbnailLooks(t *testing.T, r *running) {
	original := photo(800, 600)
	a := r.http(t, "POST", "/thumbnail?width=80", encodeJPEG(t, original))
	small := wantPicture(t, a.body, "jpeg", 80, 60)
	for _, p := range []image.Point{{56, 18}, {5, 5}, {40, 55}} {
		want, _, blueWant, _ := original.At(p.X*10+5, p.Y*10+5).RGBA()
		got, _, blueGot, _ := small.At(p.X, p.Y).RGBA()
		if far(got, want) || far(blueGot, blueWant) {
			t.Errorf("at %v: red %d blue %d, want about %d and %d", p, got>>8, blueGot>>8, want>>8, blueWant>>8)
		}
	}
	rust := color.RGBA{200, 90, 30, 255}
	a = r.http(t, "POST", "/thumbnail?width=80", webP(320, 240, rust))
	if got := color.RGBAModel.Convert(wantPicture(t, a.body, "png", 80, 60).At(40, 30)); got != rust {
		t.Errorf("WebP: %v, want %v", got, rust)
	}
}

func far(a, b uint32) bool { return max(a, b)-min(a, b) > 20<<8 }

func testThumbnailRefused(t *testing.T, r *running) {
	whole := encodeJPEG(t, photo(300, 200))
	tests := []struct {
		name, query string
		body        []byte
		status      int
		text        string
	}{
		{"width that is no number", "?width=wide", whole, 400, `width "wide": want a number from 1 to 1000`},
		{"width of nothing", "?width=0", whole, 400, "want a number"},
		{"too wide", "?width=1001", whole, 400, "want a number"},
		{"no body", "", nil, 422, "not a JPEG, PNG or WebP"},
		{"text", "", []byte("hello"), 422, "not a JPEG, PNG or WebP"},
		{"half a picture", "", whole[:len(whole)/2], 422, "the jpeg is damaged"},
		{"more pixels than memory", "", bomb(), 422, "30000 × 30000 pixels are too many"},
		{"more bytes than allowed", "", bytes.Repeat([]byte{0}, 16<<20+1), 413, "larger than the function's limit"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r.http(t, "POST", "/thumbnail"+test.query, test.body).want(t, test.status, test.text)
		})
	}
}

func testThumbnailOverNATS(t *testing.T, r *running) {
	m := r.nats(t, "fn.thumbnail", encodeJPEG(t, photo(640, 480)))
	wantPicture(t, m.Data, "jpeg", 160, 120)
	if got := m.Header.Get("Content-Type"); got != "image/jpeg" {
		t.Errorf("Content-Type = %q", got)
	}
	m = r.nats(t, "fn.thumbnail", []byte("hello"))
	if m.Header.Get("Fn-Status") != "422" || !strings.Contains(string(m.Data), "not a JPEG") {
		t.Errorf("text: %v %s", m.Header, m.Data)
	}
}
