package consensus

import (
	"encoding/binary"
	"time"
)

// readBatch is a number of readers that share one answer. Whoever joins it must
// do so before the replica has it.
type readBatch struct {
	deadline time.Time
	index    uint64
	err      error
	done     chan struct{} // closed by wake, behind index and err
}

func newReadBatch() *readBatch { return &readBatch{done: make(chan struct{})} }

// wake tells the readers that there is an answer.
func (b *readBatch) wake() { close(b.done) }

// abandon ends a batch that has no answer.
func (b *readBatch) abandon(err error) {
	b.err = err
	b.wake()
}

// reader has at most one question to the quorum under way. Readers that come in
// the meantime wait for the next one, however many they are.
type reader struct {
	incarnation uint64
	timeout     time.Duration
	retryTicks  int

	next    []*readBatch // not yet asked for
	asked   []*readBatch // asked for under ids first to last
	first   uint64
	last    uint64
	waiting int // ticks since it was last asked

	// answers are the batches that have their answer, and are to be woken once what the
	// member knows by now is published: who has been told that it serves must find that so.
	answers []*readBatch
}

// answer gives a batch its answer.
func (r *reader) answer(b *readBatch, index uint64, err error) {
	b.index, b.err = index, err
	r.answers = append(r.answers, b)
}

// add queues a batch.
func (r *reader) add(now time.Time, b *readBatch) {
	b.deadline = now.Add(r.timeout)
	r.next = append(r.next, b)
}

// due reports whether a question is to be asked now, for the first time or again.
func (r *reader) due() bool {
	if len(r.asked) == 0 {
		return len(r.next) > 0
	}
	return r.waiting >= r.retryTicks
}

// ask returns the context of the next question. Asking again keeps the old
// question's readers alone: an answer to either serves them.
func (r *reader) ask() []byte {
	r.last++
	if len(r.asked) == 0 {
		r.asked, r.next = r.next, r.asked
		r.first = r.last
	}
	r.waiting = 0
	context := binary.LittleEndian.AppendUint64(make([]byte, 0, 16), r.incarnation)
	return binary.LittleEndian.AppendUint64(context, r.last)
}

// answered takes an answer of the quorum. One that nobody waits for, or that was
// asked for by a former incarnation, is passed over.
func (r *reader) answered(context []byte, index uint64) {
	if len(context) != 16 || binary.LittleEndian.Uint64(context) != r.incarnation {
		return
	}
	if id := binary.LittleEndian.Uint64(context[8:]); id < r.first || id > r.last {
		return
	}
	for _, b := range r.asked {
		r.answer(b, index, nil)
	}
	clear(r.asked)
	r.asked = r.asked[:0]
}

// lost asks again as soon as possible: whoever was asked no longer leads.
func (r *reader) lost() { r.waiting = r.retryTicks }

// sweep ends the batches that are overdue.
func (r *reader) sweep(now time.Time, err error) {
	for _, list := range []*[]*readBatch{&r.next, &r.asked} {
		kept := (*list)[:0]
		for _, b := range *list {
			if now.Before(b.deadline) {
				kept = append(kept, b)
				continue
			}
			r.answer(b, 0, err)
		}
		clear((*list)[len(kept):])
		*list = kept
	}
}

// abandon ends all batches, with the answers that they have.
func (r *reader) abandon(err error) {
	for _, b := range r.answers {
		b.wake()
	}
	r.answers = nil
	for _, list := range []*[]*readBatch{&r.next, &r.asked} {
		for _, b := range *list {
			b.abandon(err)
		}
		clear(*list)
		*list = (*list)[:0]
	}
}
