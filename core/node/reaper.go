package node

import (
	"context"
	"fmt"
	"time"

	"github.com/triglot/triglot/core"
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

// pace is how many are deleted at a time, and the pause after so many.
func (r Reaper) pace(deleted int) (batch int, pause time.Duration) {
	batch = min(max(r.MaxPerMinute/reapBatchesPerMinute, 1), maxReapBatch)
	return batch, time.Duration(deleted) * time.Minute / time.Duration(r.MaxPerMinute)
}

// reap looks for znodes that are due, while this member leads, until ctx ends. It only
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
		if err := n.reapDue(ctx); err != nil && ctx.Err() == nil && core.KindOf(err) != core.LeaderChanged {
			n.cfg.Logger.Warn("deleting containers that are due failed; it is tried again", "error", err)
		}
	}
}

// reapDue goes once through all znodes that may become due.
func (n *Node) reapDue(ctx context.Context) error {
	var after []byte
	for {
		leader, term, _, _ := n.driver.Status()
		view := n.published.hold()
		if view == nil || leader != n.disk.id.member {
			if view != nil {
				view.Close()
			}
			return nil
		}
		batch, _ := n.cfg.Reaper.pace(0)
		due, err := view.Reapable(ctx, after, batch, time.Now().UnixMilli(), n.cfg.Reaper.NeverUsed)
		view.Close()
		if err != nil {
			return err
		}
		if len(due.Paths) > 0 {
			if _, err := n.do(ctx, &core.ZnodeReap{Paths: due.Paths, NeverUsed: n.cfg.Reaper.NeverUsed, Term: term}); err != nil {
				return err
			}
		}
		if !due.More {
			return nil
		}
		after = due.Last
		_, pause := n.cfg.Reaper.pace(len(due.Paths))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}
