package jetkv

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
)

// Codes of the server that nats.go has no names for.
const (
	codeBatchDisabled   jetstream.ErrorCode = 10174
	codeBatchIncomplete jetstream.ErrorCode = 10176 // also what follows a batch that was refused at its start
	codeBatchTooMany    jetstream.ErrorCode = 10210
	codeTTLDisabled     jetstream.ErrorCode = 10166
	codeMessageTooLarge jetstream.ErrorCode = 10054
	codeStoreFailed     jetstream.ErrorCode = 10077
	codeAccountFull     jetstream.ErrorCode = 10002
	codeStorageFull     jetstream.ErrorCode = 10047
)

// code returns the server's code for an error, 0 if it has none.
func code(err error) jetstream.ErrorCode {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode
	}
	return 0
}

// isWrongLast is true if a key does not stand where it was expected.
func isWrongLast(err error) bool {
	c := code(err)
	return c == jetstream.JSErrCodeStreamWrongLastSequence || c == jetstream.JSErrCodeStreamWrongLastSequenceConstant // the latter if another message is on its way
}

// fail returns a server's error as one of package kv, with the server's own beside it.
func (b *Bucket) fail(ctx context.Context, key string, err error) error {
	var as error
	switch code(err) {
	case codeTTLDisabled:
		as = kv.ErrTTL
	case codeMessageTooLarge:
		as = kv.ErrTooLarge
	case codeAccountFull, codeStorageFull:
		as = kv.ErrFull
	case codeStoreFailed:
		if strings.Contains(err.Error(), "maximum bytes") || strings.Contains(err.Error(), "maximum messages") {
			as = kv.ErrFull
		}
	case codeBatchDisabled:
		as = errors.ErrUnsupported
	case jetstream.JSErrCodeStreamNotFound:
		as = kv.ErrNoBucket
	}
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		as = kv.ErrTooLarge
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		// Nobody listens: the bucket is gone, or the server cannot answer for now.
		if _, gone := b.js.Stream(ctx, b.stream); errors.Is(gone, jetstream.ErrStreamNotFound) {
			as = kv.ErrNoBucket
		}
	}
	where := fmt.Sprintf("bucket %q", b.name)
	if key != "" {
		where += fmt.Sprintf(", key %q", key)
	}
	if as == kv.ErrFull {
		return &fullError{fmt.Sprintf("kv: bucket %q is full: %s", b.name, b.limit(err)), err}
	}
	if as != nil {
		return fmt.Errorf("%s: %w: %w", where, as, err)
	}
	return fmt.Errorf("kv: %s: %w", where, err)
}

// fullError is kv.ErrFull with what is full, instead of the server's words for it.
type fullError struct {
	text   string
	server error
}

func (e *fullError) Error() string   { return e.text }
func (e *fullError) Unwrap() []error { return []error{kv.ErrFull, e.server} }

// limit says which limit a server's error is about.
func (b *Bucket) limit(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "maximum messages"):
		return fmt.Sprintf("it takes %d keys, and a removed key counts for a second", b.cfg.MaxMsgs)
	case strings.Contains(text, "maximum bytes"):
		return fmt.Sprintf("it takes %d bytes of storage", b.cfg.MaxBytes)
	}
	return "the server stores no more"
}
