package functions

import (
	"context"
	"fmt"

	"github.com/fnhost/fnhost/functions/wire"
)

// Secret returns the latest value of a secret, which `fnhost secret set` has set. It
// asks the host each time, which has it in memory: a value that was changed is there
// with the next call. The value is in no environment and in no file.
//
//	key, err := functions.Secret(ctx, "stripe/key")
//
// It is a plain string, as every library takes it. If the function writes or logs it,
// or returns it in an error, the host puts "[secret NAME]" in its place, where it can
// be recognised: as it is, in JSON, in a URL, in base64, if it has 6 bytes or more. That
// is for accidents. Put no secret into a result, an event or a bucket: nobody looks for
// it there, and the answers of http handlers are results, also those that tell of an
// error. The memory of a worker is not wiped: a core file may have secrets in it.
//
// It returns an *[Error]: of code [NotFound] for a secret that there is not, [Forbidden]
// for one that the manifest's access list does not name (access.secrets), and
// [Unavailable] when state cannot be reached; the error of ctx; or [ErrNoHost]. Returned by
// a handler it is no 404 or 403, see Errors in the package text.
func Secret(ctx context.Context, name string) (string, error) {
	s := scopeOf(ctx)
	if s == nil {
		return "", ErrNoHost
	}
	h := wire.Header(nil).Add(wire.KeyOp, "secret").Add(wire.KeyTarget, name).Add(wire.KeyInvocation, s.header.Get(wire.KeyInvocation))
	r, err := s.runtime.Do(ctx, &wire.Request{Kind: wire.Call, Header: h})
	if err != nil {
		return "", wire.OfHost(fmt.Errorf("secret %q: %w", name, err))
	}
	if r.Body != nil { // 64 KiB fit into a frame
		r.Body.Close()
		return "", wire.OfHost(fmt.Errorf("secret %q: %w", name, Errorf(TooLarge, "it is larger than a secret may be")))
	}
	return string(r.Payload), nil
}
