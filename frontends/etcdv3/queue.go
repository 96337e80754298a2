package etcdv3

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/triglot/triglot/core"
)

// Locks and elections are queues, as clients of etcd make them by themselves (package
// concurrency of its client): a queue is the keys below "name/", each put under a
// lease and named after it in hex. The oldest, by its create revision, has what the
// queue is for, and whoever came later waits until all before it are gone. So those
// who wait here and those who wait in a client exclude each other.

const (
	// orphanTTL is the time to live of a lease that is granted to a caller without
	// one. Nobody renews it but the caller (etcd T-86).
	orphanTTL = time.Minute
	// leaveTimeout bounds the wait for the key of a caller who has gone to be deleted.
	leaveTimeout = 5 * time.Second
)

// place is a caller's place in a queue.
type place struct {
	*face
	prefix core.Interval
	key    []byte
	lease  core.LeaseID
	rev    core.Rev // the create revision of key
}

// entry is what enter found: the revision that it was done in, the caller's key as it
// was if there was one, and whether the caller is the first.
type entry struct {
	rev   core.Rev
	old   *core.KV
	first bool
}

// enter takes a place in the queue of name, or the one that the lease has already. A
// lease of zero is granted first.
func (f *face) enter(ctx context.Context, name []byte, lease int64, value []byte) (*place, entry, error) {
	id, err := f.leaseFor(ctx, lease)
	if err != nil {
		return nil, entry{}, err
	}
	p := &place{face: f, prefix: queueOf(name), lease: id}
	p.key = strconv.AppendInt([]byte(string(p.prefix.Key)), int64(id), 16)
	oldest := core.Op{Range: oldestIn(p.prefix)}
	out, rev, err := f.transact(ctx, &core.Txn{
		Compares: createdIn(p.key, 0),
		Then:     []core.Op{{Put: &core.Put{Key: p.key, Value: value, Lease: id}}, oldest},
		Else:     []core.Op{{Range: &core.Range{Interval: core.Interval{Key: p.key}}}, oldest},
	})
	if err != nil {
		return nil, entry{}, err
	}
	found := entry{rev: rev}
	p.rev = rev
	if !out.Succeeded {
		found.old = keysOf(out.Ops[0])[0]
		p.rev = found.old.CreateRev
	}
	found.first = keysOf(out.Ops[1])[0].CreateRev == p.rev // its own key is there, whoever is first
	return p, found, nil
}

// wait returns when all who came before are gone, and the revision at which that was
// seen. It fails with errGone if the place is lost, by the end of its lease or
// otherwise.
func (p *place) wait(ctx context.Context) (core.Rev, error) {
	for {
		before, rev, err := p.before(ctx)
		if err != nil || before == nil {
			return rev, err
		}
		if err := p.waitFor(ctx, before.Key, rev); err != nil {
			return 0, err
		}
	}
}

