package core

import "time"

// ZnodeKind is how long a znode lives.
type ZnodeKind uint8

// The kinds of znode. The order of the constants is replicated.
const (
	// ZnodePersistent lives until it is deleted.
	ZnodePersistent ZnodeKind = iota
	// ZnodeEphemeral is attached to a lease and goes with it.
	ZnodeEphemeral
	// ZnodeContainer may be reaped once it has lost its last child.
	ZnodeContainer
	// ZnodeTTL may be reaped once it has no children and its data is older than its
	// time to live.
	ZnodeTTL
)

// ZnodeOpType tells the operations of a ZnodeWrite apart. The order of the
// constants is replicated.
type ZnodeOpType uint8

// The operations.
const (
	ZnodeCreate ZnodeOpType = iota
	ZnodeDelete
	ZnodeSetData
	ZnodeCheck
	ZnodeSetACL
)

// AnyVersion is the version that matches every znode's.
const AnyVersion int32 = -1

// ZnodeOp is one operation on one znode.
type ZnodeOp struct {
	Type ZnodeOpType
	// Path is the znode's path as the client gave it: whether it is legal is
	// decided at apply, after what ZooKeeper checks before it.
	Path string
	// Data is what Create and SetData store. Null says that there is none, which
	// ZooKeeper tells from empty data.
	Data []byte
	Null bool
	// Version is what Delete, SetData and Check require the data's version to be, and
	// SetACL the ACL's; AnyVersion requires nothing.
	Version int32

	// For Create: the kind, with the time to live of a ZnodeTTL in whole milliseconds;
	// and whether a number is appended to the path, as it must be if the path ends with
	// a slash.
	Kind       ZnodeKind
	TTL        time.Duration
	Sequential bool

	// For Create and SetACL: the list, without the scheme "auth" and such entries as
	// the front end found to be malformed. OpenACL says that it is the one that is
	// open to the world, and ACL empty. Neither is InvalidACL.
	ACL     ACL
	OpenACL bool
}

// ZnodeWrite runs ZooKeeper's operations in order, all or none, in one revision.
// Each sees what those before it did (ZooKeeper PrepRequestProcessor). It takes no
// revision if it only checks.
//
// It fails with SessionExpired or SessionMoved, or with what the first operation
// that fails fails with: BadPath, InvalidACL, NoNode, NodeExists, BadVersion,
// NotEmpty, NoChildrenForEphemerals, NoAuth, QuotaExceeded, BadQuota.
type ZnodeWrite struct {
	// Session makes the request.
	Session SessionRef
	Ops     []ZnodeOp
	// Multi has the failure of an operation told by the outcome instead.
	Multi bool
	// EnforceQuota has what exceeds a hard quota fail with QuotaExceeded
	// (zookeeper.enforceQuota).
	EnforceQuota bool
}

// SetEnsemble writes what /zookeeper/config says of the servers of an ensemble, in a
// revision, which becomes the configuration's version. It fails with SessionExpired and
// SessionMoved; NoAuth without PermWrite on it; BadVersion; and InvalidArgument. While
// authentication is on it is for root, as changes of members are. Its outcome is a
// ZnodeOutcome of one operation.
//
// The members themselves are changed by MemberAdd and its like. MemberRemove and
// MemberPromote rewrite the line of the member, if there is one, by themselves.
type SetEnsemble struct {
	// Session makes the request.
	Session SessionRef
	// Servers is a line for each server, each with its end: "server.1=h:2888:3888:participant\n".
	// Without any, it is only checked whether it could be written, which takes no revision.
	Servers string
	// From is the revision that wrote what is replaced (its Stat.Mzxid); zero if nothing did.
	From Rev
}

// ZnodeOutcome answers a ZnodeWrite.
type ZnodeOutcome struct {
	// Ops has an outcome for each operation; it is nil if one failed.
	Ops []ZnodeOpOutcome
	// Err is what the operation Ops[Failed] of a multi failed with; Internal, the
	// zero value, if none did.
	Err    Kind
	Failed int
}

// ZnodeOpOutcome answers one operation.
type ZnodeOpOutcome struct {
	// Path is the path of the znode that Create made.
	Path string
	// Stat is the znode's after Create, SetData and SetACL.
	Stat Stat
}

// Stat is what ZooKeeper tells of a znode besides its data.
type Stat struct {
	// Czxid is the revision that created the znode, Mzxid the one that last changed
	// its data, Pzxid the one that last changed its list of children.
	Czxid, Mzxid, Pzxid Rev
	// Ctime and Mtime are the times of Czxid and Mzxid in milliseconds since 1970.
	Ctime, Mtime int64
	// Version counts changes of the data, Aversion those of the ACL. Cversion is as
	// ZooKeeper reports it: twice the creates of children, less their number.
	Version, Cversion, Aversion int32
	// EphemeralOwner is the session or lease that the znode goes with; zero if none.
	EphemeralOwner          LeaseID
	DataLength, NumChildren int32
}

// Znode is a znode as a view shows it.
type Znode struct {
	// Data is shared and immutable; Null says that the znode has none.
	Data []byte
	Null bool
	ACL  ZnodeACL
	Stat
}

// ZnodeEvent is what happened to a znode.
type ZnodeEvent uint8

// The events. That the list of children of a znode changed follows from the
// first two, of a child.
const (
	ZnodeCreated ZnodeEvent = iota
	ZnodeDeleted
	ZnodeDataChanged
)

// ZnodeStep is one thing that happened to one znode.
type ZnodeStep struct {
	Event ZnodeEvent
	Path  string
	// ACL is the znode's, or what was the znode's; Parent is that of its parent.
	ACL, Parent ZnodeACL
}

// ZnodeCounts are numbers over all znodes.
type ZnodeCounts struct {
	// Znodes counts as ZooKeeper does, in which a fresh store has five.
	Znodes, Ephemerals int64
	// Bytes is the size of all paths and data.
	Bytes int64
	// Sessions is the number of sessions.
	Sessions int64
}

// SessionRef is a session as one connection owns it.
type SessionRef struct {
	ID LeaseID
	// Epoch counts the connections that the session was attached to, from 1. A
	// write under an epoch that has passed fails with SessionMoved.
	Epoch uint64
}

// SecretHash is the SHA-256 of a session's secret. The secret itself is known to
// the client alone.
type SecretHash [32]byte

// SessionOpen makes a session, owned by epoch 1. It fails with LeaseExists if the
// id is taken. An ID of zero lets the proposing member draw one. Its outcome is a
// SessionOutcome.
type SessionOpen struct {
	ID LeaseID
	// Timeout is the time that the session lives without being touched, in whole
	// milliseconds.
	Timeout time.Duration
	Secret  SecretHash
}

// SessionAttach gives a session to another connection: it begins a new epoch and
// sets the timeout. It fails with SessionExpired if there is no such session or
// the secret is not its own. Its outcome is a SessionOutcome.
type SessionAttach struct {
	ID      LeaseID
	Timeout time.Duration
	Secret  SecretHash
}

// SessionClose ends a session and deletes its ephemerals, in one revision if
// there are any. It fails with SessionExpired or SessionMoved.
type SessionClose struct{ Session SessionRef }

// SessionOutcome answers SessionOpen and SessionAttach.
type SessionOutcome struct{ Session SessionRef }

func (*ZnodeWrite) command()    {}
func (*SetEnsemble) command()   {}
func (*SessionOpen) command()   {}
func (*SessionAttach) command() {}
func (*SessionClose) command()  {}

func (*ZnodeOutcome) outcome()  {}
func (SessionOutcome) outcome() {}
