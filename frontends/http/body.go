package httpfront

import (
	"bytes"
	"context"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxObjects is how many JSON objects a body may hold. Each becomes a message of a
// hundred bytes and more, and the shortest takes three: without a limit of its own,
// a body of 8 MiB would take half a gigabyte of memory to be refused.
const maxObjects = 1 << 17

// requestBody is a body with limits: on the whole of it or, for a stream, on each
// of its messages. It belongs to the goroutine that decodes it.
type requestBody struct {
	io.ReadCloser
	max, left int64
	objects   int // that may still come; braces in texts count
	// refused is set once there is more than a limit allows.
	refused error
	// ended is called when the body has been read to its end; nil does nothing.
	ended func()
	// fail ends a call whose body cannot be decoded; nil where whoever decodes it
	// reports that himself.
	fail context.CancelCauseFunc
}

func newRequestBody(body io.ReadCloser, maxBytes int64) *requestBody {
	return &requestBody{ReadCloser: body, max: maxBytes, left: maxBytes, objects: maxObjects}
}

// Read fails once more than a limit allows has come.
func (b *requestBody) Read(p []byte) (int, error) {
	if b.refused != nil {
		return 0, b.refused
	}
	if int64(len(p)) > b.left {
		p = p[:b.left+1] // one more tells whether the body ends at the limit
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	b.objects -= bytes.Count(p[:n], []byte{'{'})
	switch {
	case b.left < 0:
		b.refused = status.Errorf(codes.ResourceExhausted, "the body of the request is larger than %d bytes", b.max)
	case b.objects < 0:
		b.refused = status.Errorf(codes.ResourceExhausted, "the body of the request has more than %d objects", maxObjects)
	case err == io.EOF && b.ended != nil:
		b.ended()
	}
	if b.refused != nil {
		return 0, b.refused
	}
	return n, err
}

// next allows another message of a stream.
func (b *requestBody) next() { b.left, b.objects = b.max, maxObjects }
