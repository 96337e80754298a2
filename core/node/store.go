package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/state"
)

// Do implements core.Store.
func (n *Node) Do(ctx context.Context, who core.Principal, cmd core.Command) (core.Result, error) {
	switch c := cmd.(type) {
	case *core.LeaseGrant:
		if c.ID == 0 {
			return n.underAnyID(ctx, who, func(id core.LeaseID) core.Command {
				return &core.LeaseGrant{ID: id, TTL: c.TTL}
			})
		}
	case *core.SessionOpen:
		if c.ID == 0 {
			return n.underAnyID(ctx, who, func(id core.LeaseID) core.Command {
				return &core.SessionOpen{ID: id, Timeout: c.Timeout, Secret: c.Secret}
			})
		}
	}
	data, err := n.encode(who, cmd)
	if err != nil {
		return core.Result{}, err
	}
	if n.exceedsQuota(cmd, len(data)) {
		return core.Result{}, n.raiseNoSpace(ctx, len(data))
	}
	return n.propose(ctx, data)
}

// encode encodes a command of a client, having checked that it can be.
func (n *Node) encode(who core.Principal, cmd core.Command) ([]byte, error) {
	if txn, ok := cmd.(*core.Txn); ok && command.TooDeep(txn) {
		return nil, core.Errorf(core.InvalidArgument, "transactions nest deeper than %d", command.MaxTxnDepth)
	}
	if n.pressure.refuses(cmd) {
		return nil, core.TooManyRequests
	}
	data := command.AppendCommandAs(make([]byte, 0, commandRoom(cmd)), who, cmd)
	if len(data) > n.cfg.Limits.RequestBytes {
		return nil, core.RequestTooLarge
	}
	return data, nil
}

// do replicates a command of the member's own, which no limit on requests may
// hold up.
func (n *Node) do(ctx context.Context, cmd core.Command) (core.Result, error) {
	return n.propose(ctx, command.AppendCommandAs(nil, core.Principal{Member: true}, cmd))
}

// lane implements core.Lane.
type lane struct {
	n *Node
	consensus.Lane
}

// Lane implements core.Store.
func (n *Node) Lane() core.Lane { return &lane{n: n} }

// Submit implements core.Lane. The order of the commands is that of one queue
// from here to the log: the driver takes a proposal into it before Propose
// returns, an entry is made of a run of the queue from its front, and entries are
// applied in the order of the log. What is ordered leaves the queue in no other
// way, unless its lane is broken. Only what cannot enter it, because of a limit or a full
// queue, is left out, and that the caller sees at once.
func (l *lane) Submit(who core.Principal, cmd core.Command) core.Pending {
	n := l.n
	if needsID(cmd) {
		return refused{core.Errorf(core.InvalidArgument, "an id must be given")}
	}
	data, err := n.encode(who, cmd)
	if err != nil {
		return refused{err}
	}
	if n.exceedsQuota(cmd, len(data)) {
		signal(n.upkeep.full)
		return refused{core.NoSpace}
	}
	p := consensus.NewOrdered(&l.Lane, data)
	if err := n.driver.Propose(p); err != nil {
		return refused{err}
	}
	return p
}

// needsID reports whether a command leaves it to the member to draw an id, which
// takes as many attempts as it takes.
func needsID(cmd core.Command) bool {
	switch c := cmd.(type) {
	case *core.LeaseGrant:
		return c.ID == 0
	case *core.SessionOpen:
		return c.ID == 0
	}
	return false
}

// refused is a command that was not proposed.
type refused struct{ err error }

func (r refused) Wait(context.Context) (core.Result, error) { return core.Result{}, r.err }

func (refused) Done() bool { return true }

func (n *Node) propose(ctx context.Context, data []byte) (core.Result, error) {
	p := consensus.NewProposal(data, time.Time{})
	stages := core.StagesIn(ctx)
	var made time.Time
	if stages != nil {
		made = time.Now()
	}
	if err := n.driver.Propose(p); err != nil {
		n.metrics.proposalsFailed.Inc()
		return core.Result{}, err
	}
	res, err := p.Wait(ctx)
	if stages != nil {
		*stages = p.Stages(made)
	}
	if err != nil && !decided(err) {
		n.metrics.proposalsFailed.Inc()
	}
	return res, err
}

// decided reports whether the state machine has decided that a command fails.
func decided(err error) bool {
	switch core.KindOf(err) {
	case core.Timeout, core.NoLeader, core.LeaderChanged, core.Stopped, core.Canceled, core.Deadline:
		return false
	default:
		return true
	}
}

