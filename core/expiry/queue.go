package expiry

import (
	"cmp"
	"time"
)

// queue is a binary heap of leases. A slot's deadline is its lease's, or an
// earlier one: a lease that was renewed keeps its place until it comes to the
// front. So a renewal touches the lease alone, and a lease that is renewed ten
// times in its TTL moves once.
type queue []slot

type slot struct {
	deadline time.Duration
	lease    *lease
}

func (a slot) before(b slot) bool {
	if c := cmp.Compare(a.deadline, b.deadline); c != 0 {
		return c < 0
	}
	return a.lease.ID < b.lease.ID
}

// push adds l at its deadline.
func (q *queue) push(l *lease) {
	*q = append(*q, slot{l.deadline, l})
	q.up(len(*q) - 1)
}

// remove takes out slot i.
func (q *queue) remove(i int) {
	last := len(*q) - 1
	moved := (*q)[last]
	(*q)[last] = slot{}
	*q = (*q)[:last]
	if i < last {
		(*q)[i] = moved
		q.down(i)
		q.up(moved.lease.index)
	}
}

// postpone moves the first slot to where its lease's deadline belongs.
func (q *queue) postpone() {
	(*q)[0].deadline = (*q)[0].lease.deadline
	q.down(0)
}

// advance moves slot i forward to where its lease's deadline belongs.
func (q *queue) advance(i int) {
	(*q)[i].deadline = (*q)[i].lease.deadline
	q.up(i)
}

// up moves slot i towards the front, and notes its place.
func (q *queue) up(i int) {
	h, s := *q, (*q)[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !s.before(h[parent]) {
			break
		}
		h[i] = h[parent]
		h[i].lease.index = i
		i = parent
	}
	h[i] = s
	s.lease.index = i
}

// down moves slot i towards the back, and notes its place.
func (q *queue) down(i int) {
	h, s := *q, (*q)[i]
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(s) {
			break
		}
		h[i] = h[child]
		h[i].lease.index = i
		i = child
	}
	h[i] = s
	s.lease.index = i
}
