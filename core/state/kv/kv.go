// Package kv is etcd's rules: what a range, a put, a delete and a transaction do
// to a multi-version store.
//
// It owns no state: it reads and writes through the interfaces below, and
// everything it decides follows from them and from the request alone, so that
// each member decides the same. It never consults a clock, a flag or a random
// number.
package kv

import (
	"context"

	"github.com/triglot/triglot/core"
)

// Reader reads versions. A revision of zero or less means the newest.
type Reader interface {
	// Get returns the version of a key at a revision, nil if it did not exist.
	Get(key []byte, at core.Rev) (*core.KV, error)
	// Scan calls fn for each key that exists in the interval, in key order,
	// until fn returns false. With keysOnly the values are nil.
	Scan(in core.Interval, at core.Rev, keysOnly bool, fn func(*core.KV) bool) error
	// Visit is Scan for an fn that keeps nothing: the KV, its key and its value may be
	// the next one's when it returns. It changes nothing of them.
	Visit(in core.Interval, at core.Rev, keysOnly bool, fn func(*core.KV) bool) error
	// Count counts the keys that exist in the interval, until ctx ends.
	Count(ctx context.Context, in core.Interval, at core.Rev) (int64, error)
}

// Writer writes versions on top of what it reads.
type Writer interface {
	Reader
	// Put writes a version as the sub-th change of its revision; prev is the one
	// it replaces, or nil.
	Put(kv *core.KV, sub uint32, prev *core.KV)
	// Delete writes and returns a tombstone, with the ACL that the key had.
	Delete(key []byte, rev core.Rev, sub uint32, prev *core.KV, acl core.ZnodeACL) *core.KV
}

// Leases is what a put needs to know and to tell about leases.
type Leases interface {
	Exists(id core.LeaseID) bool
	Attach(id core.LeaseID, key []byte)
	Detach(id core.LeaseID, key []byte)
}

// Znodes is told what happens to keys, so that those that are znodes have what a
// znode has besides its key. Keys that are none it passes over.
type Znodes interface {
	// Put is told of a put before it is made: next will be the version of its key,
	// prev is what it replaces, or nil, and p what was asked for. It may set next.Time
	// and next.ACL, and nothing else. It fails with EphemeralProtected, and has then
	// done nothing.
	Put(next, prev *core.KV, p *core.Put) error
	// ACL is the list of the znode whose key it is, ACLOpen if it is none's.
	ACL(key []byte) (core.ZnodeACL, error)
	// Deleted is told of keys that one operation has deleted, in key order, by their
	// last versions.
	Deleted(victims []*core.KV) error
}

// Bounds are the revisions that can be read: [Compact, Rev].
type Bounds struct {
	Rev, Compact core.Rev
	// Keys is a revision since which no key was made or deleted; zero is not known.
	Keys core.Rev
	// Counts serves the counts of pages; nil counts each anew.
	Counts *Counts
	// Room is what deletes may still take, and is taken from by them; nil is
	// MaxDeleteBytes for each.
	Room *int64
	// Keep is how much of the earlier versions of their keys deletes may still keep,
	// and is taken from by them; nil is KeptPrevBytes for each.
	Keep *int64
}

// check reports whether at lies within the bounds; zero or less always does.
func (b Bounds) check(at core.Rev) error {
	switch {
	case at <= 0:
		return nil
	case at > b.Rev:
		return core.FutureRev
	case at < b.Compact:
		return core.Compacted
	}
	return nil
}

// checkInTxn is the check of a range within a transaction, where a negative
// revision is not the current one but one before all history (etcd T-36).
func (b Bounds) checkInTxn(at core.Rev) error {
	if at < 0 && at < b.Compact {
		return core.Compacted
	}
	return b.check(at)
}

// sameKeys is a revision with the same keys as one within the bounds: the same for all
// those revisions of which that is known.
func (b Bounds) sameKeys(rev core.Rev) core.Rev {
	if b.Keys > 0 && rev > b.Keys {
		return b.Keys
	}
	return rev
}

// at is the revision that a query within the bounds reads at.
func (b Bounds) at(q *core.Range) core.Rev {
	if q.Rev <= 0 {
		return b.Rev
	}
	return q.Rev
}

// nearest is Counts.nearest at rev, or another revision with the same keys.
func (b Bounds) nearest(from string, end []byte, rev core.Rev) (rank, bool) {
	same := b.sameKeys(rev)
	known, ok := b.Counts.nearest(from, end, same)
	if rev == same {
		return known, ok
	}
	if exact, found := b.Counts.nearest(from, end, rev); found && (!ok || exact.key < known.key) {
		return exact, true
	}
	return known, ok
}