// commandRoom is about what a command takes, so that the common ones are encoded
// without growing their buffer.
func commandRoom(cmd core.Command) int {
	const overhead = 48
	switch c := cmd.(type) {
	case *core.Put:
		return len(c.Key) + len(c.Value) + overhead
	case *core.ZnodeWrite:
		room := overhead
		for i := range c.Ops {
			room += len(c.Ops[i].Path) + len(c.Ops[i].Data) + overhead
		}
		return room
	}
	return 4 * overhead
}

// underAnyID makes a lease under an id that is free (etcd T-60: a positive one).
func (n *Node) underAnyID(ctx context.Context, who core.Principal, named func(core.LeaseID) core.Command) (core.Result, error) {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails
		id := core.LeaseID(binary.LittleEndian.Uint64(b[:]) >> 1)
		if id == 0 {
			continue
		}
		res, err := n.Do(ctx, who, named(id))
		if err == nil || core.KindOf(err) != core.LeaseExists {
			return res, err
		}
	}
}

// entryOverhead is what a command that needs space is reckoned to take besides
// its own bytes (etcd T-72: 256 a put).
const entryOverhead = 256

// exceedsQuota reports whether a command of so many bytes would.
func (n *Node) exceedsQuota(cmd core.Command, size int) bool {
	return n.cfg.Limits.QuotaBytes > 0 && state.NeedsSpace(cmd) && n.size()+int64(size)+entryOverhead > n.cfg.Limits.QuotaBytes
}

// raiseNoSpace refuses a command that exceeds the quota, having raised the alarm
// that makes every member refuse it.
func (n *Node) raiseNoSpace(ctx context.Context, size int) error {
	alarm := core.Alarm{Member: n.disk.id.member, Type: core.AlarmNoSpace}
	if slices.Contains(n.Status().Alarms, alarm) {
		return core.NoSpace
	}
	res, err := n.do(ctx, &core.SetAlarm{Alarm: alarm, On: true})
	if err != nil {
		return err
	}
	if res.Outcome != (core.AlarmOutcome{Stood: true}) {
		n.cfg.Logger.Warn("the quota is reached: the NOSPACE alarm was raised",
			"quota_bytes", n.cfg.Limits.QuotaBytes, "used_bytes", n.size(), "request_bytes", size)
	}
	return core.NoSpace
}

// View implements core.Store.
func (n *Node) View(ctx context.Context, who core.Principal, c core.Consistency) (core.View, error) {
	v, err := n.view(ctx, c)
	if err != nil {
		return nil, err
	}
	return v.As(who), nil
}

func (n *Node) view(ctx context.Context, c core.Consistency) (*state.View, error) {
	var index uint64
	if c.Linearizable && !n.driver.SoleLeader() {
		asked := time.Now()
		var err error
		index, err = n.driver.ReadIndex(ctx)
		n.metrics.observeReadIndex(time.Since(asked), err)
		if err != nil {
			return nil, err
		}
	}
	// A lone leader needs no round: it answered every write that was ever
	// acknowledged after it had published the view that shows it.
	v := n.published.hold()
	if v == nil {
		return nil, core.Stopped
	}
	enough := func(v *state.View) bool { return v.Index() >= index && v.Rev() >= c.AtLeast }
	if enough(v) {
		return v, nil
	}
	v.Close()
	return n.published.await(ctx, enough)
}

// Watch implements core.Store.
func (n *Node) Watch(context.Context) (core.Feed, error) {
	if n.published.view.Load() == nil {
		return nil, core.Stopped
	}
	return n.hub.Open(), nil
}

// Revisions implements watch.History: what the hub's ring no longer holds.
func (n *Node) Revisions(
	ctx context.Context, from core.Rev, want core.Interval, withPrev bool, maxBytes int,
) ([]*core.Revision, core.Rev, error) {
	v := n.published.hold()
	if v == nil {
		return nil, 0, core.Stopped
	}
	defer v.Close()
	return v.Revisions(ctx, from, want, withPrev, maxBytes)
}

// LoadPrev implements watch.History.
func (n *Node) LoadPrev(ctx context.Context, rev *core.Revision) error {
	v := n.published.hold()
	if v == nil {
		return core.Stopped
	}
	defer v.Close()
	return v.LoadPrev(ctx, rev)
}
