package consensus

import (
	"sync"

	"github.com/triglot/triglot/core"
)

// mailbox gathers what happens to a replica until whoever steps it takes that, and is
// where the token of stepping lies while there is nothing to step for (see crew).
// Producers never wait, and take the token out only if there is use for what they bring:
// while an append is in flight, proposals gather in silence.
type mailbox struct {
	call  func() // has somebody come with the token, which was taken out
	limit int    // on queued

	mu      sync.Mutex
	in      inputs
	queued  int  // size of the proposals here and in the replica's queue
	pending int  // size of in.messages
	asleep  bool // the token is here
	// wanted is what the replica has use for, and pressing says that there is something in
	// in.messages or in.applied that cannot wait.
	wanted   appetite
	pressing bool
	closed   error
}

// maxPendingMessages bounds the bytes of peers' messages that wait. raft sends
// again what is dropped.
const maxPendingMessages = 64 << 20

// newMailbox makes one without the token: there may be something to step for already.
func newMailbox(limit int, call func()) *mailbox { return &mailbox{limit: limit, call: call} }

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
	m.unlock(m.wanted.proposals)
	return nil
}

// receive adds a message of a peer; it may drop it.
func (m *mailbox) receive(msg *Message, size int) {
	m.mu.Lock()
	if m.closed == nil && (m.pending == 0 || m.pending+size <= maxPendingMessages) {
		m.pending += size
		m.in.messages = append(m.in.messages, msg)
		m.pressing = m.pressing || m.wanted.pressing(msg)
	}
	m.unlock(m.pressing)
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

// tick adds a tick. If the one before still waits, the two are one: a member that was held
// up must not take the time for that of a silent leader, nor of silent followers.
func (m *mailbox) tick() {
	m.mu.Lock()
	m.in.ticks = 1
	m.unlock(true)
}

// appended reports a finished appendTask, and whether the caller has the token now.
func (m *mailbox) appended(t *appendTask) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.in.appended = append(m.in.appended, t)
	return m.awake()
}

// applied reports finished applyTasks, and whether the caller has the token now. The
// caller keeps the slice.
func (m *mailbox) applied(ts []*applyTask) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.in.applied = append(m.in.applied, ts...)
	for _, t := range ts {
		m.pressing = m.pressing || !t.lazy
	}
	return m.pressing && m.awake()
}

// awake takes the token out if it is here. mu is held.
func (m *mailbox) awake() bool {
	woken := m.asleep
	m.asleep = false
	return woken
}

// unlock releases mu, and has somebody come if there is use for what was brought, and
// nobody is there.
func (m *mailbox) unlock(wanted bool) {
	woken := wanted && m.awake()
	m.mu.Unlock()
	if woken {
		m.call()
	}
}

// take swaps what has gathered for into, which must be empty. Proposals stay unless the
// replica is hungry; with a tick they are taken, too. Who has the token may call it. It
// returns false once the mailbox is closed.
func (m *mailbox) take(into *inputs) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed != nil {
		return false
	}
	in := m.in
	m.in = *into
	if !m.wanted.proposals && in.ticks == 0 {
		m.in.proposals, in.proposals = in.proposals, m.in.proposals
	}
	*into = in
	m.pending, m.pressing = 0, false
	return true
}

// settle forgets released bytes of the queue, and gives the token back if there is nothing
// to step for. It returns whether the caller still has it.
func (m *mailbox) settle(released int, wanted appetite) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queued -= released
	m.wanted = wanted
	m.asleep = !m.due()
	return !m.asleep
}

// due reports whether there is something to step for. mu is held.
func (m *mailbox) due() bool {
	in := &m.in
	return in.ticks > 0 || in.reads != nil || m.pressing || m.wanted.proposals && len(in.proposals) > 0 ||
		len(in.appended)+len(in.events) > 0
}

// onlyProposals reports whether there are proposals, and nothing else to step for.
func (m *mailbox) onlyProposals() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	in := &m.in
	return len(in.proposals) > 0 && !m.pressing && in.reads == nil && in.ticks+len(in.appended)+len(in.events) == 0
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
