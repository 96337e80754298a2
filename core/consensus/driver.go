package consensus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/core"
)

// Driver runs a member's consensus. Its goroutines are the crew, whose roles own the rest,
// one that makes the ticks, and one that waits for them to end and then answers everybody
// who still waits. All methods are safe for concurrent use.
type Driver struct {
	config  Config
	status  publicStatus
	crew    *crew
	inbox   *mailbox
	appends *queue[*appendTask]
	applies *queue[*applyTask]

	replica *replica // of stepping, but for inherited, which is constant
	stepper stepper
	writing []*appendTask // of appending: what was taken last
	applier applyLoop     // of applying

	stop     sync.Once
	cause    error         // why it stopped; set before stopping is closed
	stopping chan struct{} // closed when the goroutines are to end
	failed   chan error    // capacity 1
	done     chan struct{} // closed when they have ended and nobody waits
}

// publicStatus is the newest status, for readers on any goroutine. Who steps writes it,
// but for applied, which is the applier's.
type publicStatus struct {
	leader     atomic.Uint64
	term       atomic.Uint64
	committed  atomic.Uint64
	applied    atomic.Uint64
	soleLeader atomic.Bool
	pending    atomic.Int64
}

func (p *publicStatus) publish(s status) {
	p.leader.Store(uint64(s.leader))
	p.term.Store(s.term)
	p.committed.Store(s.committed)
	p.soleLeader.Store(s.soleLeader)
}

// Start opens the log and runs the member. It returns an error, and never
// panics, if the log and Config.Applied do not fit together.
func Start(c Config) (*Driver, error) {
	c = c.withDefaults()
	r, err := newReplica(&c)
	if err != nil {
		return nil, fmt.Errorf("consensus: %w", err)
	}
	if c.Send == nil {
		if !r.members.alone() {
			return nil, fmt.Errorf("consensus: there are %d voters and %d learners, and no way to send to them",
				len(r.members.voters), len(r.members.learners))
		}
		c.Send = func([]*Message) {} // those that it may have one day get nothing
	}
	d := newDriver(c, r)
	var running sync.WaitGroup
	for range roles {
		running.Go(d.crew.work)
	}
	running.Go(d.keepTime)
	d.crew.hire(stepping) // for what the log holds already, and a lone member's campaign
	go func() {
		running.Wait()
		d.finish()
	}()
	return d, nil
}

// newDriver makes a driver that nobody works for yet.
func newDriver(c Config, r *replica) *Driver {
	d := &Driver{
		config:   c,
		replica:  r,
		appends:  newQueue[*appendTask](),
		applies:  newQueue[*applyTask](),
		stopping: make(chan struct{}),
		failed:   make(chan error, 1),
		done:     make(chan struct{}),
	}
	d.inbox = newMailbox(c.QueueBytes, func() { d.crew.hire(stepping) })
	d.applier = applyLoop{to: c.Applier, onLeadership: c.OnLeadership, self: c.ID, inbox: d.inbox, applied: &d.status.applied}
	d.crew = newCrew(d.writeLog, d.applyCommitted, d.step)
	d.status.publish(r.status)
	d.status.applied.Store(c.Applied)
	return d
}

// Propose takes a proposal in. It never waits. If it fails, nothing was
// proposed: with TooManyRequests because the queue is full or the state machine
// too far behind, with LeaderChanged because its lane is broken, with Stopped because
// the member is stopping. Else the outcome comes through p: that of the state machine, or
//
//   - NoLeader or Timeout, if the deadline passed before there was one,
//   - LeaderChanged, if the leader changed, or could not be reached, after the command
//     was appended or sent to it; or if that happened to one before it in its lane,
//   - Stopped, if the member stopped.
//
// But for NoLeader the outcome is unknown then.
func (d *Driver) Propose(p *Proposal) error {
	if p.lane != nil && p.lane.Broken() {
		return core.LeaderChanged
	}
	if d.status.committed.Load() > max(d.status.applied.Load(), d.replica.inherited)+maxUnapplied {
		return core.TooManyRequests
	}
	return d.inbox.propose(p)
}

