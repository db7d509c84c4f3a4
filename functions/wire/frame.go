package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Sizes, in bytes.
const (
	// MaxPayload is the largest payload of one frame; longer bodies go in chunks.
	MaxPayload = 64 << 10
	// MaxHeader is the largest header block of one frame.
	MaxHeader = 1<<16 - 1
	// Window is the credit for chunks that each direction of an exchange starts with.
	Window = 256 << 10

	lengthSize = 4
	fixedSize  = 12 // id, kind, flags, header size
	maxLength  = fixedSize + MaxHeader + MaxPayload
)

// ErrFrame is the error for bytes that are not a frame of this protocol; the
// session that received them is over.
var ErrFrame = errors.New("wire: malformed frame")

// Kind says what a frame is.
type Kind uint8

// Kinds of frames; the package documentation says who sends which, and when.
const (
	Ready Kind = iota + 1
	Invoke
	Result
	Call
	Reply
	Chunk
	Credit
	Cancel
	Log
	Drain
	Describe
)

// Flags qualify a frame.
type Flags uint8

const (
	// End marks the last frame of one direction of an exchange.
	End Flags = 1 << iota
	// Failed marks a frame that carries an error; End is set with it.
	Failed
)

// A Frame is one unit of the protocol. Header and Payload of a frame that was
// read belong to the reader of it and are not written to again.
type Frame struct {
	ID      uint64
	Kind    Kind
	Flags   Flags
	Header  Header
	Payload []byte
}

// AppendFrame appends the encoding of f to dst. It returns an error that wraps
// [ErrFrame], and dst unchanged, if the header or the payload is too large.
func AppendFrame(dst []byte, f *Frame) ([]byte, error) {
	if len(f.Header) > MaxHeader || len(f.Payload) > MaxPayload {
		return dst, fmt.Errorf("%w: header of %d bytes, payload of %d", ErrFrame, len(f.Header), len(f.Payload))
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(fixedSize+len(f.Header)+len(f.Payload)))
	dst = binary.BigEndian.AppendUint64(dst, f.ID)
	dst = append(dst, byte(f.Kind), byte(f.Flags))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(f.Header)))
	dst = append(dst, f.Header...)
	return append(dst, f.Payload...), nil
}

// A Reader reads frames from a stream. It is not safe for concurrent use.
type Reader struct {
	r          io.Reader
	buf        []byte
	start, end int // what is buffered and not yet parsed
}

// NewReader returns a Reader of r, with a buffer of its own.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: r, buf: make([]byte, 32<<10)}
}

// buffered returns how much was read from the stream and is not yet parsed.
func (r *Reader) buffered() int { return r.end - r.start }

// Next reads one frame into f. At a clean end of the stream it returns
// [io.EOF], inside a frame [io.ErrUnexpectedEOF], and for bytes that are no
// frame an error that wraps [ErrFrame].
func (r *Reader) Next(f *Frame) error {
	if err := r.fill(lengthSize); err != nil {
		return err
	}
	length := binary.BigEndian.Uint32(r.buf[r.start:])
	if length < fixedSize || length > maxLength {
		return fmt.Errorf("%w: length %d", ErrFrame, length)
	}
	if err := r.fill(lengthSize + int(length)); err != nil {
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	body := r.buf[r.start+lengthSize : r.start+lengthSize+int(length)]
	r.start += lengthSize + int(length)
	return f.decode(body)
}

// decode parses what follows the length, and copies what it keeps.
func (f *Frame) decode(b []byte) error {
	f.ID = binary.BigEndian.Uint64(b)
	f.Kind, f.Flags = Kind(b[8]), Flags(b[9])
	h := int(binary.BigEndian.Uint16(b[10:]))
	rest := b[fixedSize:]
	if h > len(rest) || len(rest)-h > MaxPayload {
		return fmt.Errorf("%w: header of %d bytes in %d", ErrFrame, h, len(rest))
	}
	f.Header, f.Payload = nil, nil
	if len(rest) == 0 {
		return nil
	}
	own := append([]byte(nil), rest...)
	f.Header, f.Payload = Header(own[:h:h]), own[h:]
	return f.Header.check()
}

// fill reads until n bytes are buffered. io.EOF means that none were.
func (r *Reader) fill(n int) error {
	if r.end-r.start >= n {
		return nil
	}
	r.makeRoom(n)
	for r.end-r.start < n {
		m, err := r.r.Read(r.buf[r.end:])
		r.end += m
		if err != nil && r.end-r.start < n {
			if err == io.EOF && r.end > r.start {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// makeRoom moves what is buffered to the front, and grows the buffer if n bytes
// would not fit; the caller has checked that n is a length to be believed.
func (r *Reader) makeRoom(n int) {
	buf := r.buf
	if n > len(buf) {
		buf = make([]byte, lengthSize+maxLength)
	}
	r.end = copy(buf, r.buf[r.start:r.end])
	r.start = 0
	r.buf = buf
}
