package core

import (
	"encoding/binary"
	"iter"
)

// Names are names of znodes: immutable, and safe for concurrent use. They lie in one run of
// bytes, each behind its length in four, big-endian, so that a face that lists them that way
// can send what a store remembers without a look at each. The zero value is none.
type Names struct {
	packed []byte
	count  int
}

// AppendName appends a name to a run.
func AppendName(dst, name []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(name))), name...)
}

// NameOverhead is what a name takes in a run besides itself.
const NameOverhead = 4

// NewNames makes the names of a run of so many of AppendName. It keeps packed.
func NewNames(packed []byte, count int) Names { return Names{packed, count} }

// Len is the number of names.
func (n Names) Len() int { return n.count }

// Packed is the run. It is shared and must not be written to.
func (n Names) Packed() []byte { return n.packed }

// All yields the names in their order.
func (n Names) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest := n.packed; len(rest) > 0; {
			end := NameOverhead + binary.BigEndian.Uint32(rest)
			if !yield(string(rest[NameOverhead:end])) {
				return
			}
			rest = rest[end:]
		}
	}
}
