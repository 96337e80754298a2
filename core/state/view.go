package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/kv"
	"github.com/triglot/triglot/core/state/lease"
	"github.com/triglot/triglot/core/state/znode"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
	"github.com/triglot/triglot/storage/mvcc"
)

// View is the state as of one applied index: a core.View, and the parts of the
// state that have interfaces of their own. Everything in it is immutable; it may
// be shared by any number of readers until the last of them closes it.
type View struct {
	refs   atomic.Int64
	shared *shared // with the machine
	snap   *storage.Snapshot
	reader *mvcc.Reader

	index   uint64
	bounds  kv.Bounds
	written int64
	rows    int64
	keys    int64
	// mount is nil in a store without znodes.
	mount   *znode.Mount
	numbers core.ZnodeCounts
	members []core.Member
	removed []core.MemberID
	alarms  []core.Alarm
	rights  rights
	// downgradeTo is the version that a downgrade goes to, empty if there is none.
	downgradeTo string
}

// view makes a view of the state, held once.
func (m *Machine) view() *View {
	snap := m.db.NewSnapshot()
	m.shared.open.Add(1)
	v := &View{
		shared: &m.shared,
		snap:   snap,
		reader: mvcc.NewReader(snap, m.caches, m.pos.index, m.pos.rev, m.compacted).
			KeepLookups().WithTotal(m.pos.keys),
		index:       m.pos.index,
		written:     m.w.Written(),
		keys:        m.pos.keys,
		bounds:      kv.Bounds{Rev: m.pos.rev, Compact: m.compacted, Keys: m.pos.sameKeys, Counts: &m.shared.counts},
		members:     m.members.all,
		removed:     m.members.removed,
		alarms:      m.alarms,
		rights:      m.rights,
		downgradeTo: m.downgradeTo,
	}
	if m.znodes != nil {
		v.mount, v.numbers = m.znodes.Mount(), m.znodes.Counts()
		v.rows = m.znodes.RowBytes()
		v.rights.restricted = m.znodes.Restricted()
	}
	v.rows += m.leases.RowBytes()
	v.numbers.Sessions = m.leases.Sessions()
	v.refs.Store(1)
	return v
}

