package jute

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"
	"unsafe"
)

// What can be wrong with a message.
var (
	// ErrShort: the message ends within a value.
	ErrShort = errors.New("message is cut short")
	// ErrLength: a count is negative, or larger than what is left of the message.
	ErrLength = errors.New("unreasonable length")
	// ErrNull: a value is null where there has to be one.
	ErrNull = errors.New("unexpected null")
)

// Reader reads the values of one message in turn.
//
// Its first error sticks: every later read returns a zero value. So a decoder
// reads all it wants and looks at Err once. The zero Reader is at the end of an
// empty message. A Reader belongs to one goroutine.
type Reader struct {
	rest  []byte
	err   error
	alias bool
}

// NewReader returns a reader of message. Buffers that it returns alias message:
// whoever keeps one must keep message unchanged.
func NewReader(message []byte) Reader { return Reader{rest: message} }

// Alias has the strings that are read from now on alias the message, as buffers do.
func (r *Reader) Alias() { r.alias = true }

// Err is the first error, nil if there was none. Bytes that are left over are no
// error, as in ZooKeeper.
func (r *Reader) Err() error { return r.err }

// Rest is what has not been read; it is nil after an error.
func (r *Reader) Rest() []byte { return r.rest }

// Fail makes err the reader's error if it has none. It is for decoders that find
// a value that no message may have.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

// Int32 reads a jute int.
func (r *Reader) Int32() int32 {
	if len(r.rest) < 4 {
		r.Fail(ErrShort)
		return 0
	}
	v := binary.BigEndian.Uint32(r.rest)
	r.rest = r.rest[4:]
	return int32(v)
}

// Int64 reads a jute long.
func (r *Reader) Int64() int64 {
	if len(r.rest) < 8 {
		r.Fail(ErrShort)
		return 0
	}
	v := binary.BigEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return int64(v)
}

// Bool reads a jute boolean: any byte but zero is true, as in Java.
func (r *Reader) Bool() bool {
	if len(r.rest) < 1 {
		r.Fail(ErrShort)
		return false
	}
	v := r.rest[0] != 0
	r.rest = r.rest[1:]
	return v
}

// Buffer reads a jute buffer. It is nil for null and not nil for an empty one.
// It aliases the message, and cannot be appended to in place.
func (r *Reader) Buffer() []byte {
	n := r.Int32()
	if n < 0 || int(n) > len(r.rest) {
		if n != -1 {
			r.Fail(ErrLength)
		}
		return nil
	}
	if r.err != nil {
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// Ustring reads a jute ustring; null reads as the empty one. Bytes that are not
// UTF-8 become U+FFFD, in as many places as Java makes them.
func (r *Reader) Ustring() string { return r.text(r.Buffer()) }

// UstringOr is Ustring but for null, which reads as the string null.
func (r *Reader) UstringOr(null string) string {
	b := r.Buffer()
	if b == nil && r.err == nil {
		return null
	}
	return r.text(b)
}

// NonNull reads a jute ustring that must not be null.
//
// ZooKeeper ends a request with MarshallingError where it trips over a null, as
// over a message that is cut short.
func (r *Reader) NonNull() string {
	b := r.Buffer()
	if b == nil {
		r.Fail(ErrNull)
		return ""
	}
	return r.text(b)
}

// text is b as a string.
func (r *Reader) text(b []byte) string {
	if r.alias && utf8.Valid(b) {
		return unsafe.String(unsafe.SliceData(b), len(b))
	}
	return text(b)
}

// Count reads the count that begins a vector whose elements take at least
// elementSize bytes each. It is −1 for null; after an error it is 0. Any other
// negative count is an empty vector, as in ZooKeeper.
func (r *Reader) Count(elementSize int) int {
	n := int(r.Int32())
	if n == -1 {
		return -1
	}
	if n < 0 {
		return 0
	}
	if n > len(r.rest)/elementSize {
		r.Fail(ErrLength)
		return 0
	}
	return n
}

// stringSize is the least number of bytes that a ustring takes.
const stringSize = 4

// Ustrings reads a vector of ustrings. It is nil for null and after an error, and
// not nil for an empty one.
func (r *Reader) Ustrings() []string {
	n := r.Count(stringSize)
	if n < 0 || r.err != nil {
		return nil
	}
	v := make([]string, 0, n)
	for range n {
		v = append(v, r.Ustring())
	}
	if r.err != nil {
		return nil
	}
	return v
}

// Skip passes over n bytes.
func (r *Reader) Skip(n int) {
	if n > len(r.rest) {
		r.Fail(ErrShort)
		return
	}
	r.rest = r.rest[n:]
}
