package consensus

import (
	"sync"

	"github.com/triglot/triglot/core"
)

// mailbox gathers what happens to a replica until the consensus goroutine takes
// it. Producers never wait, and wake the consumer only if it sleeps and has use
// for what they bring: while an append is in flight, proposals gather in silence.
type mailbox struct {
	wake  chan struct{} // capacity 1
	limit int           // on queued

	mu      sync.Mutex
	in      inputs
	queued  int  // size of the proposals here and in the replica's queue
	pending int  // size of in.messages
	asleep  bool // the consumer waits for wake
	hungry  bool // and proposals are to wake it, too
	closed  error
}

// maxPendingMessages bounds the bytes of peers' messages that wait. raft sends
// again what is dropped.
const maxPendingMessages = 64 << 20

func newMailbox(limit int) *mailbox {
	return &mailbox{wake: make(chan struct{}, 1), limit: limit}
}

// propose adds a proposal. It fails with TooManyRequests or Stopped.
func (m *mailbox) propose(p *Proposal) error {
	size := p.size()
	m.mu.Lock()
	switch {
	case m.closed != nil:
		m.mu.Unlock()
		return m.closed
	case m.queued > 0 && m.queued+size > m.limit:
		m.mu.Unlock()
		return core.TooManyRequests
	}
	m.queued += size
	m.in.proposals = append(m.in.proposals, p)
	m.unlock(m.hungry)
	return nil
}

// receive adds a message of a peer; it may drop it.
func (m *mailbox) receive(msg *Message, size int) {
	m.mu.Lock()
	if m.closed == nil && (m.pending == 0 || m.pending+size <= maxPendingMessages) {
		m.pending += size
		m.in.messages = append(m.in.messages, msg)
	}
	m.unlock(true)
}

// joinRead returns the batch of readers that gathers now.
func (m *mailbox) joinRead() (*readBatch, error) {
	m.mu.Lock()
	if m.closed != nil {
		m.mu.Unlock()
		return nil, m.closed
	}
	first := m.in.reads == nil
	if first {
		m.in.reads = newReadBatch()
	}
	b := m.in.reads
	m.unlock(first)
	return b, nil
}

// happened adds an event. It fails with Stopped.
func (m *mailbox) happened(e event) error {
	m.mu.Lock()
	if m.closed != nil {
		m.mu.Unlock()
		return m.closed
	}
	m.in.events = append(m.in.events, e)
	m.unlock(true)
	return nil
}

// appended reports a finished appendTask.
func (m *mailbox) appended(t *appendTask) {
	m.mu.Lock()
	m.in.appended = append(m.in.appended, t)
	m.unlock(true)
}

// applied reports finished applyTasks. The caller keeps the slice.
func (m *mailbox) applied(ts []*applyTask) {
	m.mu.Lock()
	m.in.applied = append(m.in.applied, ts...)
	m.unlock(true)
}

// unlock releases mu and wakes the consumer if it sleeps and wants it.
func (m *mailbox) unlock(wanted bool) {
	wake := m.asleep && wanted
	if wake {
		m.asleep = false
	}
	m.mu.Unlock()
	if wake {
		select {
		case m.wake <- struct{}{}:
		default: // a token is there already
		}
	}
}

// take swaps what has gathered for into, which must be empty but for its ticks,
// and forgets released bytes of the queue. Proposals stay unless the consumer is
// hungry. If there is nothing to take it returns false, and from then on
// producers wake the consumer. With all set it takes whatever there is.
func (m *mailbox) take(into *inputs, released int, hungry, all bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queued -= released
	proposals := len(m.in.proposals) > 0 && (hungry || all)
	due := proposals || m.in.reads != nil || len(m.in.messages)+len(m.in.appended)+len(m.in.applied)+len(m.in.events) > 0
	m.asleep, m.hungry = !due && !all, hungry
	if m.asleep {
		return false
	}
	in := m.in
	m.in = *into
	m.in.ticks, in.ticks = 0, into.ticks
	if !proposals {
		m.in.proposals, in.proposals = in.proposals, m.in.proposals
	}
	*into = in
	m.pending = 0
	return true
}

// refuse fails everybody with err from now on.
func (m *mailbox) refuse(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = err
}

// rest returns what nobody took before the mailbox refused.
func (m *mailbox) rest() inputs {
	m.mu.Lock()
	defer m.mu.Unlock()
	in := m.in
	m.in = inputs{}
	return in
}
