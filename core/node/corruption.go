package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
)

// corruption watches that the members' states are the same, as they must be: the same
// entries have led to them. The leader proposes a HashMark; each member keeps the view of
// that very entry when it applies it, and sums it up in the background; the leader asks
// for the sums, and raises the CORRUPT alarm for the member whose sum is not that of the
// majority. A member that cannot be asked is left out, and asked again next time.
type corruption struct {
	n *Node
	// marked wakes the goroutine that sums up; its capacity is 1.
	marked chan struct{}

	mu sync.Mutex
	// marks are the last that were applied, in their order.
	marks []*hashMark
	// compared is the compacted revision as of which the members were compared last.
	compared core.Rev
}

// hashMark is a mark that was applied. Its fields do not change, but for view, which
// corruption.mu guards, and for sum and err, which are set before done is closed.
type hashMark struct {
	id, index uint64
	compacted core.Rev
	view      *state.View // nil once somebody has taken it over
	done      chan struct{}
	sum       uint64
	err       error
}

const (
	// keptMarks is how many marks are remembered for those who ask late, maxWaiting how
	// many views wait to be summed up: each keeps old data on the disk.
	keptMarks  = 16
	maxWaiting = 4
	// sumShare is the part of the time in which a sum is at work.
	sumShare = 0.25
)

var errMarkGivenUp = core.Errorf(core.Canceled, "the state of that entry was given up, since later ones were to be summed up")

func (c *corruption) init(n *Node) {
	c.n, c.marked = n, make(chan struct{}, 1)
}

// note takes in that marks were applied, of which v is the view. It is called by the
// apply goroutine before v is published, and does not wait.
func (c *corruption) note(v *state.View, ids []uint64) {
	if len(ids) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		v.Retain()
		c.marks = append(c.marks, &hashMark{id: id, index: v.Index(), compacted: v.CompactRev(), view: v, done: make(chan struct{})})
	}
	waiting := 0
	for _, m := range slices.Backward(c.marks) {
		if m.view == nil {
			continue
		}
		if waiting++; waiting > maxWaiting {
			m.giveUp(errMarkGivenUp)
		}
	}
	if drop := len(c.marks) - keptMarks; drop > 0 {
		c.marks = slices.Delete(c.marks, 0, drop) // of which none has a view: maxWaiting
	}
	signal(c.marked)
}

// giveUp ends a mark that nobody has begun to sum up.
func (m *hashMark) giveUp(err error) {
	m.view.Close()
	m.view, m.err = nil, err
	close(m.done)
}

// close gives up the views that nobody sums up. No mark is noted any more.
func (c *corruption) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.marks {
		if m.view != nil {
			m.giveUp(core.Stopped)
		}
	}
}

// sumUp sums up what is marked, one after the other, until ctx ends.
func (c *corruption) sumUp(ctx context.Context) {
	for {
		select {
		case <-c.marked:
		case <-ctx.Done():
			return
		}
		for m, v := c.next(); m != nil; m, v = c.next() {
			m.sum, m.err = v.Hash(c.n.pace(ctx, sumShare, sumShare))
			v.Close()
			close(m.done)
		}
	}
}

// next takes over the view of the oldest mark that is to be summed up; nil if there is
// none.
func (c *corruption) next() (*hashMark, *state.View) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.marks {
		if v := m.view; v != nil {
			m.view = nil
			return m, v
		}
	}
	return nil, nil
}

// find returns a mark that was applied; nil if it was not, or is forgotten.
func (c *corruption) find(id uint64) *hashMark {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.marks {
		if m.id == id {
			return m
		}
	}
	return nil
}

// watch has the members compared when it is due, as long as this one leads, until ctx
// ends.
func (c *corruption) watch(ctx context.Context) {
	var periodic, compaction <-chan time.Time
	if every := c.n.cfg.Corruption.Interval; every > 0 {
		tick := time.NewTicker(every)
		defer tick.Stop()
		periodic = tick.C
	}
	if c.n.cfg.Corruption.AfterCompaction {
		tick := time.NewTicker(c.n.cfg.Corruption.CompactionInterval)
		defer tick.Stop()
		compaction = tick.C
	}
	if periodic == nil && compaction == nil {
		return
	}
	c.n.cfg.Logger.Info("enabled corruption checking", "interval", c.n.cfg.Corruption.Interval, "after-compaction", c.n.cfg.Corruption.AfterCompaction)
	for {
		select {
		case <-periodic:
			c.check(ctx, "finished peer corruption check")
		case <-compaction:
			if c.compacted() {
				c.check(ctx, "finished compaction hash check")
			}
		case <-ctx.Done():
			return
		}
	}
}

// compacted reports whether the store was compacted since the members were compared.
func (c *corruption) compacted() bool {
	v := c.n.published.hold()
	if v == nil {
		return false
	}
	defer v.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	return v.CompactRev() > c.compared
}

