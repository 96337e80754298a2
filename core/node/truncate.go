package node

import (
	"context"
	"math"
	"sort"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/state"
)

// What is kept of the log behind the durable state, for members that are behind. A lone
// member keeps nothing.
const (
	// defaultCatchUpEntries is etcd's --snapshot-catchup-entries.
	defaultCatchUpEntries = 5000
	// logKept is how much of the log every member keeps, as any of them may lead next: so
	// that a member that was started again, or out of touch for a while, need not be sent the
	// state. It takes what a segment or two more take.
	logKept = 64 << 20
	// logBudget is how long the log gets for a member that is behind, and heard of.
	logBudget = 256 << 20
	// transferBudget is how long it gets for one that is being sent the state, or was a
	// moment ago: with less, it would have to be sent another one at once, and so on. At
	// DefaultTransferRate, and 10 MB/s of writes, a state of 6 GiB is sent meanwhile.
	transferBudget = 1 << 30
)

// logIndex is what of the log truncation asks.
type logIndex interface {
	FirstIndex() (uint64, error)
	LastIndex() (uint64, error)
	// BytesAfter is how long the log is behind an index.
	BytesAfter(index uint64) int64
}

// retention is what of the log must stay, or should.
type retention struct {
	// durable is the index of the durable state: what comes after it must stay.
	durable uint64
	// entries and bytes are how much is kept in any case.
	entries uint64
	bytes   int64
	// members is what the members lack that are heard of; transfers what those lack that
	// are sent the state. Both are indexes behind which the log is needed.
	members, transfers uint64
}

// truncateAt is the index up to which the log can go.
func (r *retention) truncateAt(log logIndex) (uint64, error) {
	first, err := log.FirstIndex()
	if err != nil {
		return 0, err
	}
	last, err := log.LastIndex()
	if err != nil {
		return 0, err
	}
	within := func(budget int64) uint64 { return logWithin(log, first-1, last, budget) }
	index := min(within(r.bytes), last-min(last, r.entries), r.members)
	index = max(index, within(logBudget))
	index = min(index, max(r.transfers, within(transferBudget)))
	return min(index, r.durable), nil
}

// logWithin is the lowest index behind which the log is not longer than a budget.
func logWithin(log logIndex, base, last uint64, budget int64) uint64 {
	n := sort.Search(int(last-base), func(i int) bool { return log.BytesAfter(base+uint64(i)) <= budget })
	return base + uint64(n)
}

// progressTimeout bounds the wait for what the leader knows of the others, which it says
// at once.
const progressTimeout = time.Second

// retained is what of the log is to stay now.
func (u *upkeep) retained(ctx context.Context, durable uint64) retention {
	r := retention{durable: durable, members: durable, transfers: durable}
	if index, ok := u.n.peers.states.outgoing.needed(); ok {
		r.transfers = index
	}
	if !u.n.severalMembers() {
		return r
	}
	r.entries, r.bytes = u.n.cfg.Limits.CatchUpEntries, 0
	if r.entries == 0 {
		r.entries, r.bytes = defaultCatchUpEntries, logKept
	}
	ctx, cancel := context.WithTimeout(ctx, progressTimeout)
	defer cancel()
	all, err := u.n.driver.Progress(ctx)
	if err != nil {
		return r // this member does not lead
	}
	r.members = min(r.members, lowestMatch(all, u.n.disk.id.member))
	return r
}

// lowestMatch is the lowest index that a member which is heard of has in its log, this one
// aside. One that is being sent the state is not counted: the checkpoint is.
func lowestMatch(all []consensus.Progress, self core.MemberID) uint64 {
	lowest := uint64(math.MaxUint64)
	for _, p := range all {
		if p.ID != self && p.Active && !p.Installing {
			lowest = min(lowest, p.Match)
		}
	}
	return lowest
}

// severalMembers reports whether there are others than this member.
func (n *Node) severalMembers() bool {
	v := n.published.view.Load()
	return v != nil && len(v.Members()) > 1 // which needs no hold
}

// knows reports whether somebody is a member now.
func (n *Node) knows(id core.MemberID) bool {
	v := n.published.view.Load()
	return v != nil && memberIn(v.Members(), id) != nil // which needs no hold
}

// shortenLog flushes the state if the log beyond it is long, and truncates the
// log.
func (u *upkeep) shortenLog(ctx context.Context) error {
	e, log := u.n.disk.holdEngine(), u.n.disk.log
	defer e.release()
	durable, err := state.DurableIndex(e.db)
	if err != nil {
		return err
	}
	if u.much() || log.BytesAfter(durable) >= flushBytes {
		u.commands.Store(0)
		u.rows.Store(0)
		u.flushed.Store(true)
		if err := e.db.Flush(); err != nil {
			return err
		}
		if durable, err = state.DurableIndex(e.db); err != nil {
			return err
		}
	}
	if durable == 0 {
		return nil
	}
	r := u.retained(ctx, durable)
	index, err := r.truncateAt(log)
	if err != nil {
		return err
	}
	return log.Truncate(index)
}