// Retain takes another hold on v. It reports false if v has been closed for good:
// its maker has published another by then.
func (v *View) Retain() bool {
	for {
		n := v.refs.Load()
		if n == 0 {
			return false
		}
		if v.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Close gives up one hold.
func (v *View) Close() {
	switch n := v.refs.Add(-1); {
	case n == 0:
		if err := errors.Join(v.reader.Close(), v.snap.Close()); err != nil {
			panic("state: close a snapshot: " + err.Error()) // of an engine that is gone
		}
		v.shared.open.Add(-1)
	case n < 0:
		panic("state: a view was closed too often")
	}
}

// Replaced is to be called when there is a newer view: the reads that come go there, and
// whoever holds v on, maybe for minutes, must not keep what v has kept to read faster.
func (v *View) Replaced() {
	if err := v.reader.Close(); err != nil {
		panic("state: close iterators: " + err.Error()) // as in Close
	}
}

// Trim lets go of what v has kept to read faster, which holds on to files and memory that
// the engine may have replaced. To be called now and then, if v is held for long.
func (v *View) Trim() error { return v.reader.Trim() }

// Index is the applied index that the view shows.
func (v *View) Index() uint64 { return v.index }

// Written is the logical size of all versions ever written; what the collector of
// history has freed since is not taken off.
func (v *View) Written() int64 { return v.written }

// Keys is the number of keys that there are.
func (v *View) Keys() int64 { return v.keys }

// RowBytes is about what the rows beside the versions of keys take: those of znodes
// and leases.
func (v *View) RowBytes() int64 { return v.rows }

// Rev is the revision that the view has reached.
func (v *View) Rev() core.Rev { return v.bounds.Rev }

// CompactRev is the revision that the view is compacted to, negative if none.
func (v *View) CompactRev() core.Rev { return v.bounds.Compact }

// Range reads keys.
func (v *View) Range(ctx context.Context, q *core.Range) (core.RangeResult, error) {
	v.shared.reads.ranges.Add(1)
	res, err := kv.Range(ctx, v.reader, v.bounds, q)
	return res, wrapRead(err)
}

// Txn evaluates a transaction that is ReadOnly.
func (v *View) Txn(ctx context.Context, t *core.Txn) (core.TxnOutcome, error) {
	return v.readTxn(ctx, v.reader, v.bounds, t)
}

func (v *View) readTxn(ctx context.Context, r kv.Reader, b kv.Bounds, t *core.Txn) (core.TxnOutcome, error) {
	out, err := kv.ReadTxn(ctx, r, b, t)
	v.shared.reads.ranges.Add(uint64(len(out.Ops)))
	if len(out.Ops) > 1 {
		v.shared.reads.txns.Add(1)
	}
	return out, wrapRead(err)
}

// Revisions reads the history, see mvcc.Reader.
func (v *View) Revisions(
	ctx context.Context, from core.Rev, want core.Interval, withPrev bool, maxBytes int,
) ([]*core.Revision, core.Rev, error) {
	return v.reader.Revisions(ctx, from, want, withPrev, maxBytes)
}

// LoadPrev completes a revision of Revisions, see mvcc.Reader.
func (v *View) LoadPrev(ctx context.Context, rev *core.Revision) error {
	return v.reader.LoadPrev(ctx, rev)
}

// Members are the members, by id. The slice is shared.
func (v *View) Members() []core.Member { return v.members }

// RemovedMembers are the ids of the members that were removed, in order. The slice is
// shared.
func (v *View) RemovedMembers() []core.MemberID { return v.removed }

// RemovedMember reports whether an id was a member's that was removed.
func (v *View) RemovedMember(id core.MemberID) bool { return slices.Contains(v.removed, id) }

// Alarms are the alarms that stand. The slice is shared.
func (v *View) Alarms() []core.Alarm { return v.alarms }

// Corrupt reports whether a CORRUPT alarm stands, under which no key changes.
func (v *View) Corrupt() bool {
	return slices.ContainsFunc(v.alarms, func(a core.Alarm) bool { return a.Type == core.AlarmCorrupt })
}

// ClusterVersion is the version of etcd that the cluster passes for, such as "3.7.0".
func (v *View) ClusterVersion() string { return clusterVersion(v.downgradeTo) }

// DowngradeTo is the version that a downgrade goes to, empty if there is none.
func (v *View) DowngradeTo() string { return v.downgradeTo }

// Lease returns what is known of a lease. It fails with LeaseNotFound.
func (v *View) Lease(id core.LeaseID) (lease.Lease, error) {
	b, err := v.snap.Get(keys.AppendLease(nil, id))
	if err != nil {
		return lease.Lease{}, wrapRead(err)
	}
	if b == nil {
		return lease.Lease{}, core.LeaseNotFound
	}
	l, err := lease.DecodeRow(b)
	return l, wrapRead(err)
}

// LeaseKeys returns the keys attached to a lease, in key order; the caller owns
// them.
func (v *View) LeaseKeys(id core.LeaseID) ([][]byte, error) {
	attached, err := lease.Keys(rowScanner{v.snap}, id)
	return attached, wrapRead(err)
}

// EachLease calls fn for every lease, by id.
func (v *View) EachLease(fn func(id core.LeaseID, l lease.Lease)) error {
	return wrapRead(lease.Each(rowScanner{v.snap}, fn))
}

// rowScanner is a lease.Scanner of an engine snapshot.
type rowScanner struct{ snap *storage.Snapshot }

func (s rowScanner) ScanRows(lower, upper []byte, fn func(key, value []byte) bool) error {
	it, err := s.snap.NewIter(lower, upper)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		if err != nil {
			_ = it.Close() // the error at hand says more
			return err
		}
		if !fn(it.Key(), value) {
			break
		}
	}
	return it.Close()
}

// wrapRead leaves the errors that have a kind as they are.
func wrapRead(err error) error {
	if err == nil || core.KindOf(err) != core.Internal {
		return err
	}
	return fmt.Errorf("state: read: %w", err)
}
