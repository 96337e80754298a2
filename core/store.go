package core

import (
	"context"
	"io"
	"time"
)

// Store is the replicated store as a front end sees it.
type Store interface {
	// Do replicates cmd, applies it and returns its result on this member. It
	// returns only after the command is durable on a quorum and visible to every
	// later View here. If ctx ends first, or the leader changes, the outcome is
	// unknown and the error's kind says so; the command may still take effect.
	Do(ctx context.Context, who Principal, cmd Command) (Result, error)

	// Lane begins a row of commands that are to take effect in order.
	Lane() Lane

	// View returns an immutable view of the state that meets c, as who may see it:
	// what is read through it fails with PermissionDenied, UserEmpty or
	// AuthOldRevision where who may not. The caller must Close it soon: an open view
	// keeps old data on disk.
	View(ctx context.Context, who Principal, c Consistency) (View, error)

	// Watch opens an end of the change feed. What its watches may see is for the
	// caller to check, with View.Readable, before it adds them.
	Watch(ctx context.Context) (Feed, error)
}

// Lane is a row of commands of one caller, who hands over the next before the last
// is answered: they are applied in the order in which they are handed over, and none
// unless all before it were. So when the fate of one is unknown, for the leader changed
// or could not be reached, the lane is broken: what follows in it is not applied and
// fails with LeaderChanged, and the caller, who may not know what became of the one,
// begins another lane with another connection. It is for one goroutine.
type Lane interface {
	// Submit is Store.Do without the wait: it hands cmd over and returns. It never
	// blocks, and keeps nothing of cmd. A command that is refused at once, for
	// TooManyRequests or for what is wrong with itself, is Done when it returns, and the
	// lane goes on without it; so is one with an id of zero, for none is drawn.
	Submit(who Principal, cmd Command) Pending
}

// Pending is a command under way.
type Pending interface {
	// Wait returns what Do would have returned. It is called once, by one
	// goroutine. If ctx ends first, the outcome is unknown.
	Wait(ctx context.Context) (Result, error)
	// Done reports whether Wait would return at once.
	Done() bool
}

// Consistency says how recent a View must be.
type Consistency struct {
	// Linearizable asks for a view that holds every write acknowledged, by any
	// member, before the call. Otherwise the member's latest published view
	// serves, at once.
	Linearizable bool
	// AtLeast is a revision that the view must have reached; zero is none. The
	// call waits for it.
	AtLeast Rev
}

// View is one moment of the state, as one principal may see it: immutable, safe for
// concurrent use until Close.
type View interface {
	// Rev is the revision reached, CompactRev the one compacted to (zero or less
	// if none was). Reads at a revision below CompactRev fail with Compacted, at
	// one above Rev with FutureRev.
	Rev() Rev
	CompactRev() Rev
	// Range reads keys as etcd's Range does.
	Range(ctx context.Context, r *Range) (RangeResult, error)
	// Txn evaluates a transaction that is ReadOnly.
	Txn(ctx context.Context, t *Txn) (TxnOutcome, error)
	// Readable fails as a read of all keys of the interval would for want of a right
	// (etcd T-84).
	Readable(in Interval) error
	// Znodes is the znodes of the same moment. It is valid until Close.
	Znodes() ZnodeView
	Close()
}

// ZnodeView is the znodes of a View, as its principal may see them. Besides what each
// method says, it fails with what reads of the View fail with.
type ZnodeView interface {
	// Znode returns the znode at a path, without its children. It fails with NoNode,
	// for an illegal path too, and with NoAuth if its ACL allows the principal none of
	// need; a need of zero asks for nothing. The empty path is the root's.
	Znode(path string, need Perms) (Znode, error)
	// Children returns the names of a znode's children, sorted, and the znode. It
	// needs PermRead and fails as Znode does.
	Children(ctx context.Context, path string) (Names, Znode, error)
	// Descendants is the number of all znodes below one. It needs PermRead and fails
	// as Znode does.
	Descendants(ctx context.Context, path string) (int64, error)
	// Ephemerals returns the paths of a session's ephemerals that begin with prefix,
	// sorted. The caller owns them.
	Ephemerals(ctx context.Context, session LeaseID, prefix string) ([]string, error)
	// ACL returns a list. The slice is shared and must not be changed.
	ACL(id ZnodeACL) ([]ACLEntry, error)
	// Allows reports whether a list allows the principal some of need, or need is zero.
	// A list that is not there allows nothing.
	Allows(id ZnodeACL, need Perms) bool
	// Visible returns those of changes that the principal may be told of through etcd's
	// face, and in them the earlier versions that it may be told of: changes itself if
	// that is all of them. It needs PermRead by the list that each version was written
	// under and, if the znode exists, by its present one (design 8).
	Visible(changes []Change) []Change
}

