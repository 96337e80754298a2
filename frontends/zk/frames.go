package zk

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/triglot/triglot/frontends/zk/jute"
)

const (
	// minReadBuffer is what an idle connection holds, maxReadBuffer what one that
	// is not may grow to; a longer frame gets a buffer of its own size, as its
	// bytes come in.
	minReadBuffer = 2 << 10
	maxReadBuffer = 64 << 10
)

var errFrameLength = errors.New("the length of a frame is out of range")

// frames takes frames from a stream. It belongs to one goroutine.
type frames struct {
	r   io.Reader
	max int // length of the longest frame
	buf []byte
	// buf[from:to] has been read and not been taken.
	from, to int
	// small counts the reads in a row that needed a quarter of buf at most.
	small int
}

// need reads until n bytes are there, and returns them without taking them.
func (f *frames) need(n int) ([]byte, error) {
	for f.to-f.from < n {
		f.makeRoom(n)
		got, err := f.r.Read(f.buf[f.to:])
		f.to += got
		if err != nil && f.to-f.from < n {
			return nil, err
		}
		if got == 0 && err == nil {
			return nil, io.ErrNoProgress
		}
	}
	return f.buf[f.from : f.from+n], nil
}

// makeRoom sees to it that there is room to read into, on the way to n bytes.
func (f *frames) makeRoom(n int) {
	held := f.to - f.from
	size := len(f.buf)
	if held > 0 || f.to > size/4 {
		f.small = 0
	} else {
		f.small++
	}
	switch {
	case size == 0:
		size = minReadBuffer
	case held == size:
		// However long a frame claims to be, memory follows what has come.
		size = min(2*size, max(n, 2*minReadBuffer))
	case f.to == size && size < maxReadBuffer:
		size *= 2 // the last read filled it: there is more than it takes at a time
	case size > minReadBuffer && f.small >= patientBuffer:
		f.small = 0
		size = max(min(size/2, maxReadBuffer), minReadBuffer)
	}
	if size != len(f.buf) {
		grown := make([]byte, size)
		copy(grown, f.buf[f.from:f.to])
		f.buf = grown
	} else {
		copy(f.buf, f.buf[f.from:f.to])
	}
	f.from, f.to = 0, held
}

// next takes a frame. It is valid until the next call.
func (f *frames) next() ([]byte, error) {
	head, err := f.need(jute.FrameHeader)
	if err != nil {
		return nil, err
	}
	n := int(int32(binary.BigEndian.Uint32(head)))
	if n < 0 || n > f.max {
		return nil, tooLong(n, f.max)
	}
	frame, err := f.need(jute.FrameHeader + n)
	if err != nil {
		return nil, err
	}
	f.from += jute.FrameHeader + n
	return frame[jute.FrameHeader:], nil
}

// ready says whether next would return at once.
func (f *frames) ready() bool {
	held := f.buf[f.from:f.to]
	if len(held) < jute.FrameHeader {
		return false
	}
	n := int(int32(binary.BigEndian.Uint32(held)))
	return n < 0 || n > f.max || len(held) >= jute.FrameHeader+n
}
