package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/failpoint"
)

// flushBytes is how long the log may get beyond the durable state: with
// Config.Limits.FlushCommands, what bounds a restart's replay (`design.md` 4).
const flushBytes = 32 << 20

// upkeep does what a store needs now and then, beside apply: one goroutine
// flushes the state when the log beyond it has grown long and gives up the log
// that the durable state no longer needs, another collects the history that
// compactions have given up, a third raises the alarm of the quota.
type upkeep struct {
	n *Node

	backups backups

	// commands counts what has been applied since the last flush began, rows the different
	// rows that were looked up for it; flushed tells apply, which knows them, that one did.
	commands, rows atomic.Uint64
	flushed        atomic.Bool
	// wrote is when apply was done last, since began.
	wrote atomic.Int64
	began time.Time
	// long, compacted and full wake the goroutines; their capacity is 1.
	long, compacted, full chan struct{}

	mu sync.Mutex
	// collected is closed and replaced when a collection has become durable.
	collected chan struct{}
	// durable is the revision up to which history is gone for good.
	durable core.Rev
}

func newUpkeep(n *Node) *upkeep {
	u := &upkeep{
		n:         n,
		long:      make(chan struct{}, 1),
		compacted: make(chan struct{}, 1),
		full:      make(chan struct{}, 1),
		collected: make(chan struct{}),
		durable:   n.disk.engine().collector.Collected(),
		began:     time.Now(),
	}
	u.wrote.Store(int64(-busyFor))
	u.backups.init()
	signal(u.compacted) // what the last run of the process has left undone
	return u
}

// signal wakes the receiver of c, or will when it next looks.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// applied is told by apply what it has done. It never waits.
func (u *upkeep) applied(at time.Time, commands, rows int, compacted bool) {
	u.wrote.Store(int64(at.Sub(u.began)))
	u.commands.Add(uint64(commands))
	u.rows.Add(uint64(rows))
	if u.much() {
		signal(u.long)
	}
	if compacted {
		signal(u.compacted)
	}
}

// busy reports whether writes come.
func (u *upkeep) busy() bool { return time.Since(u.began)-time.Duration(u.wrote.Load()) < busyFor }

// flushRows is how many rows a restart's replay may have to read from the engine, besides
// those of what is applied while the flush goes on: 10 000 or so a second come from a disk,
// and each takes 75 to 150 us of a processor as long as nothing is in memory. Those who
// write fewer keys than that, or half as many znodes, have the log flushed by its length.
const flushRows = 24_000

// much reports whether so much has been applied since the last flush that it is time for
// another.
func (u *upkeep) much() bool {
	return u.commands.Load() >= u.n.cfg.Limits.FlushCommands || u.rows.Load() >= flushRows
}

// lookInterval is how often the length of the log is looked at.
const lookInterval = time.Second

// keepLogShort runs until ctx ends or the disk fails.
func (u *upkeep) keepLogShort(ctx context.Context) {
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for {
		select {
		case <-u.long:
		case <-look.C:
		case <-ctx.Done():
			return
		}
		if err := errors.Join(u.shortenLog(ctx), u.n.published.trim()); err != nil {
			u.n.fail(err)
			return
		}
		u.tidyStates()
	}
}

// tidyStates removes the states that have been replaced, and what is left of those that
// went from member to member.
func (u *upkeep) tidyStates() {
	now := time.Now()
	s := &u.n.peers.states
	if err := errors.Join(u.n.disk.closeRetired(), s.fetcher.tidy(now), s.outgoing.tidy(now)); err != nil {
		u.n.cfg.Logger.Warn("files that are of no use any more could not be removed; the next start removes them", "error", err)
	}
}

// collectHistory runs until ctx ends or the disk fails.
func (u *upkeep) collectHistory(ctx context.Context) {
	for {
		select {
		case <-u.compacted:
		case <-ctx.Done():
			return
		}
		if err := u.collect(ctx); err != nil {
			if ctx.Err() == nil {
				u.n.fail(err)
			}
			return
		}
	}
}