// Leases is what front ends do with leases besides commands.
type Leases interface {
	// KeepAlive renews a lease and returns the time it then has. It fails with
	// LeaseNotFound, for a session too: only its own client keeps that alive, by
	// Sessions.Touch. It is no command: renewals live on the leader alone.
	KeepAlive(ctx context.Context, who Principal, id LeaseID) (time.Duration, error)
	// Status describes a lease; with keys, the keys attached to it in key order, for
	// one who may read them all. It fails with LeaseNotFound.
	Status(ctx context.Context, who Principal, id LeaseID, keys bool) (LeaseStatus, error)
	// List returns the ids of all leases, those that expire first in front.
	List(ctx context.Context, who Principal) ([]LeaseID, error)
}

// TouchInterval is how long a front end may keep back what it has heard of a
// session before it calls Sessions.Touch: no session ends earlier than its timeout
// and this after the last Touch.
const TouchInterval = 100 * time.Millisecond

// Sessions is what a front end does with sessions besides commands.
type Sessions interface {
	// Touch gives a session its full timeout again. It fails with SessionExpired
	// if there is no such session, and NoLeader. It may be called for every packet.
	// Where this member leads, one that comes too late waits until the session has ended,
	// or ctx. Else it returns at once, and all that it does comes of what is applied: a
	// session that has ended is told of by Follow.
	Touch(ctx context.Context, id LeaseID) error
	// Follow has fn called whenever a session is attached, with its new epoch, and
	// when it ends, with epoch zero, until stop is called. The calls come from one
	// goroutine, which they must not hold up.
	Follow(fn func(SessionRef)) (stop func())
	// List returns the sessions of this member's latest view, by id. The caller owns
	// the slice.
	List(ctx context.Context) ([]SessionStatus, error)

	// Contact fails with NoLeader unless this member is in contact with those that could
	// have a session end: else no client is to be told anything that lets it believe that
	// its session lives (design 9); and with Unsupported on a learner that is not there to
	// serve clients. It costs a look at the clock, or less.
	Contact() error
	// FollowInterruptions has fn called, until stop is called, when the connections of all
	// sessions here are to be closed, and why: contact was lost, or Follow was told less
	// than all, as the state was replaced whole. A handshake that was under way is to
	// fail, too. fn must not wait.
	FollowInterruptions(fn func(reason error)) (stop func())
	// Shortest is the shortest timeout that a session may be given: a shorter one could
	// run out before a member that was cut off closes the connection. Zero is any.
	Shortest() time.Duration
}

// SessionStatus describes a session. Its secret is no part of it.
type SessionStatus struct {
	ID LeaseID
	// Timeout is the time that it lives without being touched, Remaining what is left of
	// that: all of it, to a member that does not lead.
	Timeout, Remaining time.Duration
}

// Znodes is what a front end that speaks ZooKeeper needs besides commands and
// views.
type Znodes interface {
	// Follow tells f of revisions, while somebody listens, until Close.
	Follow(f Follower) Following
	// Counts are the present numbers of this member.
	Counts() ZnodeCounts
	// Snapshot makes a file of the znodes and the sessions as of a moment during the
	// call, such as a ZooKeeper starts from. It fails with NoAuth for one who may not read
	// all of them. The caller must close its Body.
	Snapshot(ctx context.Context, who Principal) (ZnodeSnapshot, error)
	// Restore replaces all znodes and sessions by those of such a file, of ZooKeeper or
	// of Snapshot, and returns the revision reached. A file that is not whole, or that the
	// store cannot have, changes nothing: it fails with InvalidArgument, RequestTooLarge
	// or NoSpace; and so does one who is not root while authentication is on, or who may
	// not see all that ACLs protect: PermissionDenied. It is not atomic: others see, and
	// may write, what there is meanwhile; if it fails later, it is to be done again.
	Restore(ctx context.Context, who Principal, r io.Reader) (Rev, error)
}

// ZnodeSnapshot is a snapshot in ZooKeeper's format on its way to the caller.
type ZnodeSnapshot struct {
	// Rev is the revision that it shows, Size the number of bytes that Body gives.
	Rev  Rev
	Size int64
	Body io.ReadCloser
}

// Follower is told of every revision, in order. Its methods are called one at a
// time and must be quick: the watches of all faces wait for them.
type Follower interface {
	// Revisions tells what the revisions up to upTo did: those after the last call
	// that left any trace are in revs, which is valid during the call; its elements
	// are immutable and may be kept. The views published by now show upTo.
	Revisions(revs []*Revision, upTo Rev)
	// Lost says that the revisions after the last call, up to upTo, can no longer
	// be told.
	Lost(upTo Rev)
}

// Following is a Follower's end of the agreement. It is safe for concurrent use;
// a Follower's methods must not call it, nor hold a lock that a caller of it
// holds.
type Following interface {
	// Listen counts one more listener in and returns the revision up to which the
	// follower has been told all, or nobody listened: it will be told of all later
	// ones. It is at least the revision of any view handed out before the call.
	Listen() Rev
	// Unlisten counts one listener out. While there is none, the follower is told
	// nothing.
	Unlisten()
	Close()
}

// LeaseStatus describes a lease.
type LeaseStatus struct {
	ID LeaseID
	// Session says that it is one: its times are in milliseconds, those of other
	// leases in what they were granted in.
	Session bool
	// Granted is the full time to live, Remaining what is left of it.
	Granted, Remaining time.Duration
	Keys               [][]byte
}

