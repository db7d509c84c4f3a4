package bundle

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
)

const (
	blockSize = 512
	// What a tar adds to the contents: up to 4 KiB for an entry with the longest
	// names, and padding at its end.
	entryOverhead = 4 << 10
	tarOverhead   = 1 << 20
)

// stream is the tar in a bundle. It counts what goes in and what comes out, also
// of what is skipped, and knows when it has ended too early or too late.
type stream struct {
	in   *bufio.Reader
	src  *source
	z    *gzip.Reader
	left int64 // bytes that may still come out
	read int64 // bytes that came out
	end  int64 // where the last entry ended
}

func newStream(ctx context.Context, r io.Reader, l Limits) (*stream, error) {
	most := l.Bytes + int64(l.Entries)*entryOverhead + tarOverhead
	s := &stream{src: &source{r: reader{ctx, r}, left: most}, left: most}
	s.in = bufio.NewReader(s.src)
	z, err := gzip.NewReader(s.in)
	if err != nil {
		return nil, s.explain(err)
	}
	z.Multistream(false)
	s.z = z
	return s, nil
}

func (s *stream) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, tooMuch()
	}
	n, err := s.z.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	s.read += int64(n)
	return n, err
}

func tooMuch() error {
	return failure(ErrTooLarge, "", "more data than its limits allow")
}

// mark notes that an entry was read, up to its padding.
func (s *stream) mark() {
	s.end = (s.read + blockSize - 1) / blockSize * blockSize
}

// finish reads what is left when the tar has ended: zeros, and nothing after them.
func (s *stream) finish() error {
	if s.read < s.end+2*blockSize {
		return failure(ErrDamaged, "", "it ends early: send it again")
	}
	buf := make([]byte, 4<<10)
	for {
		n, err := s.Read(buf)
		for _, b := range buf[:n] {
			if b != 0 {
				return failure(ErrDamaged, "", "something follows its end")
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return s.explain(err)
		}
	}
	if _, err := s.in.ReadByte(); err == nil {
		return failure(ErrDamaged, "", "something follows its end")
	} else if err != io.EOF {
		return s.explain(err)
	}
	return nil
}

// explain makes an error of reading one that says whose fault it is.
func (s *stream) explain(err error) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case s.src.err != nil && !errors.Is(s.src.err, io.ErrUnexpectedEOF):
		return s.src.err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return failure(ErrDamaged, "", "it ends early: send it again")
	case errors.Is(err, gzip.ErrHeader):
		return failure(ErrDamaged, "", "not a bundle: a gzipped tar is needed")
	}
	return failure(ErrDamaged, "", "not a bundle, or damaged on its way: %v", err)
}

// source is what a bundle is read from. It keeps its error, and has an end:
// compressed data may be without end and stand for nothing.
type source struct {
	r    io.Reader
	left int64
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, tooMuch()
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
