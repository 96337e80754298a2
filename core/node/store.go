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
func (n *Node) Do(ctx context.Context, _ core.Principal, cmd core.Command) (core.Result, error) {
	switch c := cmd.(type) {
	case *core.LeaseGrant:
		if c.ID == 0 {
			return n.grantAny(ctx, c)
		}
	case *core.Txn:
		if command.TooDeep(c) {
			return core.Result{}, core.Errorf(core.InvalidArgument, "transactions nest deeper than %d", command.MaxTxnDepth)
		}
	}
	data := command.AppendCommand(make([]byte, 0, commandRoom(cmd)), cmd)
	if len(data) > n.cfg.MaxRequestBytes {
		return core.Result{}, core.RequestTooLarge
	}
	if n.cfg.QuotaBytes > 0 && state.NeedsSpace(cmd) {
		if err := n.checkQuota(ctx, len(data)); err != nil {
			return core.Result{}, err
		}
	}
	return n.propose(ctx, data)
}

// do replicates a command of the member's own, which no limit on requests may
// hold up.
func (n *Node) do(ctx context.Context, cmd core.Command) (core.Result, error) {
	return n.propose(ctx, command.AppendCommand(nil, cmd))
}

// Submit implements core.Store. What the quota and the limits refuse is refused
// at once.
func (n *Node) Submit(_ core.Principal, cmd core.Command) core.Pending {
	data := command.AppendCommand(make([]byte, 0, commandRoom(cmd)), cmd)
	if len(data) > n.cfg.MaxRequestBytes {
		return refused{core.RequestTooLarge}
	}
	p := consensus.NewProposal(data, time.Time{})
	if err := n.driver.Propose(p); err != nil {
		return refused{err}
	}
	return p
}

// refused is a command that was not proposed.
type refused struct{ err error }

func (r refused) Wait(context.Context) (core.Result, error) { return core.Result{}, r.err }

func (refused) Done() bool { return true }

func (n *Node) propose(ctx context.Context, data []byte) (core.Result, error) {
	p := consensus.NewProposal(data, time.Time{})
	if err := n.driver.Propose(p); err != nil {
		return core.Result{}, err
	}
	return p.Wait(ctx)
}

// commandRoom is about what a command takes, so that the common one is encoded
// without growing its buffer.
func commandRoom(cmd core.Command) int {
	const overhead = 48
	if p, ok := cmd.(*core.Put); ok {
		return len(p.Key) + len(p.Value) + overhead
	}
	return 4 * overhead
}

// grantAny grants a lease under an id that is free (etcd T-60: a positive one).
func (n *Node) grantAny(ctx context.Context, grant *core.LeaseGrant) (core.Result, error) {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails
		named := &core.LeaseGrant{ID: core.LeaseID(binary.LittleEndian.Uint64(b[:]) >> 1), TTL: grant.TTL}
		if named.ID == 0 {
			continue
		}
		res, err := n.Do(ctx, core.Principal{}, named)
		if err == nil || core.KindOf(err) != core.LeaseExists {
			return res, err
		}
	}
}

// entryOverhead is what a command that needs space is reckoned to take besides
// its own bytes (etcd T-72: 256 a put).
const entryOverhead = 256

// checkQuota refuses what would exceed the quota, having raised the alarm that
// makes every member refuse it.
func (n *Node) checkQuota(ctx context.Context, size int) error {
	used := n.size()
	if used+int64(size)+entryOverhead <= n.cfg.QuotaBytes {
		return nil
	}
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
			"quota_bytes", n.cfg.QuotaBytes, "used_bytes", used, "request_bytes", size)
	}
	return core.NoSpace
}

// View implements core.Store.
func (n *Node) View(ctx context.Context, c core.Consistency) (core.View, error) {
	v, err := n.view(ctx, c)
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (n *Node) view(ctx context.Context, c core.Consistency) (*state.View, error) {
	var index uint64
	if c.Linearizable && !n.driver.SoleLeader() {
		var err error
		if index, err = n.driver.ReadIndex(ctx); err != nil {
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
func (n *Node) Watch(context.Context, core.Principal) (core.Feed, error) {
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
