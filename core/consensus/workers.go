package consensus

import (
	"fmt"
	"runtime"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/failpoint"
)

// The passes of the crew.

// stepper is what belongs to the role of stepping, beside the replica.
type stepper struct {
	in inputs
	// crowded says that there are many callers: several proposals had gathered, and since
	// then some have whenever they were waited for.
	crowded bool
}

// crowd is how many proposals gather where there are many callers. With fewer, waiting for
// more gains less than it costs (BenchmarkBatching).
const crowd = 4

// step is a pass of stepping.
func (d *Driver) step() (held role) {
	s := &d.stepper
	waited := s.crowded && d.inbox.onlyProposals()
	if waited {
		// Whoever is ready to run may be about to propose: a busy machine makes larger
		// batches by letting them (BenchmarkBatching, BenchmarkForward).
		runtime.Gosched()
	}
	if !d.inbox.take(&s.in) {
		return 0
	}
	if n := len(s.in.proposals); n >= crowd {
		s.crowded = true
	} else if waited && n < 2 {
		s.crowded = false
	}
	out, err := d.replica.step(d.config.Now(), &s.in)
	if err != nil {
		d.fail(err)
		return 0
	}
	s.in.reset()
	released := out.released
	held = d.carryOut(&out)
	if d.inbox.settle(released, d.replica.appetite()) {
		held |= stepping
	}
	return held
}

// carryOut hands on what a step wants done. It returns the tokens of the roles that have
// something to do now, and had nothing.
func (d *Driver) carryOut(out *outputs) (woken role) {
	d.status.publish(out.status)
	d.status.pending.Store(int64(out.pending))
	for _, b := range out.answers {
		b.wake()
	}
	if len(out.messages) > 0 {
		if out.status.leader == d.config.ID {
			failpoint.Hit(failpoint.RaftBeforeLeaderSend)
		} else {
			failpoint.Hit(failpoint.RaftBeforeFollowerSend)
		}
		d.config.Send(out.messages)
	}
	if out.fetch != 0 && d.config.Fetch != nil {
		d.config.Fetch(out.fetch)
	}
	if d.appends.put(out.appends) {
		woken |= appending
	}
	if d.applies.put(out.applies) {
		woken |= applying
	}
	return woken
}

// writeLog is a pass of appending.
func (d *Driver) writeLog() (held role) {
	var ok bool
	if d.writing, ok = d.appends.take(d.writing); !ok {
		return 0
	}
	for i, t := range d.writing {
		if err := d.append(t); err != nil {
			d.fail(err)
			return 0
		}
		if !d.inbox.appended(t) {
			continue
		}
		if i == len(d.writing)-1 {
			held = stepping
		} else {
			d.crew.hire(stepping)
		}
	}
	if d.appends.settle(d.writing) {
		held |= appending
	}
	return held
}

// append does an appendTask.
func (d *Driver) append(t *appendTask) error {
	if t.install != nil {
		select {
		case <-t.install.done: // by whoever applies
		case <-d.stopping:
			return core.Stopped // it may never be
		}
		if err := d.config.Log.Reset(t.install.Index, t.install.Term); err != nil {
			return fmt.Errorf("begin the log behind entry %d: %w", t.install.Index, err)
		}
	}
	if !t.writes() {
		return nil
	}
	t.announce(d.config.Appending)
	failpoint.Hit(failpoint.RaftBeforeSave)
	if err := d.config.Log.Append(t.hard, t.entries, t.sync); err != nil {
		return fmt.Errorf("append to the log: %w", err)
	}
	failpoint.Hit(failpoint.RaftAfterSave)
	return nil
}

// applyCommitted is a pass of applying.
func (d *Driver) applyCommitted() (held role) {
	var ok bool
	if d.applier.tasks, ok = d.applies.take(d.applier.tasks); !ok {
		return 0
	}
	held, err := d.applier.apply(d.applier.tasks)
	if err != nil {
		d.fail(err)
		return 0
	}
	if d.applies.settle(d.applier.tasks) {
		held |= applying
	}
	return held
}
