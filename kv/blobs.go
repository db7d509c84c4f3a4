package kv

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Blobs holds what is too large for a value of a [Bucket]: files, images, results. Each has
// a name of 1 to 255 bytes of UTF-8 without control characters, as "2026/report 7.pdf".
// What is written is stored as a stream of parts and becomes the blob when its last part is
// there: who reads sees the whole of the old one or the whole of the new one.
//
// All methods are safe for concurrent use. Each may return, beside what it says, the
// errors of its context and of the connection, ErrInvalidKey for a name that is none, and
// ErrNoBucket if the store is no longer there.
type Blobs interface {
	// Name returns the store's name.
	Name() string

	// Put reads r to its end and stores what it has read; a blob of the name is replaced. If
	// r, the store or ctx fails before that, nothing has changed. Until it is stored the old
	// one is kept: there must be room for both. It returns the error of r, and ErrFull.
	Put(ctx context.Context, name string, r io.Reader) (Blob, error)

	// Get returns a blob and what reads it, which must be closed and is for one
	// goroutine at a time. It returns ErrNotFound if there is none. Read returns, instead of
	// io.EOF at the end, ErrDamaged if what was read is not what was stored, and ErrReplaced as soon
	// as parts are no longer there because the blob was written anew or deleted meanwhile; who
	// needs the whole uses nothing of it before io.EOF. ctx is that of reading, too.
	Get(ctx context.Context, name string) (Blob, io.ReadCloser, error)

	// Stat returns a blob without its content. It returns ErrNotFound if there is none.
	Stat(ctx context.Context, name string) (Blob, error)

	// Delete removes a blob. To delete what is not there is no error.
	Delete(ctx context.Context, name string) error

	// List returns a page of blobs in the order of the bytes of their names; BlobPage.Next leads to
	// the next one. It returns ErrInvalidQuery.
	List(ctx context.Context, query BlobQuery) (BlobPage, error)
}

// Blob is what a store knows of a blob.
type Blob struct {
	Name    string
	Size    int64     // bytes
	Digest  string    // SHA-256 of the content, in hexadecimal
	Created time.Time // when it was stored
}

// BlobQuery says what List returns. The zero value asks for the first blobs of all.
type BlobQuery struct {
	Prefix string // of names
	After  string // only blobs behind this name: BlobPage.Next of the page before
	Limit  int    // blobs, 1000 if 0, at most MaxPage
}

// BlobPage is a part of a list.
type BlobPage struct {
	Blobs []Blob // as many as asked for; fewer where some have gone meanwhile
	Next  string // After of the next page, empty if this was the last
}

// Validate returns ErrInvalidQuery for a query that no store takes.
func (q BlobQuery) Validate() error {
	if q.Limit < 0 || q.Limit > MaxPage {
		return fmt.Errorf("%w: a page of %d, at most %d", ErrInvalidQuery, q.Limit, MaxPage)
	}
	return nil
}

// ValidateBlob returns ErrInvalidKey for what is not the name of a blob.
func ValidateBlob(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: the blob's name is empty", ErrInvalidKey)
	case len(name) > MaxKey:
		return fmt.Errorf("%w: the blob's name has %d bytes, at most %d", ErrInvalidKey, len(name), MaxKey)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%w: a blob's name is UTF-8 without control characters: %q", ErrInvalidKey, name)
	}
	return nil
}
