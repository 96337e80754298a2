package peer

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
)

const (
	// maxAsked bounds the questions to a peer that wait for an answer.
	maxAsked = 1024
	// maxAnswering bounds those of a peer that are being answered.
	maxAnswering = 128
	// defaultPatience is how long a question waits whose context has no deadline.
	defaultPatience = 30 * time.Second
)

// answer is what came of a question.
type answer struct {
	body []byte
	err  error
}

// questions are those that wait for a peer's answer. It is safe for concurrent use; the
// zero value is ready.
type questions struct {
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan answer
}

// add makes room for an answer. It fails with TooManyRequests.
func (q *questions) add() (uint64, <-chan answer, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxAsked {
		return 0, nil, core.TooManyRequests
	}
	if q.waiting == nil {
		q.waiting = make(map[uint64]chan answer)
	}
	q.last++
	ch := make(chan answer, 1)
	q.waiting[q.last] = ch
	return q.last, ch, nil
}

// settle hands over an answer, unless nobody waits for it any more.
func (q *questions) settle(id uint64, a answer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if ch, ok := q.waiting[id]; ok {
		delete(q.waiting, id)
		ch <- a
	}
}

// forget gives a question up.
func (q *questions) forget(id uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.waiting, id)
}

// fail answers all with an error.
func (q *questions) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, ch := range q.waiting {
		delete(q.waiting, id)
		ch <- answer{err: err}
	}
}

// patience is how long the answer to a question is waited for, in milliseconds.
func patience(ctx context.Context) uint32 {
	wait := defaultPatience
	if deadline, ok := ctx.Deadline(); ok {
		wait = time.Until(deadline)
	}
	return uint32(min(max(wait.Milliseconds(), 1), math.MaxUint32))
}

// encodeError makes the body of a frameFailure, behind its number: the kind, whose
// numbers are core's and never change, and the text of the cause.
func encodeError(err error) []byte {
	kind, text := core.KindOf(err), ""
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		kind = core.KindOf(core.ContextError(err))
	}
	var full *core.Error
	switch {
	case errors.As(err, &full):
		text = full.Cause.Error()
	case err.Error() != kind.Error():
		text = err.Error()
	}
	return append([]byte{byte(kind)}, text...)
}

// decodeError reads what encodeError has made. A kind that this version does not know
// is Internal.
func decodeError(b []byte) error {
	if len(b) == 0 {
		return core.Errorf(core.Internal, "a peer failed without a word")
	}
	kind, text := core.Kind(b[0]), string(b[1:])
	if int(kind) >= len(core.Kinds()) {
		return core.Errorf(core.Internal, "a peer failed with %v: %s", kind, text)
	}
	if text == "" {
		return kind
	}
	return &core.Error{Kind: kind, Cause: errors.New(text)}
}

// ask asks the peer of a link.
func (l *link) ask(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
	if len(body) > maxQuestion {
		return nil, core.Errorf(core.RequestTooLarge, "a question of %d bytes: the most is %d", len(body), maxQuestion)
	}
	if err := ctx.Err(); err != nil {
		return nil, core.ContextError(err)
	}
	id, settled, err := l.asked.add()
	if err != nil {
		return nil, err
	}
	q := question{id: id, kind: kind, timeout: patience(ctx)}
	if !l.out.put(item{kind: frameQuestion, head: q.head(), body: body, size: questionHead + len(body)}) {
		l.asked.forget(id)
		if status, _ := l.state(); status.Err != nil {
			return nil, core.Errorf(core.Timeout, "there is no connection to member %x: %w", uint64(l.id), status.Err)
		}
		return nil, core.Errorf(core.Timeout, "too much waits for member %x", uint64(l.id))
	}
	select {
	case a := <-settled:
		return a.body, a.err
	case <-ctx.Done():
		l.asked.forget(id)
		return nil, core.ContextError(ctx.Err())
	}
}
