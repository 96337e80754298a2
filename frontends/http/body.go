package httpfront

import (
	"context"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// requestBody is a body with a limit: on the whole of it or, for a stream, on each
// of its messages. It belongs to the goroutine that decodes it.
type requestBody struct {
	io.ReadCloser
	max, left int64
	tooLarge  bool
	// ended is called when the body has been read to its end; nil does nothing.
	ended func()
	// fail ends a call whose body cannot be decoded; nil where whoever decodes it
	// reports that himself.
	fail context.CancelCauseFunc
}

func newRequestBody(body io.ReadCloser, maxBytes int64) *requestBody {
	return &requestBody{ReadCloser: body, max: maxBytes, left: maxBytes}
}

// Read fails once more than the limit has come.
func (b *requestBody) Read(p []byte) (int, error) {
	if b.tooLarge {
		return 0, b.tooLargeError()
	}
	if int64(len(p)) > b.left {
		p = p[:b.left+1] // one more tells whether the body ends at the limit
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		b.tooLarge = true
		return n - 1, b.tooLargeError()
	}
	if err == io.EOF && b.ended != nil {
		b.ended()
	}
	return n, err
}

func (b *requestBody) tooLargeError() error {
	return status.Errorf(codes.ResourceExhausted, "the body of the request is larger than %d bytes", b.max)
}

// next allows another message of a stream.
func (b *requestBody) next() { b.left = b.max }
