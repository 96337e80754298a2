package consensus

import "sync"

// queue is what there is to do in a role, in order, and where the role's token lies while
// there is nothing (see crew). Its length is bounded by what raft has in flight.
type queue[T any] struct {
	mu     sync.Mutex
	items  []T
	asleep bool // the token is here
	closed bool
}

func newQueue[T any]() *queue[T] { return &queue[T]{asleep: true} }

// put adds items and reports whether the caller has the token now. It keeps the slice.
func (q *queue[T]) put(items []T) bool {
	if len(items) == 0 {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = append(q.items, items...)
	woken := q.asleep
	q.asleep = false
	return woken
}

// take swaps what there is for into, which is done, and whose memory it takes over. Who
// has the token may call it. It returns false once the queue is closed, whatever is left
// in it.
func (q *queue[T]) take(into []T) ([]T, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, false
	}
	items := q.items
	q.items = into[:0]
	return items, true
}

// settle lets go of what was taken and is done, and gives the token back if there is
// nothing to do. It returns whether the caller still has it.
func (q *queue[T]) settle(done []T) bool {
	clear(done) // it may be megabytes, and long until the next take
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asleep = len(q.items) == 0
	return !q.asleep
}

// close ends the role: nothing is taken any more.
func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// rest returns what nobody took before the queue was closed.
func (q *queue[T]) rest() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = nil
	return items
}
