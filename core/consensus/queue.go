package consensus

import "sync"

// queue hands items in order from one goroutine to another. Its length is bounded
// by what raft has in flight.
type queue[T any] struct {
	mu     sync.Mutex
	filled sync.Cond
	items  []T
	closed bool
}

func newQueue[T any]() *queue[T] {
	q := &queue[T]{}
	q.filled.L = &q.mu
	return q
}

// put adds items. The caller keeps the slice.
func (q *queue[T]) put(items []T) {
	if len(items) == 0 {
		return
	}
	q.mu.Lock()
	q.items = append(q.items, items...)
	q.mu.Unlock()
	q.filled.Signal()
}

// take waits until there is something and swaps it for into, whose memory it
// takes over. It returns false once the queue is closed, whatever is left in it.
func (q *queue[T]) take(into []T) ([]T, bool) {
	clear(into)
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.filled.Wait()
	}
	if q.closed {
		return nil, false
	}
	items := q.items
	q.items = into[:0]
	return items, true
}

// close ends the consumer's wait.
func (q *queue[T]) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.filled.Signal()
}

// rest returns what nobody took before the queue was closed.
func (q *queue[T]) rest() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = nil
	return items
}
