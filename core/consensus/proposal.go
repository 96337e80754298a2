package consensus

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core"
)

// Proposal is one command on its way through the log. It is used once:
// NewProposal, Driver.Propose, and if that succeeded Wait.
type Proposal struct {
	command  []byte
	deadline time.Time
	lane     *Lane // nil: in no order with others
	change   MemberChange
	term     uint64 // of a change: in which it was judged

	result core.Result
	err    error
	times  *times // of its entry; nil before it is in one

	state atomic.Uint32 // one of the states below
	done  chan struct{} // capacity 1: the waiter's wake-up; made by a waiter that has to wait
	owed  bool          // the wake-up, by who settled it
}

// The states of a proposal. It becomes completed or abandoned once.
const (
	waiting   uint32 = iota // and nobody sleeps until it is over
	watched                 // somebody does
	completed               // the outcome is set; of a watched one, a token is or will be in done
	abandoned               // the waiter left
)

// proposalOverhead is what a queued proposal counts besides its command.
const proposalOverhead = 128

// NewProposal makes a proposal of an encoded command, which must not change
// until the outcome is known. A zero deadline is the driver's request timeout
// from the moment the proposal is accepted. Deadlines are kept to the tick.
func NewProposal(command []byte, deadline time.Time) *Proposal {
	return &Proposal{command: command, deadline: deadline}
}

// NewOrdered makes a proposal that stands in a row with those before and after it
// in the lane: none of them is proposed unless all that were accepted before it were,
// and none of those has an unknown fate. So it keeps its place in the queue when its
// waiter leaves. If the driver's request timeout passes while it is in the queue, it is
// taken out and the lane is broken.
func NewOrdered(lane *Lane, command []byte) *Proposal {
	p := NewProposal(command, time.Time{})
	p.lane = lane
	return p
}

// size is what the proposal counts against the queue's bound.
func (p *Proposal) size() int { return len(p.command) + proposalOverhead }

// Complete sets the outcome and wakes the waiter; if it has been set, or the
// waiter has left, it does nothing. It must not be called by two at a time. A nil
// p stands for a waiter that has already been answered.
func (p *Proposal) Complete(result core.Result, err error) {
	p.Settle(result, err)
	p.Wake()
}

// Settle is Complete without the wake-up, which Wake makes up for: who has many to complete
// settles all of them first, so that one who waits for several is woken once.
func (p *Proposal) Settle(result core.Result, err error) {
	if p == nil || p.state.Load() >= completed {
		return
	}
	p.result, p.err = result, err
	if !p.state.CompareAndSwap(waiting, completed) {
		p.owed = p.state.CompareAndSwap(watched, completed)
	}
}

// Wake wakes the waiter of a proposal that was settled.
func (p *Proposal) Wake() {
	if p != nil && p.owed {
		p.owed = false
		p.done <- struct{}{}
	}
}

// fail sets an outcome that is not the state machine's, and breaks the lane. Only who
// steps the replica calls it, and who is left when that has ended.
func (p *Proposal) fail(err error) {
	if p == nil {
		return
	}
	if p.lane != nil {
		p.lane.broken.Store(true)
	}
	p.Complete(core.Result{}, err)
}

// Wait returns the outcome, once. If ctx ends first the error is Canceled or
// Deadline: the outcome is unknown then, and the command may still take effect.
func (p *Proposal) Wait(ctx context.Context) (core.Result, error) {
	if p.state.Load() == completed {
		return p.result, p.err
	}
	p.done = make(chan struct{}, 1)
	if !p.state.CompareAndSwap(waiting, watched) {
		return p.result, p.err
	}
	if ctx.Done() == nil { // to wait for one channel is a third cheaper
		<-p.done
		return p.result, p.err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		if p.lane != nil || p.state.CompareAndSwap(watched, abandoned) {
			return core.Result{}, contextError(ctx)
		}
	}
	return p.result, p.err
}

// Done reports whether Wait would return at once.
func (p *Proposal) Done() bool { return p.state.Load() == completed }

// left reports whether nobody waits for the outcome any more.
func (p *Proposal) left() bool { return p.state.Load() == abandoned }

// contextError is the error of a wait that ctx has ended.
func contextError(ctx context.Context) error {
	kind := core.Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = core.Deadline
	}
	return &core.Error{Kind: kind, Cause: context.Cause(ctx)}
}