// check has the members compared, if this one leads, and raises alarms. finished is
// etcd's line for the end of such a check.
func (c *corruption) check(ctx context.Context, finished string) {
	if self := c.n.Self(); self.Leader != self.Member || c.alone() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, compareLimit)
	defer cancel()
	found, err := c.compare(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.n.cfg.Logger.Warn("failed to check hash KV: the members' states could not be compared; it is tried again", "error", err)
		}
		return
	}
	c.raise(ctx, found)
	c.n.cfg.Logger.Info(finished, "number-of-peers-checked", len(found.sums)-1, "number-of-peers", found.members-1,
		"entry", found.index, "hash", fmt.Sprintf("%016x", found.sums[0].sum))
}

// raise says in the log what was found, and raises the alarms that it takes.
func (c *corruption) raise(ctx context.Context, found comparison) {
	for _, id := range found.corrupt() {
		c.n.cfg.Logger.Error("found data inconsistency with peers: the CORRUPT alarm is raised, writes are refused until it is disarmed",
			"member", hexID(id), "entry", found.index, "hashes", found.String(),
			"way-back", "remove the corrupt member and add it again with an empty data directory; member 0 says that it cannot be told which it is")
		alarm := core.Alarm{Member: id, Type: core.AlarmCorrupt}
		if _, err := c.n.do(ctx, &core.SetAlarm{Alarm: alarm, On: true}); err != nil && ctx.Err() == nil {
			c.n.cfg.Logger.Error("the CORRUPT alarm could not be raised; it is tried again with the next check", "member", hexID(id), "error", err)
		}
	}
}

// compareLimit bounds a comparison: it ends much earlier unless a member's disk hangs.
const compareLimit = time.Hour

// compare has all members sum up their states as of one entry, and returns the sums of
// those that answered, this member's first.
func (c *corruption) compare(ctx context.Context) (comparison, error) {
	id := drawMark()
	if _, err := c.n.do(ctx, &core.HashMark{ID: id}); err != nil {
		return comparison{}, err
	}
	m := c.find(id)
	if m == nil {
		return comparison{}, errMarkGivenUp // a state that was fetched has passed it over
	}
	members, err := c.n.Members(ctx, false)
	if err != nil {
		return comparison{}, err
	}
	self := c.n.disk.id.member
	q := inquiry{ask: c.n.peers.ask, id: id, index: m.index, patience: markPatience * c.n.cfg.Timing.Election, logger: c.n.cfg.Logger}
	others := q.all(ctx, members, self)
	select {
	case <-m.done:
	case <-ctx.Done():
		return comparison{}, core.ContextError(ctx.Err())
	}
	if m.err != nil {
		return comparison{}, m.err
	}
	if len(others) > 0 {
		c.mu.Lock()
		c.compared = max(c.compared, m.compacted)
		c.mu.Unlock()
	}
	return comparison{index: m.index, members: len(members), sums: append([]memberSum{{self, m.sum}}, others...)}, nil
}

// atStart compares this member, unless it is new, with the others before it serves. It
// fails if as many of those that can be asked differ from it as do not, itself included;
// a member that is alone in being right starts, so that it can be made the majority.
func (c *corruption) atStart(ctx context.Context) error {
	if !c.n.cfg.Corruption.AtStart || c.alone() || c.isNew() {
		return nil
	}
	c.n.cfg.Logger.Info("starting initial corruption check")
	found, err := c.compare(ctx)
	for err != nil {
		c.n.cfg.Logger.Debug("the members' states could not be compared yet; it is tried again", "error", err)
		select {
		case <-time.After(introduceRetry):
		case <-ctx.Done():
			return nil
		}
		found, err = c.compare(ctx)
	}
	differ := found.differing()
	switch {
	case 2*len(differ) >= len(found.sums) && len(differ) > 0:
		return fmt.Errorf("found data inconsistency with peers: the state of this member at entry %d is not that of others (%v): "+
			"remove this member and add it again with an empty data directory", found.index, found)
	case len(differ) > 0:
		c.n.cfg.Logger.Error("found data inconsistency with peers, but most have the state of this member, which starts",
			"entry", found.index, "hashes", found.String())
	case len(found.sums) < found.members:
		c.n.cfg.Logger.Warn("initial corruption check: not all members could be asked", "number-of-peers-checked", len(found.sums)-1)
	default:
		c.n.cfg.Logger.Info("initial corruption checking passed; no corruption", "number-of-peers-checked", len(found.sums)-1)
	}
	return nil
}

// alone reports whether there are no other members.
func (c *corruption) alone() bool {
	v := c.n.published.hold()
	if v == nil {
		return true
	}
	defer v.Close()
	return len(v.Members()) < 2
}

// isNew reports whether the cluster does not know this member's name yet.
func (c *corruption) isNew() bool {
	v := c.n.published.hold()
	if v == nil {
		return true
	}
	defer v.Close()
	m := memberIn(v.Members(), c.n.disk.id.member)
	return m == nil || m.Name == ""
}

// drawMark draws the number of a mark.
func drawMark() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
