package jute

import "encoding/binary"

// null is the count of what is not there.
const null = 0xffffffff

// AppendInt32 appends a jute int.
func AppendInt32(dst []byte, v int32) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(v))
}

// AppendInt64 appends a jute long.
func AppendInt64(dst []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(v))
}

// AppendBool appends a jute boolean.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendUstring appends a jute ustring, as the bytes of s.
//
// (ZooKeeper's own writer spells a character beyond the basic plane as two
// surrogates of three bytes each, which nobody can read back, itself included. No
// such character can be in a path.)
func AppendUstring(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

// AppendBuffer appends a jute buffer; a nil b is null.
func AppendBuffer(dst, b []byte) []byte {
	if b == nil {
		return AppendNull(dst)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(b)))
	return append(dst, b...)
}

// AppendUstrings appends a vector of ustrings; a nil v is null.
func AppendUstrings(dst []byte, v []string) []byte {
	if v == nil {
		return AppendNull(dst)
	}
	dst = AppendCount(dst, len(v))
	for _, s := range v {
		dst = AppendUstring(dst, s)
	}
	return dst
}

// AppendCount appends the count that begins a vector of n elements.
func AppendCount(dst []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}

// AppendNull appends the count that says that there is no string, buffer or
// vector.
func AppendNull(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(dst, null)
}

// FrameHeader is the size in bytes of the length that begins a frame.
const FrameHeader = 4

// OpenFrame appends room for the length of a frame. The caller appends the body
// and then calls CloseFrame with what len(dst) was before OpenFrame.
func OpenFrame(dst []byte) []byte {
	return append(dst, 0, 0, 0, 0)
}

// CloseFrame sets the length of the frame that begins at dst[start] and ends
// where dst ends.
func CloseFrame(dst []byte, start int) {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-FrameHeader))
}
