// Package keyspace says what a load writes: so many keys below a prefix, and values that
// do not compress. Every server is given the same.
package keyspace

import (
	"encoding/binary"
	"math/rand/v2"
)

const (
	// digits is the length of a key's number, with leading zeros.
	digits = 10
	// variety is how many values there are.
	variety = 64
)

// Space is a set of keys. It is immutable, and costs nothing per key.
type Space struct {
	prefix string
	count  int
	values [][]byte
}

// New makes a space of count keys, prefix and a number, with values of so many bytes.
func New(prefix string, count, valueBytes int) *Space {
	s := &Space{prefix: prefix, count: count}
	random := rand.NewChaCha8([32]byte{1})
	for range variety {
		value := make([]byte, 0, valueBytes+8)
		for len(value) < valueBytes {
			value = binary.LittleEndian.AppendUint64(value, random.Uint64())
		}
		s.values = append(s.values, value[:valueBytes:valueBytes])
	}
	return s
}

// Count is how many keys there are.
func (s *Space) Count() int { return s.count }

// ValueBytes is the length of every value.
func (s *Space) ValueBytes() int { return len(s.values[0]) }

// Prefix is what keys begin with.
func (s *Space) Prefix() string { return s.prefix }

// AppendKey appends the i-th key.
func (s *Space) AppendKey(dst []byte, i int) []byte {
	return AppendNumber(append(dst, s.prefix...), i)
}

// AppendNumber appends a number as it ends a key: those of numbers in order are in order.
func AppendNumber(dst []byte, i int) []byte {
	var number [digits]byte
	for at := digits - 1; at >= 0; at-- {
		number[at] = byte('0' + i%10)
		i /= 10
	}
	return append(dst, number[:]...)
}

// End is what follows all keys of the space, and precedes other keys below the same prefix.
func (s *Space) End() []byte { return s.AppendKey(nil, s.count) }

// PrefixEnd is what follows all that begins with the prefix, nil if nothing does.
func (s *Space) PrefixEnd() []byte {
	end := []byte(s.prefix)
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) > 0 {
		end[len(end)-1]++
	}
	return end
}

// Any draws a key's number.
func (s *Space) Any(random *rand.Rand) int { return random.IntN(s.count) }

// Value draws a value. It must not be changed.
func (s *Space) Value(random *rand.Rand) []byte { return s.values[random.IntN(variety)] }
