package watch

import (
	"context"
	"errors"
	"fmt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/failpoint"
)

// One delivery of catching up has at most so many revisions, and about so many
// bytes: a single revision may have more.
const (
	catchUpRevisions = 1000
	catchUpBytes     = 512 << 10
)

// catchUpBatch is how many revisions are taken from the ring under one lock.
const catchUpBatch = 256

// History reads revisions that the ring no longer has.
type History interface {
	// Revisions returns whole revisions from from on, in order, with their
	// changes within want (or more of them), of about maxBytes but at least one
	// if there is one. next is the first revision that they do not cover: higher
	// than from, and beyond all that was published before the call when there is
	// nothing more. It fails with Compacted if from is less than the revision
	// compacted to.
	Revisions(ctx context.Context, from core.Rev, want core.Interval, withPrev bool, maxBytes int) (revs []*core.Revision, next core.Rev, err error)
	// LoadPrev puts the earlier states into a revision that Revisions has returned
	// without their values, because they are very many.
	LoadPrev(ctx context.Context, rev *core.Revision) error
}

// canCatchUp reports whether a watch can be brought forward.
func (f *feed) canCatchUp() bool { return len(f.behind) > 0 && !f.stalled }

// catchUp gives the first of the watches that are behind its turn: it is brought
// forward by up to one delivery.
func (f *feed) catchUp(ctx context.Context) (d core.Delivery, ok bool, err error) {
	if ctx.Err() != nil { // not later: what has been read must be delivered
		return d, false, contextError(ctx)
	}
	w := f.behind[0]
	standing, target := f.hub.dispatcher.assess(w)
	switch standing {
	case standsCompacted:
		f.leaveBehind()
		return core.Delivery{Kind: core.DeliverCompacted, Watch: w.id, CompactRev: target}, true, nil
	case standsJoined, standsEnded:
		f.leaveBehind()
		return d, false, nil
	case standsBehind:
		failpoint.Hit(failpoint.BeforeSyncWatchers)
	}
	defer f.hub.dispatcher.reads.Done()
	s := selection{watch: w}
	if err := f.replay(ctx, &s, target); err != nil {
		return d, false, f.catchUpError(ctx, w, err)
	}
	if f.hub.dispatcher.settle(w) {
		f.leaveBehind()
	} else { // to the end of the line
		copy(f.behind, f.behind[1:])
		f.behind[len(f.behind)-1] = w
	}
	if len(s.changes) == 0 {
		return d, false, nil
	}
	return core.Delivery{Kind: core.DeliverEvents, Watch: w.id, Rev: target, Changes: s.changes}, true, nil
}

// leaveBehind drops the first of the watches that are behind.
func (f *feed) leaveBehind() {
	last := len(f.behind) - 1
	copy(f.behind, f.behind[1:])
	f.behind[last] = nil
	f.behind = f.behind[:last]
	if last == 0 {
		f.behind, f.batch = nil, nil
	}
}

// catchUpError decides what a failure to read means.
func (f *feed) catchUpError(ctx context.Context, w *watch, err error) error {
	switch {
	case f.closed.Load():
		return core.Stopped
	case ctx.Err() != nil:
		return contextError(ctx)
	case errors.Is(err, core.Compacted):
		// The History has seen a compaction that the hub has not been told of
		// yet. It will be in a moment, and then wakes the feed.
		f.stalled = true
		return nil
	default:
		return fmt.Errorf("watch: catching up from revision %d: %w", w.next, err)
	}
}

// replay selects what the watch wants of the revisions up to target, from the
// ring while that has them, else one chunk from the History.
func (f *feed) replay(ctx context.Context, s *selection, target core.Rev) error {
	w := s.watch
	if f.batch == nil {
		f.batch = make([]entry, catchUpBatch)
	}
	for w.next <= target && !s.full() {
		n, next, ok := f.hub.ring.read(w.next, target, f.batch)
		if !ok {
			break
		}
		lacking := false
		for i := range f.batch[:n] {
			lacking = w.lacks(f.batch[i].rev)
			if lacking || s.full() {
				next = f.batch[i].rev.Rev
				break
			}
			s.add(f.batch[i].rev)
		}
		clear(f.batch[:n])
		w.next = next
		if lacking {
			break
		}
	}
	if w.next <= target && s.revisions == 0 {
		if err := f.recall(ctx, s, target); err != nil {
			return err
		}
	}
	f.dropPrev(s)
	return nil
}

// recall selects from one chunk of the History. Its view may be newer than
// target: what is beyond comes when it has been dispatched.
func (f *feed) recall(ctx context.Context, s *selection, target core.Rev) error {
	w := s.watch
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.ctx, cancel)() //nolint:contextcheck // the call ends with the feed, too

	history := f.hub.options.History
	revs, next, err := history.Revisions(ctx, w.next, w.spec.Interval, w.spec.PrevKV, catchUpBytes)
	if err != nil {
		return err
	}
	if next <= w.next {
		return core.Errorf(core.Internal, "the history stands still at revision %d", next)
	}
	next = min(next, target+1)
	for _, rev := range revs {
		if rev.Rev < w.next || rev.Rev > target {
			continue
		}
		if s.full() || rev.NoPrevValues && s.revisions > 0 { // very many go alone
			next = rev.Rev
			break
		}
		if rev.NoPrevValues {
			if err := f.loadPrev(ctx, rev); err != nil {
				return err
			}
		}
		s.add(rev)
	}
	w.next = next
	return nil
}

// loadPrev reads the earlier states of very many keys. etcd tells all of a revision at
// once, unless the watch is fragmented, and so all of it is in memory until it is
// sent: that of one watch of the hub at a time.
func (f *feed) loadPrev(ctx context.Context, rev *core.Revision) error {
	f.release() // of what turned out to be nothing to tell
	leave, err := f.hub.large.enter(ctx)
	if err != nil {
		return err
	}
	open := context.AfterFunc(f.ctx, leave) //nolint:contextcheck // the feed's end is meant
	f.sent = func() {
		open()
		leave()
	}
	return f.hub.options.History.LoadPrev(ctx, rev)
}

// dropPrev removes the earlier states that may no longer be told.
func (f *feed) dropPrev(s *selection) {
	compacted := f.hub.ring.compactRev()
	for i := range s.changes {
		if s.changes[i].KV.ModRev > compacted {
			break
		}
		s.changes[i].Prev = nil
	}
}

// withoutPrev returns a copy of changes without the earlier states. A state is
// known as of the revision before the change, and only while that is not less
// than the revision compacted to (etcd T-47).
func withoutPrev(changes []core.Change) []core.Change {
	bare := make([]core.Change, len(changes))
	for i := range changes {
		bare[i].KV = changes[i].KV
	}
	return bare
}

// contextError says why ctx ended in the terms of the contract.
func contextError(ctx context.Context) error {
	kind := core.Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = core.Deadline
	}
	return &core.Error{Kind: kind, Cause: context.Cause(ctx)}
}