// ReadIndex returns an index such that a state with that index applied holds all
// that was acknowledged, by any member, before the call. The caller waits for
// it to be applied. All callers that arrive while a question to the quorum is
// under way share the next one. It fails with NoLeader or Timeout after
// Config.RequestTimeout, with Canceled or Deadline if ctx ends first, and with
// Stopped.
func (d *Driver) ReadIndex(ctx context.Context) (uint64, error) {
	b, err := d.inbox.joinRead()
	if err != nil {
		return 0, err
	}
	select {
	case <-b.done:
		return b.index, b.err
	case <-ctx.Done():
		return 0, contextError(ctx)
	}
}

// SoleLeader reports whether this member is the only voter, leads, and has
// applied an entry of its own term: then nobody else can have acknowledged
// anything, and the applied state is linearizable as it is. It is one atomic
// load.
func (d *Driver) SoleLeader() bool { return d.status.soleLeader.Load() }

// Status is what the member knows: the leader, zero if none, its own term, and
// the indexes up to which entries are committed and applied. The four are read
// one by one.
func (d *Driver) Status() (leader core.MemberID, term, committed, applied uint64) {
	applied = d.status.applied.Load() // before committed, so that it is never beyond it
	return core.MemberID(d.status.leader.Load()), d.status.term.Load(), d.status.committed.Load(), applied
}

// Pending is the number of proposals that have been taken in and have no outcome, nor
// are being applied, as of the last look at them.
func (d *Driver) Pending() int { return int(d.status.pending.Load()) }

// Receive takes in a message from a peer. It never waits; it drops what it has no
// room for, and what a peer has no business to send.
func (d *Driver) Receive(m *Message) {
	d.inbox.receive(m, proto.Size(m)+entryMemory*len(m.GetEntries()))
}

// entryMemory is about what an entry takes beside its data.
const entryMemory = 128

// Failed delivers the error that stopped the member, if one does. The process
// must end: this member can serve no more until it is started again.
func (d *Driver) Failed() <-chan error { return d.failed }

// Stop ends the member and waits until its goroutines have ended and everybody
// who waited has been answered with Stopped. What has been acknowledged is
// durable. It returns the error that stopped the member before, if one did.
func (d *Driver) Stop() error {
	d.shutdown(nil)
	<-d.done
	return d.cause
}

// fail stops the member because of err.
func (d *Driver) fail(err error) { d.shutdown(fmt.Errorf("consensus: %w", err)) }

// shutdown tells everything to end. The first caller's cause counts.
func (d *Driver) shutdown(cause error) {
	d.stop.Do(func() {
		d.cause = cause
		d.inbox.refuse(d.waitersError())
		d.appends.close()
		d.applies.close()
		close(d.stopping)
		d.crew.end()
		if cause != nil {
			d.failed <- cause
		}
	})
}

// waitersError is what those who wait are told at the end.
func (d *Driver) waitersError() error {
	if d.cause == nil {
		return core.Stopped
	}
	return stopped(d.cause)
}

// finish answers everybody who still waits. The goroutines have ended.
func (d *Driver) finish() {
	err := d.waitersError()
	d.status.soleLeader.Store(false)
	d.status.leader.Store(0)
	for _, t := range d.applies.rest() {
		t.abandonAfter(0, err)
	}
	in := d.inbox.rest()
	for _, p := range in.proposals {
		p.fail(err)
	}
	if in.reads != nil {
		in.reads.abandon(err)
	}
	for _, e := range in.events {
		if e, ok := e.(abandoner); ok {
			e.abandon(err)
		}
	}
	d.replica.abandon(err)
	close(d.done)
}

// keepTime makes the ticks.
func (d *Driver) keepTime() {
	ticker := time.NewTicker(d.config.TickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			d.inbox.tick()
		case <-d.stopping:
			return
		}
	}
}
