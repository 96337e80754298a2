package httpfront

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxObjects is how many JSON objects a body may hold. Each becomes a message of a
// hundred bytes and more, and the shortest takes three: without a limit of its own,
// a body of 8 MiB would take half a gigabyte of memory to be refused.
const maxObjects = 1 << 17

// bodyBudget bounds what the bodies of all requests under way may hold together: a
// limit on each alone would leave memory to whoever opens enough connections. It is
// safe for concurrent use.
type bodyBudget struct{ left atomic.Int64 }

func newBodyBudget(bytes int64) *bodyBudget {
	b := new(bodyBudget)
	b.left.Store(bytes)
	return b
}

// share is what one body holds of the budget. The zero value with a budget holds
// nothing. It is safe for concurrent use: who decodes a stream may still read when
// the request is over.
type share struct {
	budget *bodyBudget
	mu     sync.Mutex
	held   int64
	over   bool
}

// take takes n bytes more; it reports false if there are not as many left.
func (s *share) take(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.held += n
	return s.budget.left.Add(-n) >= 0
}

// giveBack gives back all that is held. If the request is over, no more is taken.
func (s *share) giveBack(over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.budget.left.Add(s.held)
	s.held, s.over = 0, s.over || over
}

// requestBody is a body with limits: on the whole of it or, for a stream, on each
// of its messages. It belongs to the goroutine that decodes it.
type requestBody struct {
	io.ReadCloser
	max, left int64
	objects   int // that may still come; braces in texts count
	share     share
	// refused is set once there is more than a limit allows, and with it the status
	// of a response that says so.
	refused error
	status  int
	// ended is called when the body has been read to its end; nil does nothing.
	ended func()
	// fail ends a call whose body cannot be decoded; nil where whoever decodes it
	// reports that himself.
	fail context.CancelCauseFunc
}

func newRequestBody(body io.ReadCloser, maxBytes int64, budget *bodyBudget) *requestBody {
	return &requestBody{ReadCloser: body, max: maxBytes, left: maxBytes, objects: maxObjects, share: share{budget: budget}}
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
	enough := b.share.take(int64(n))
	b.objects -= bytes.Count(p[:n], []byte{'{'})
	switch {
	case b.left < 0:
		b.refuse(http.StatusRequestEntityTooLarge, "the body of the request is larger than %d bytes", b.max)
	case b.objects < 0:
		b.refuse(http.StatusRequestEntityTooLarge, "the body of the request has more than %d objects", maxObjects)
	case !enough:
		b.refuse(http.StatusServiceUnavailable, "the bodies of the requests under way are too many or too large: try again")
	case err == io.EOF && b.ended != nil:
		b.ended()
	}
	if b.refused != nil {
		return 0, b.refused
	}
	return n, err
}

func (b *requestBody) refuse(httpStatus int, format string, args ...any) {
	b.refused, b.status = status.Errorf(codes.ResourceExhausted, format, args...), httpStatus
}

// next allows another message of a stream.
func (b *requestBody) next() {
	b.share.giveBack(false)
	b.left, b.objects = b.max, maxObjects
}
