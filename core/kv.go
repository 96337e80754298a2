package core

import "sync/atomic"

// Rev is the one counter of the store: etcd calls it the revision, ZooKeeper
// the zxid. A fresh store is at revision 1 and its first write makes 2
// (etcd T-10). In a request, zero means "the current revision".
type Rev int64

// LeaseID names a lease. Zero means "no lease". A ZooKeeper session is a lease,
// and its session id is the lease's id.
type LeaseID int64

// MemberID names a member of the cluster; zero names none.
type MemberID uint64

// KV is one version of one key. It is immutable once it is visible to anyone
// but its maker, and is shared by the row cache, the change feed and replies.
type KV struct {
	Key   []byte
	Value []byte
	// CreateRev is the revision in which the key came to life, ModRev the one
	// that wrote this version.
	CreateRev Rev
	ModRev    Rev
	// Version counts the writes since CreateRev, from 1. Zero marks a
	// tombstone: the key does not exist as of ModRev, and only Key and ModRev
	// mean anything.
	Version int64
	// Lease is the lease the key is attached to, or zero.
	Lease LeaseID
	// Time is when this version was written, in milliseconds since 1970, by the
	// leader's clock; zero if the key is no znode.
	Time int64
	// ACL is the znode's when this version was written, of a tombstone when it was
	// deleted; ACLOpen if the key is no znode.
	ACL ZnodeACL
}

// Deleted reports whether kv is a tombstone.
func (kv *KV) Deleted() bool { return kv.Version == 0 }

// Size is the memory that kv's bytes take, for bounding caches and queues.
func (kv *KV) Size() int {
	if kv == nil {
		return 0
	}
	return kvOverhead + len(kv.Key) + len(kv.Value)
}

// kvOverhead approximates the fixed memory of a KV: the struct and its two
// slice headers, rounded up to an allocation size class.
const kvOverhead = 96

// Change is what one revision did to one key.
type Change struct {
	// KV is the key's state after the change; a tombstone for a deletion.
	KV *KV
	// Prev is the state before it, nil if the key did not exist, or if it is no
	// longer known (its version has been compacted).
	Prev *KV
	// Memo is for what several readers of the change have a use for; nil if few are
	// expected. It is not part of the change.
	Memo *Memo
}

// Memo is a place where a front end keeps what it has made of a Change, such as its
// encoding, for those of its readers that need the same. It lives as long as the
// change, in memory that the change feed bounds: what is kept must not take more than
// Change.MemoRoom. The zero value is empty; it is safe for concurrent use.
type Memo struct{ kept atomic.Value }

// What a Memo may take besides keys, and of each value: larger ones are not copied into it.
const (
	memoOverhead = 512
	maxMemoValue = 4 << 10
)

// MemoRoom is the memory that what is kept with c may take: an encoding for readers who want
// the earlier state, and one for those who do not.
func (c *Change) MemoRoom() int { return memoOverhead + 2*c.KV.memoRoom() + c.Prev.memoRoom() }

func (kv *KV) memoRoom() int {
	if kv == nil {
		return 0
	}
	return kvOverhead + len(kv.Key) + min(len(kv.Value), maxMemoValue)
}

// Kept returns what is kept, nil if nothing is.
func (m *Memo) Kept() any { return m.kept.Load() }

// Keep keeps v, unless something is kept already, and returns what is kept then.
// All values must be of one type.
func (m *Memo) Keep(v any) any {
	if m.kept.CompareAndSwap(nil, v) {
		return v
	}
	return m.kept.Load()
}

// Revision is all that one revision changed, in the order in which it was done.
// A key occurs at most once, with its last state. It is immutable once the change
// feed has it.
type Revision struct {
	Rev     Rev
	Changes []Change
	// NoPrevValues says that the values in Changes[i].Prev are of the right length and
	// of no content: there were too many. The history has them. In a revision from the
	// history it says that there is only their key and revision yet.
	NoPrevValues bool
	// Steps are what it did to znodes, each step of a ZooKeeper multi by itself,
	// in order. A revision may have steps and no changes, or neither.
	Steps []ZnodeStep
}
