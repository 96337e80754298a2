package consensus

import (
	"fmt"
	"sync/atomic"

	"github.com/triglot/triglot/core"
)

const (
	// maxApplyEntries and maxApplyBytes bound one call of Applier.Apply, and so
	// the engine batch behind it.
	maxApplyEntries = 1024
	maxApplyBytes   = maxEntryBytes
)

// applyLoop belongs to the role of applying: it turns tasks into calls of the state
// machine.
type applyLoop struct {
	to           Applier
	onLeadership func(leader core.MemberID, term uint64, self bool)
	self         core.MemberID
	inbox        *mailbox
	applied      *atomic.Uint64 // written here only
	tasks        []*applyTask   // taken last

	batch   []Committed // gathered for the next call
	bytes   int
	changed *Committed // the last of batch, in its task, if it changes the members
}

// apply carries out tasks, several entries at a time, and reports each task as
// soon as its entries are applied. Then it is the replica's again. If there is the token
// of stepping to it, it has somebody come; with the last one the caller has it.
func (a *applyLoop) apply(tasks []*applyTask) (held role, err error) {
	reported := 0
	flush := func(upTo int, l *leadership) error {
		if err := a.flush(); err != nil {
			a.abandon(tasks[reported:], err)
			return err
		}
		// Before the replica hears of it: once it knows that an entry of its own
		// term is applied it serves reads, which must find the new leader told.
		a.tell(l)
		if upTo == reported || !a.inbox.applied(tasks[reported:upTo]) {
			reported = upTo
			return nil
		}
		if reported = upTo; upTo == len(tasks) {
			held = stepping
		} else {
			a.inbox.call()
		}
		return nil
	}
	for i, t := range tasks {
		leadership := t.leadership
		if t.install != nil {
			if err := flush(i, nil); err != nil {
				return held, err
			}
			if err := a.install(t.install); err != nil {
				a.abandon(tasks[i:], err)
				return held, err
			}
		}
		if err := a.gatherAll(t, func() error { return flush(i, nil) }); err != nil {
			return held, err
		}
		if leadership != nil || i == len(tasks)-1 {
			if err := flush(i+1, leadership); err != nil {
				return held, err
			}
		}
	}
	return held, nil
}

// gatherAll has the entries of t applied, and what was gathered first whenever there is
// too much.
func (a *applyLoop) gatherAll(t *applyTask, flush func() error) error {
	for i := range t.entries {
		c := &t.entries[i]
		if a.full(c) {
			if err := flush(); err != nil {
				return err
			}
		}
		a.gather(c)
	}
	return nil
}

// full reports whether c must wait for the next call.
func (a *applyLoop) full(c *Committed) bool {
	return a.changed != nil || len(a.batch) == maxApplyEntries || len(a.batch) > 0 && a.bytes+len(c.Data) > maxApplyBytes
}

// gather has c applied by the next flush.
func (a *applyLoop) gather(c *Committed) {
	a.batch = append(a.batch, *c)
	a.bytes += len(c.Data)
	if c.Change.Kind != NoChange {
		a.changed = c
	}
}

// tell tells who leads, if that is known anew.
func (a *applyLoop) tell(l *leadership) {
	if l != nil && a.onLeadership != nil {
		a.onLeadership(l.leader, l.term, l.leader == a.self)
	}
}

// flush applies what has been gathered.
func (a *applyLoop) flush() error {
	if len(a.batch) == 0 {
		return nil
	}
	first, last := a.batch[0].Index, a.batch[len(a.batch)-1].Index
	if err := a.to.Apply(a.batch); err != nil {
		return fmt.Errorf("apply entries %d to %d: %w", first, last, err)
	}
	if a.changed != nil {
		a.changed.Refused = a.batch[len(a.batch)-1].Refused
		a.changed = nil
	}
	a.applied.Store(last)
	clear(a.batch)
	a.batch, a.bytes = a.batch[:0], 0
	return nil
}

// install replaces the state. Whoever appends waits for it.
func (a *applyLoop) install(i *installation) error {
	if err := a.to.Install(i.Installed); err != nil {
		return fmt.Errorf("install the state of entry %d: %w", i.Index, err)
	}
	a.applied.Store(i.Index)
	close(i.done)
	return nil
}

// abandon answers the proposals of the entries that have not been applied.
func (a *applyLoop) abandon(tasks []*applyTask, err error) {
	for _, t := range tasks {
		t.abandonAfter(a.applied.Load(), stopped(err))
	}
}