// Cluster is what front ends learn of the cluster.
type Cluster interface {
	// Members lists the members by id. With linearizable set it holds every
	// change acknowledged before the call.
	Members(ctx context.Context, linearizable bool) ([]Member, error)
	// Status describes this member, at once and without I/O.
	Status() Status
	// Self is the part of Status that goes with every reply: a few loads.
	Self() Self
}

// Membership is what front ends do to the members. It is for root while
// authentication is on. Each returns all members as they are then, by id.
type Membership interface {
	// Add fails with BadMemberURLs, PeerURLExists, MemberExists, TooManyLearners,
	// NotEnoughStarted and Unhealthy; Unsupported if this member has no way to others.
	Add(ctx context.Context, who Principal, peerURLs []string, learner bool) (Member, []Member, error)
	// Remove fails with MemberNotFound, NotEnoughStarted and Unhealthy.
	Remove(ctx context.Context, who Principal, id MemberID) ([]Member, error)
	// Update changes the peer URLs, which are not looked at, as in etcd. It fails with
	// MemberNotFound and PeerURLExists.
	Update(ctx context.Context, who Principal, id MemberID, peerURLs []string) ([]Member, error)
	// Promote fails with MemberNotFound, NotLearner and LearnerNotReady.
	Promote(ctx context.Context, who Principal, id MemberID) ([]Member, error)
}

// Self is who answers, under which leader and in which term. The fields are those
// of Status, but for Observer: that the member is a learner that serves clients as a
// voter does (--observer).
type Self struct {
	ClusterID uint64
	Member    MemberID
	Leader    MemberID
	Term      uint64
	Learner   bool
	Observer  bool
}

// Member is what the cluster knows of a member.
type Member struct {
	ID MemberID
	// Name and ClientURLs are empty until the member has started.
	Name       string
	PeerURLs   []string
	ClientURLs []string
	Learner    bool
}

// Status is a member's own account of itself.
type Status struct {
	ClusterID uint64
	Member    MemberID
	// Leader is the leader that the member knows of, zero if none.
	Leader MemberID
	Term   uint64
	// Committed and Applied are indexes of the raft log.
	Committed, Applied uint64
	Rev, CompactRev    Rev
	// Size is the logical size of the store in bytes, InUse the part of it that
	// is not waiting for garbage collection; Quota is the limit on Size, zero or
	// less if there is none.
	Size, InUse, Quota int64
	Learner            bool
	Alarms             []Alarm
	// ClusterVersion is the version of etcd that the cluster passes for, DowngradeTo
	// the one that it is being prepared for, empty if none.
	ClusterVersion, DowngradeTo string
}

// Maintenance is what front ends do to keep a store in shape. Where who is given, it
// must be root while authentication is on.
type Maintenance interface {
	// WaitCompacted returns once no row that a compaction to rev gave up is left,
	// durably.
	WaitCompacted(ctx context.Context, rev Rev) error
	// Defragment has nothing to do: the engine gives space back by itself. It says so
	// in the log.
	Defragment(ctx context.Context, who Principal) error
	// Hash sums up all of the state: members at the same applied index have the same.
	Hash(ctx context.Context, who Principal) (uint32, Rev, error)
	// HashKV sums up the versions that a read at rev shows, zero being the current
	// revision: a compaction to rev does not change it. It fails with Compacted and
	// FutureRev (etcd T-92).
	HashKV(ctx context.Context, who Principal, rev Rev) (KVHash, error)
	// Snapshot makes a backup of the state as of a moment during the call, which
	// etcd's tools can read. The caller must close its Body.
	Snapshot(ctx context.Context, who Principal) (Snapshot, error)
	// MoveLeader gives the leadership to another member, and returns when it has it.
	// It fails with NotLeader and BadLeaderTransferee.
	MoveLeader(ctx context.Context, who Principal, to MemberID) error
	// Downgrade prepares the store for an older version of etcd, or gives that up.
	Downgrade(ctx context.Context, who Principal, d Downgrade) (clusterVersion string, err error)
}

// KVHash is what HashKV found.
type KVHash struct {
	Hash uint32
	// CompactRev is the revision compacted to, Rev the one hashed at, Current the
	// store's.
	CompactRev, Rev, Current Rev
}

// Snapshot is a backup on its way to the caller.
type Snapshot struct {
	// Size is the number of bytes that Body gives, a multiple of 512.
	Size int64
	// Version is that of etcd's storage schema.
	Version string
	Body    io.ReadCloser
}

// DowngradeAction is a step of a downgrade. The order of the constants is etcd's
// DowngradeRequest.DowngradeAction.
type DowngradeAction uint8

// The steps.
const (
	DowngradeValidate DowngradeAction = iota
	DowngradeEnable
	DowngradeCancel
)

// Downgrade asks for a step towards an older version of etcd, such as "3.6.0".
type Downgrade struct {
	Action  DowngradeAction
	Version string
}
