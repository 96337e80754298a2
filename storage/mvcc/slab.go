package mvcc

import "github.com/triglot/triglot/core"

// slab hands out memory for the KVs of one scan from chunks that grow as the
// scan does, so that a long one costs a few allocations for hundreds of keys.
// The price is that a KV keeps its chunk alive; what a scan returns is used and
// dropped together.
type slab struct {
	kvs   []core.KV
	bytes []byte
	// nextKVs and nextBytes are the sizes of the next chunks.
	nextKVs, nextBytes int
}

const (
	maxSlabKVs   = 64
	minSlabBytes = 128
	maxSlabBytes = 16 << 10
)

func (s *slab) kv() *core.KV {
	if len(s.kvs) == 0 {
		s.nextKVs = min(max(1, 2*s.nextKVs), maxSlabKVs)
		s.kvs = make([]core.KV, s.nextKVs)
	}
	kv := &s.kvs[0]
	s.kvs = s.kvs[1:]
	return kv
}

func (s *slab) alloc(n int) []byte {
	if n > len(s.bytes) {
		if n >= maxSlabBytes/4 {
			return make([]byte, n)
		}
		s.nextBytes = min(max(minSlabBytes, n, 2*s.nextBytes), maxSlabBytes)
		s.bytes = make([]byte, s.nextBytes)
	}
	b := s.bytes[:n:n]
	s.bytes = s.bytes[n:]
	return b
}

// keyValue makes a KV from a row; with keysOnly, without its value.
func (s *slab) keyValue(r *row, key []byte, rev core.Rev, keysOnly bool) *core.KV {
	if keysOnly {
		r.value = nil
	}
	return r.fill(s.kv(), s.alloc(len(key)+len(r.value)), key, rev)
}