// before is the key in front of the place, nil if there is none, and the revision as
// of which. It fails with errGone if the place is not there.
func (p *place) before(ctx context.Context) (*core.KV, core.Rev, error) {
	view, err := p.view(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer view.Close()
	own, err := view.Range(ctx, &core.Range{Interval: core.Interval{Key: p.key}, KeysOnly: true})
	if err != nil {
		return nil, 0, err
	}
	if len(own.KVs) == 0 || own.KVs[0].CreateRev != p.rev {
		return nil, 0, errGone
	}
	older, err := view.Range(ctx, &core.Range{
		Interval: p.prefix, MaxCreateRev: p.rev - 1, Limit: 1, KeysOnly: true,
		SortTarget: core.SortByCreateRev, SortOrder: core.SortDescend,
	})
	if err != nil || len(older.KVs) == 0 {
		return nil, view.Rev(), err
	}
	return older.KVs[0], view.Rev(), nil
}

// waitFor returns when a key that was there at rev, or the place's own, has been
// deleted, or can no longer be told to have been.
func (p *place) waitFor(ctx context.Context, key []byte, rev core.Rev) error {
	feed, err := p.Store.Watch(ctx)
	if err != nil {
		return err
	}
	defer feed.Close()
	for i, key := range [][]byte{key, p.key} {
		feed.Add(core.WatchID(i+1), core.WatchSpec{Interval: core.Interval{Key: key}, Start: rev + 1, NoPut: true})
	}
	for {
		d, err := feed.Next(ctx)
		if err != nil || d.Kind == core.DeliverEvents || d.Kind == core.DeliverCompacted {
			return err
		}
	}
}

// leave gives the place up. It tells the revision that it did so in.
func (p *place) leave(ctx context.Context) (core.Rev, error) {
	_, rev, err := p.transact(ctx, &core.Txn{
		Compares: createdIn(p.key, p.rev),
		Then:     []core.Op{{Delete: &core.DeleteRange{Interval: core.Interval{Key: p.key}}}},
	})
	return rev, err
}

// abandon gives the place up for a caller who will not have it, and may be gone. If
// that fails, the place goes with its lease.
func (p *place) abandon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if _, err := p.leave(ctx); err != nil {
		p.Logger.Debug("the key of a caller who no longer waits for it is left to its lease", "error", err)
	}
}

// leaseFor is the lease of an id, or one that is granted for zero.
func (f *face) leaseFor(ctx context.Context, id int64) (core.LeaseID, error) {
	if id != 0 {
		return core.LeaseID(id), nil
	}
	res, err := f.do(ctx, &core.LeaseGrant{TTL: max(orphanTTL, f.Limits.MinLeaseTTL)})
	if err != nil {
		return 0, err
	}
	return res.Outcome.(core.LeaseOutcome).ID, nil
}

// do is Store.Do in the caller's name. A caller may wait long, so who it is is asked
// each time.
func (f *face) do(ctx context.Context, cmd core.Command) (core.Result, error) {
	who, err := f.principal(ctx)
	if err != nil {
		return core.Result{}, err
	}
	return f.Store.Do(ctx, who, cmd)
}

func (f *face) transact(ctx context.Context, t *core.Txn) (core.TxnOutcome, core.Rev, error) {
	res, err := f.do(ctx, t)
	if err != nil {
		return core.TxnOutcome{}, 0, err
	}
	return res.Outcome.(core.TxnOutcome), res.Rev, nil
}

// view is a linearizable view for the caller, who must close it.
func (f *face) view(ctx context.Context) (core.View, error) {
	who, err := f.principal(ctx)
	if err != nil {
		return nil, err
	}
	return f.Store.View(ctx, who, core.Consistency{Linearizable: true})
}

// queueOf is the keys of the queue of name.
func queueOf(name []byte) core.Interval {
	return core.Interval{Key: []byte(string(name) + "/"), End: []byte(string(name) + "0")} // "0" follows "/"
}

// oldestIn asks for the key that was created first.
func oldestIn(queue core.Interval) *core.Range {
	return &core.Range{Interval: queue, Limit: 1, SortTarget: core.SortByCreateRev, SortOrder: core.SortAscend}
}

// createdIn requires that a key was created in rev; zero, that there is none.
func createdIn(key []byte, rev core.Rev) []core.Compare {
	return []core.Compare{{Interval: core.Interval{Key: key}, Target: core.CompareCreateRev, Number: int64(rev)}}
}

func keysOf(op core.OpOutcome) []*core.KV { return op.Outcome.(*core.RangeOutcome).KVs }

// errGone says that a place in a queue is lost.
var errGone = status.Error(codes.Unknown, "mutex: session is expired")

// clientError is how an error reaches the caller of a lock or an election. In etcd
// these services are clients of the others, whose errors lose their codes there: all
// but the end of the call itself are Unknown.
func clientError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	wire := status.Convert(wireError(err))
	if ctx.Err() != nil {
		return wire.Err()
	}
	return status.Error(codes.Unknown, wire.Message())
}
