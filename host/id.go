package host

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	mathrand "math/rand/v2"
	"sync"
)

// idSource makes ids of invocations: 96 random bits, from a generator that is
// cryptographically strong and seeded by the system.
type idSource struct {
	pool sync.Pool
}

var idEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

func (s *idSource) next() string {
	r, _ := s.pool.Get().(*mathrand.ChaCha8)
	if r == nil {
		var seed [32]byte
		rand.Read(seed[:])
		r = mathrand.NewChaCha8(seed)
	}
	var b [12]byte
	binary.LittleEndian.PutUint64(b[:], r.Uint64())
	binary.LittleEndian.PutUint32(b[8:], uint32(r.Uint64()))
	s.pool.Put(r)
	var text [20]byte
	idEncoding.Encode(text[:], b[:])
	return string(text[:])
}
