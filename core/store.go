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

	// View returns an immutable view of the state that meets c. The caller must
	// Close it soon: an open view keeps old data on disk.
	View(ctx context.Context, c Consistency) (View, error)

	// Watch opens an end of the change feed.
	Watch(ctx context.Context, who Principal) (Feed, error)
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
	Close()
}

// Leases is what front ends do with leases besides commands.
type Leases interface {
	// KeepAlive renews a lease and returns the time it then has. It fails with
	// LeaseNotFound. It is no command: renewals live on the leader alone.
	KeepAlive(ctx context.Context, id LeaseID) (time.Duration, error)
	// Status describes a lease; with keys, the keys attached to it in key order.
	// It fails with LeaseNotFound.
	Status(ctx context.Context, id LeaseID, keys bool) (LeaseStatus, error)
	// List returns the ids of all leases, those that expire first in front.
	List(ctx context.Context) ([]LeaseID, error)
}

// LeaseStatus describes a lease.
type LeaseStatus struct {
	ID LeaseID
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