// raiseAlarms raises the alarm of the quota until ctx ends: for those who were refused and
// must not wait, and when the store has grown beyond the quota by what came through other
// members, whose quotas may be higher (etcd looks at each apply).
func (u *upkeep) raiseAlarms(ctx context.Context) {
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	quota, seen := u.n.cfg.Limits.QuotaBytes, u.n.size()
	for {
		size := seen
		select {
		case <-u.full:
		case <-look.C:
			size = u.n.size()
			if grown := size > seen; !grown || quota <= 0 || size <= quota {
				seen = size
				continue
			}
		case <-ctx.Done():
			return
		}
		err := u.n.raiseNoSpace(ctx, 0)
		if core.KindOf(err) == core.NoSpace {
			seen = size
		} else if ctx.Err() == nil {
			u.n.cfg.Logger.Warn("the quota is reached, but the NOSPACE alarm could not be raised; it is tried again", "error", err)
		}
	}
}

// collect removes the history that the published view has given up.
func (u *upkeep) collect(ctx context.Context) error {
	e := u.n.disk.holdEngine() // before the view, which must not be of a later one
	defer e.release()
	view := u.n.published.hold()
	if view == nil {
		return nil
	}
	to := view.CompactRev()
	view.Close()
	if to <= 0 || to <= u.durableRev() {
		u.settle(e, to)
		return nil
	}
	start := time.Now()
	if err := e.collector.Collect(ctx, to); err != nil {
		return err
	}
	// A collection that somebody waits for must survive a crash.
	failpoint.Hit(failpoint.CompactBeforeSetFinished)
	if err := e.db.Flush(); err != nil {
		return err
	}
	failpoint.Hit(failpoint.CompactAfterSetFinished)
	took := time.Since(start)
	u.n.metrics.compactionTotal.Observe(float64(took.Milliseconds()))
	u.n.metrics.compactionLast.SetToCurrentTime()
	u.n.cfg.Logger.Info("finished scheduled compaction", "revision", to, "took", took)
	u.settle(e, to)
	return nil
}

func (u *upkeep) durableRev() core.Rev {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.durable
}

// settle notes that the history of an engine is gone up to rev: if it is the present one
// still.
func (u *upkeep) settle(e *engine, rev core.Rev) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n.disk.engine() != e {
		return
	}
	u.durable = max(u.durable, rev)
	close(u.collected)
	u.collected = make(chan struct{})
}

// WaitCompacted implements core.Maintenance.
func (n *Node) WaitCompacted(ctx context.Context, rev core.Rev) error {
	u := n.upkeep
	for {
		u.mu.Lock()
		done, changed := u.durable >= rev, u.collected
		u.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-n.stopping:
			return core.Stopped
		case <-ctx.Done():
			return core.ContextError(ctx.Err())
		}
	}
}

// emptySize is what a store is said to take before anything is written to it:
// there are rows besides the versions of keys, and monitoring takes a size of
// zero for a store that is not there (etcd T-93).
const emptySize = 16 << 10

// size is the logical size of the store: that of its versions and of the rows of znodes
// and leases, and emptySize.
func (n *Node) size() int64 {
	v := n.published.hold()
	if v == nil {
		return emptySize
	}
	defer v.Close()
	return emptySize + v.Written() + v.RowBytes() - n.disk.engine().collector.Freed()
}

// autoCompact proposes compactions as the configuration asks for.
func (n *Node) autoCompact(ctx context.Context) {
	c := compactor{keep: n.cfg.AutoCompaction}
	if c.interval() == 0 {
		return
	}
	tick := time.NewTicker(c.interval())
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			n.compactAt(ctx, &c, now)
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) compactAt(ctx context.Context, c *compactor, now time.Time) {
	view := n.published.hold()
	if view == nil {
		return
	}
	rev := view.Rev()
	view.Close()
	to, due := c.tick(now, rev)
	if leader, _, _, _ := n.driver.Status(); !due || leader != n.disk.id.member {
		return
	}
	_, err := n.do(ctx, &core.Compact{Rev: to})
	switch {
	case err == nil:
		n.cfg.Logger.Info("compacted history", "revision", to)
		c.succeeded(now, to)
	case core.KindOf(err) == core.Compacted: // somebody else was faster
		c.succeeded(now, to)
	case ctx.Err() == nil:
		n.cfg.Logger.Warn("automatic compaction failed; it is tried again", "revision", to, "error", err)
	}
}
