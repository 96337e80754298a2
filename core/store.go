package core

import (
	"context"
	"time"
)

// Store is the replicated store as a front end sees it.
type Store interface {
	// Do replicates cmd, applies it and returns its result on this member. It
	// returns only after the command is durable on a quorum and visible to every
	// later View here. If ctx ends first, or the leader changes, the outcome is
	// unknown and the error's kind says so; the command may still take effect.
	Do(ctx context.Context, who Principal, cmd Command) (Result, error)

	// Submit is Do for a caller that has more to send before it waits: it hands
	// cmd over and returns. It never blocks. A command that is refused at once is
	// Done when it returns; so is one with an id of zero, for none is drawn. The
	// others that one goroutine submits are applied in the order of its calls, and
	// none unless all before it were, while the leader does not change: whether
	// their caller waits for them or not.
	Submit(who Principal, cmd Command) Pending

	// View returns an immutable view of the state that meets c. The caller must
	// Close it soon: an open view keeps old data on disk.
	View(ctx context.Context, c Consistency) (View, error)

	// Watch opens an end of the change feed.
	Watch(ctx context.Context, who Principal) (Feed, error)
}

// Pending is a command under way.
type Pending interface {
	// Wait returns what Do would have returned. It is called once, by one
	// goroutine. If ctx ends first, the outcome is unknown.
	Wait(ctx context.Context) (Result, error)
	// Done reports whether Wait would return at once.
	Done() bool
}

// Principal is who makes a request. The zero value is an anonymous caller.
type Principal struct {
	// CertificateSubject is the common name of the client certificate that the
	// connection was verified with, or empty.
	CertificateSubject string
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

// View is one moment of the state: immutable, safe for concurrent use until
// Close.
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
	// Znode returns the znode at a path, without its children. It fails with
	// NoNode, for an illegal path too. The empty path is the root's.
	Znode(path string) (Znode, error)
	// Children returns the names of a znode's children, sorted, and the znode. It
	// fails as Znode does. The caller owns the slice.
	Children(ctx context.Context, path string) ([]string, Znode, error)
	Close()
}

// Leases is what front ends do with leases besides commands.
type Leases interface {
	// KeepAlive renews a lease and returns the time it then has. It fails with
	// LeaseNotFound, for a session too: only its own client keeps that alive, by
	// Sessions.Touch. It is no command: renewals live on the leader alone.
	KeepAlive(ctx context.Context, id LeaseID) (time.Duration, error)
	// Status describes a lease; with keys, the keys attached to it in key order.
	// It fails with LeaseNotFound.
	Status(ctx context.Context, id LeaseID, keys bool) (LeaseStatus, error)
	// List returns the ids of all leases, those that expire first in front.
	List(ctx context.Context) ([]LeaseID, error)
}

// TouchInterval is how long a front end may keep back what it has heard of a
// session before it calls Sessions.Touch: no session ends earlier than its timeout
// and this after the last Touch.
const TouchInterval = 100 * time.Millisecond

// Sessions is what a front end does with sessions besides commands.
type Sessions interface {
	// Touch gives a session its full timeout again. It fails with SessionExpired
	// if there is no such session, and NoLeader. It may be called for every packet.
	// One that comes too late waits until the session has ended, or ctx.
	Touch(ctx context.Context, id LeaseID) error
	// Follow has fn called whenever a session is attached, with its new epoch, and
	// when it ends, with epoch zero, until stop is called. The calls come from one
	// goroutine, which they must not hold up.
	Follow(fn func(SessionRef)) (stop func())
}

// Znodes is what a front end that speaks ZooKeeper needs besides commands and
// views.
type Znodes interface {
	// Follow tells f of revisions, while somebody listens, until Close.
	Follow(f Follower) Following
	// Counts are the present numbers of this member.
	Counts() ZnodeCounts
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

// Self is who answers, under which leader and in which term. The fields are those
// of Status.
type Self struct {
	ClusterID uint64
	Member    MemberID
	Leader    MemberID
	Term      uint64
	Learner   bool
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
}

// Maintenance is what front ends do to keep a store in shape.
type Maintenance interface {
	// WaitCompacted returns once no row that a compaction to rev gave up is left,
	// durably.
	WaitCompacted(ctx context.Context, rev Rev) error
}
