package core

import "time"

// ZnodeRestoreStep is what a ZnodeRestore does. The order of the constants is replicated.
type ZnodeRestoreStep uint8

// The steps, in the order in which a restore takes them.
const (
	// ZnodeRestoreBegin begins a restore, and ends any other: the store's revision
	// becomes at least Zxid.
	ZnodeRestoreBegin ZnodeRestoreStep = iota
	// ZnodeRestoreSessions makes Sessions. One that there is already goes on, with its
	// secret, for its next connection.
	ZnodeRestoreSessions
	// ZnodeRestoreClear ends sessions that were there when the restore began, and deletes
	// znodes, deepest first, as many as one command may. It is to be repeated while its
	// outcome says so.
	ZnodeRestoreClear
	// ZnodeRestoreFill makes Znodes, parents first, in one revision. One that there is by
	// now is changed; one whose parent or whose session is gone by now is left out.
	ZnodeRestoreFill
	// ZnodeRestoreEnd ends the restore.
	ZnodeRestoreEnd
)

// ZnodeRestore is a step of the replacement of all znodes by those of a snapshot. It is
// the member's own business. It fails with TooManyRequests if another restore has begun
// since ID did, with Unsupported in a store without znodes, with InvalidArgument, and
// with NoSpace. Its outcome is a ZnodeRestoreOutcome.
//
// Nothing holds others up between the steps: what they write meanwhile is theirs to
// lose or to keep.
type ZnodeRestore struct {
	// ID tells restores apart. The member draws it; it is not zero.
	ID       uint64
	Step     ZnodeRestoreStep
	Zxid     Rev
	Sessions []RestoredSession
	Znodes   []RestoredZnode
}

// MaxRestoredZxid is the highest Zxid of a restore: revisions must have room above it.
const MaxRestoredZxid Rev = 1 << 62

// RestoredSession is a session of a snapshot.
type RestoredSession struct {
	// ID is not zero. Unlike those that are drawn here, it may be negative.
	ID LeaseID
	// Timeout is in whole milliseconds.
	Timeout time.Duration
	Secret  SecretHash
}

// RestoredZnode is a znode of a snapshot.
type RestoredZnode struct {
	Path string
	Data []byte
	// Null says that there is no data.
	Null bool
	// ACL is the list; empty is the one open to the world.
	ACL ACL
	RestoredLife
}

// RestoredLife is what a RestoredZnode has been through: its Stat, as it is stored.
type RestoredLife struct {
	Kind ZnodeKind
	// TTL is that of a ZnodeTTL, in whole milliseconds.
	TTL time.Duration
	// Owner is the session, or lease, of a ZnodeEphemeral.
	Owner LeaseID
	// Czxid, Pzxid, Ctime and Mtime are as in Stat. Mzxid holds for a znode without a key
	// alone: that of the others is the revision that restores them.
	Czxid, Mzxid, Pzxid Rev
	Ctime, Mtime        int64
	// Creates counts the children ever made (S1).
	Version, Creates, Aversion int32
}

// ZnodeRestoreOutcome answers a ZnodeRestore. More says that the step is to be taken
// again.
type ZnodeRestoreOutcome struct{ More bool }

func (*ZnodeRestore) command() {}

func (ZnodeRestoreOutcome) outcome() {}
