package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
)

// Reaper sets the pace at which containers and znodes with a time to live are deleted
// when they are due. A zero is the default of that part but for NeverUsed (ZooKeeper's
// znode.container.checkIntervalMs, maxPerMinute and maxNeverUsedIntervalMs).
type Reaper struct {
	// CheckInterval is how often they are looked through, 60 s by default.
	CheckInterval time.Duration
	// MaxPerMinute is how many may be deleted in a minute, 10 000 by default.
	MaxPerMinute int
	// NeverUsed is how long a container may wait for its first child; zero is for ever,
	// as in ZooKeeper 3.9.
	NeverUsed time.Duration
}

const (
	defaultReapInterval  = time.Minute
	defaultMaxPerMinute  = 10_000
	reapBatchesPerMinute = 60
	// maxReapBatch bounds the paths of one command.
	maxReapBatch = 1000
	// reapRest is how many times as long as it has looked the reaper rests: there may be
	// millions of znodes that are not due yet, and it is not to keep a core busy.
	reapRest = 9
	// countPause is the pause between entries that do nothing but go on counting for a
	// quota, while nobody writes.
	countPause = 50 * time.Millisecond
)

func (r Reaper) withDefaults() Reaper {
	if r.CheckInterval == 0 {
		r.CheckInterval = defaultReapInterval
	}
	if r.MaxPerMinute == 0 {
		r.MaxPerMinute = defaultMaxPerMinute
	}
	return r
}

func (r Reaper) validate() error {
	if r.CheckInterval < 0 || r.MaxPerMinute < 0 || r.NeverUsed < 0 {
		return fmt.Errorf("the pace of the reaper of containers is negative: every %v, %d in a minute, unused for %v",
			r.CheckInterval, r.MaxPerMinute, r.NeverUsed)
	}
	return nil
}

// batch is how many are deleted at a time.
func (r Reaper) batch() int { return min(max(r.MaxPerMinute/reapBatchesPerMinute, 1), maxReapBatch) }

// pause is that after it took so long to look for so many to delete.
func (r Reaper) pause(deleted int, looked time.Duration) time.Duration {
	return max(time.Duration(deleted)*time.Minute/time.Duration(r.MaxPerMinute), reapRest*looked)
}

// reap looks for znodes that are due, and goes on with quotas, while this member leads, until ctx ends. It only
// proposes: apply decides once more, by the clock of its entry.
func (n *Node) reap(ctx context.Context) {
	tick := time.NewTicker(n.cfg.Reaper.CheckInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := errors.Join(n.reapDue(ctx), n.countQuotas(ctx))
		if err != nil && ctx.Err() == nil && core.KindOf(err) != core.LeaderChanged {
			n.cfg.Logger.Warn("looking after znodes failed; it is tried again", "error", err)
		}
	}
}

// reapDue goes once through all znodes that may become due, however long that takes: the
// next time begins where the index does.
func (n *Node) reapDue(ctx context.Context) error {
	var after []byte
	for {
		view, term := n.led()
		if view == nil {
			return nil
		}
		began := time.Now()
		due, err := view.Reapable(ctx, after, n.cfg.Reaper.batch(), began.UnixMilli(), n.cfg.Reaper.NeverUsed)
		view.Close()
		if err != nil {
			return err
		}
		looked := time.Since(began)
		if len(due.Paths) > 0 {
			if _, err := n.do(ctx, &core.ZnodeReap{Paths: due.Paths, NeverUsed: n.cfg.Reaper.NeverUsed, Term: term}); err != nil {
				return err
			}
		}
		if !due.More {
			return nil
		}
		after = due.Last
		if !rested(ctx, n.cfg.Reaper.pause(len(due.Paths), looked)) {
			return nil
		}
	}
}

// led is a view of the state, which the caller closes, and the term, while this member
// leads and keys may change; nil otherwise.
func (n *Node) led() (*state.View, uint64) {
	leader, term, _, _ := n.driver.Status()
	if leader != n.disk.id.member {
		return nil, 0
	}
	view := n.published.hold()
	if view != nil && view.Corrupt() {
		view.Close()
		return nil, 0
	}
	return view, term
}

// rested waits. It reports false if ctx ends first.
func rested(ctx context.Context, pause time.Duration) bool {
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}

// countQuotas goes on counting what quotas of large trees use, with entries that do
// nothing else, until they are counted or it is time for the reaper again: it would stand
// still while nobody writes.
func (n *Node) countQuotas(ctx context.Context) error {
	for began := time.Now(); time.Since(began) < n.cfg.Reaper.CheckInterval; {
		view, term := n.led()
		if view == nil {
			return nil
		}
		counting, err := view.Counting()
		view.Close()
		if err != nil || !counting {
			return err
		}
		if _, err := n.do(ctx, &core.ZnodeReap{Term: term}); err != nil {
			return err
		}
		if !rested(ctx, countPause) {
			return nil
		}
	}
	return nil
}
