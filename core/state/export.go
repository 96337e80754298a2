package state

import (
	"fmt"
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/lease"
	"github.com/triglot/triglot/storage/keys"
	"github.com/triglot/triglot/storage/mvcc"
)

// Facts is what a view knows of the whole store.
type Facts struct {
	// Index and Term are those of the last entry applied, Clock the largest time
	// stamp of one, in milliseconds.
	Index, Term     uint64
	Rev, CompactRev core.Rev
	Clock           int64
	Cluster         uint64
	Members         []core.Member
	Alarms          []core.Alarm
	// Mount is the prefix of the keys that are znodes; HasZnodes is false if there
	// are none in this store.
	Mount     string
	HasZnodes bool
}

// Facts reads them.
func (v *View) Facts() (Facts, error) {
	f, err := v.facts()
	return f, wrapRead(err)
}

func (v *View) facts() (Facts, error) {
	b, err := v.snap.Get(row(keys.MetaApplied))
	if err != nil {
		return Facts{}, err
	}
	pos, err := decodePosition(b)
	if err != nil {
		return Facts{}, err
	}
	if b, err = v.snap.Get(row(keys.MetaIdentity)); err != nil {
		return Facts{}, err
	}
	ids, err := decodeUints(b)
	if err != nil || len(ids) != 1 {
		return Facts{}, fmt.Errorf("malformed identity row %x", b)
	}
	mount, err := v.snap.Get(row(keys.MetaMount))
	if err != nil {
		return Facts{}, err
	}
	return Facts{
		Index: pos.index, Term: pos.term, Clock: pos.clock,
		Rev: v.Rev(), CompactRev: v.CompactRev(),
		Cluster: ids[0], Members: v.members, Alarms: v.alarms,
		Mount: string(mount), HasZnodes: mount != nil,
	}, nil
}

// Versions calls fn for every version that has not been given up, in key order, the
// newest of a key first; see mvcc.Reader.
func (v *View) Versions(pace mvcc.Pace, fn func(*core.KV) error) error {
	return v.reader.Versions(pace, fn)
}

// Changes walks the changes from revision from on, see mvcc.Reader.
func (v *View) Changes(from core.Rev) (*mvcc.Changes, error) { return v.reader.Changes(from) }

// VersionOf reads what a revision wrote of a key, see mvcc.Reader.
func (v *View) VersionOf(key []byte, rev core.Rev) (*core.KV, error) {
	return v.reader.VersionOf(key, rev)
}

// EachLeaseRow calls fn for every lease, by id, with the row that holds it, which is
// valid during the call.
func (v *View) EachLeaseRow(fn func(id core.LeaseID, l lease.Lease, row []byte) error) error {
	lower, upper := keys.LeaseBounds()
	return v.eachRow(lower, upper, func(key, value []byte) error {
		id, ok := keys.DecodeLease(key)
		l, err := lease.DecodeRow(value)
		if !ok || err != nil {
			return fmt.Errorf("lease row %x is no lease", key)
		}
		return fn(id, l, value)
	})
}

// EachSidecarRow calls fn for the rows of the engine that say what etcd has no place
// for, in the order of their keys: all of leases, for the times of sessions are in
// milliseconds, the mount, the number of znodes, and those of znodes and ACLs. Both slices
// are valid during the call.
func (v *View) EachSidecarRow(pace mvcc.Pace, fn func(key, row []byte) error) error {
	leases, znodes, acls := keys.Bounds{}, keys.Bounds{}, keys.Bounds{}
	acls.Lower, acls.Upper = keys.ACLBounds()
	leases.Lower, leases.Upper = keys.LeaseBounds()
	znodes.Lower, znodes.Upper = keys.ZnodeBounds()
	for _, t := range [...]keys.Bounds{acls, leases} {
		if err := v.eachRow(t.Lower, t.Upper, fn); err != nil {
			return err
		}
	}
	for _, name := range []keys.Meta{keys.MetaACLPolicy, keys.MetaMount, keys.MetaZnodes} {
		value, err := v.snap.Get(row(name))
		if err != nil {
			return wrapRead(err)
		}
		if value == nil {
			continue
		}
		if err := fn(row(name), value); err != nil {
			return err
		}
	}
	rows := 0
	return v.eachRow(znodes.Lower, znodes.Upper, func(key, value []byte) error {
		if rows++; rows%pacedRows == 0 {
			if err := pace(); err != nil {
				return err
			}
		}
		return fn(key, value)
	})
}

// eachRow calls fn for the rows within bounds until it fails.
func (v *View) eachRow(lower, upper []byte, fn func(key, value []byte) error) error {
	var failed error
	err := rowScanner{v.snap}.ScanRows(lower, upper, func(key, value []byte) bool {
		failed = fn(key, value)
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return wrapRead(err)
}

// Hash sums up all of the state that members share, and HashAt what a read of all
// keys at a revision shows: the same on each that has applied the same entries.
func (v *View) Hash(pace mvcc.Pace) (uint64, error) {
	sum, err := mvcc.Hash(v.snap, pace, v.Rev(), v.CompactRev())
	if err != nil {
		return 0, wrapRead(err)
	}
	rows := 0
	for _, t := range keys.SharedTables() {
		err := v.eachRow(t.Lower, t.Upper, func(key, value []byte) error {
			if rows++; rows%pacedRows == 0 {
				if err := pace(); err != nil {
					return err
				}
			}
			if name, ok := keys.DecodeMeta(key); !ok || !slices.Contains(ownFacts, name) {
				sum += mvcc.HashRow(key, value)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// HashAt is Hash of the keys as of a revision within what the view can show.
func (v *View) HashAt(pace mvcc.Pace, at core.Rev) (uint64, error) {
	sum, err := v.reader.HashAt(pace, at)
	return sum, wrapRead(err)
}

// pacedRows is how many rows are gone over between two calls of a pace.
const pacedRows = 128

// ownFacts are the rows of m in which members may differ: how far each has
// collected, and what it counts for that.
var ownFacts = []keys.Meta{keys.MetaCollected, keys.MetaCollecting, keys.MetaDataFreed, keys.MetaDataWritten}
