package core

import "time"

// Command is a request to change the replicated state. It is one of *Put,
// *DeleteRange, *Txn, *Compact, *LeaseGrant, *LeaseRevoke, *LeaseExpire,
// *SetAlarm, *SetMember, *ZnodeWrite, *SessionOpen, *SessionAttach, *SessionClose,
// *LeaseCheckpoint, *SetDowngrade, *MemberUpdate, *MemberAdd, *MemberRemove, *MemberPromote, *HashMark, *ZnodeReap, *ZnodeRestore,
// *SetZnodeACLPolicy, *SetEnsemble and those of users and roles in auth.go; the list is closed.
//
// A command holds everything that its effect depends on besides the replicated
// state: a member's flags never enter into apply.
type Command interface{ command() }

// Put writes one key. It fails with KeyNotFound if IgnoreValue or IgnoreLease is
// set and the key does not exist, and with LeaseNotFound if Lease does not exist
// (etcd T-20).
type Put struct {
	Key, Value []byte
	// Lease to attach the key to; zero detaches it.
	Lease LeaseID
	// PrevKV asks for the version that was overwritten.
	PrevKV bool
	// IgnoreValue keeps the present value, IgnoreLease the present lease.
	IgnoreValue, IgnoreLease bool
}

// DeleteRange deletes the keys of an interval. No match is a success that takes
// no revision (etcd T-21).
type DeleteRange struct {
	Interval
	PrevKV bool
}

// Txn runs Then if every compare holds and Else if not, in one revision.
//
// All compares, those of nested transactions too, are evaluated on the state
// before the transaction (etcd T-33). A failure in the branch that runs undoes
// the whole transaction.
type Txn struct {
	Compares   []Compare
	Then, Else []Op
}

// ReadOnly reports whether neither branch can change anything. Nested
// transactions do not count as read-only, whatever they hold (etcd T-38).
func (t *Txn) ReadOnly() bool {
	for _, branch := range [2][]Op{t.Then, t.Else} {
		for i := range branch {
			if branch[i].Range == nil {
				return false
			}
		}
	}
	return true
}

// Op is one operation of a transaction: exactly one field is set.
type Op struct {
	Range  *Range
	Put    *Put
	Delete *DeleteRange
	Txn    *Txn
}

// CompareTarget is the field that a Compare looks at. The order of the constants
// is etcd's Compare.CompareTarget.
type CompareTarget uint8

// The fields to compare.
const (
	CompareVersion CompareTarget = iota
	CompareCreateRev
	CompareModRev
	CompareValue
	CompareLease
)

// CompareResult is the relation that a Compare asks for. The order of the
// constants is etcd's Compare.CompareResult.
type CompareResult uint8

// The relations: the key's field is ... the operand.
const (
	CompareEqual CompareResult = iota
	CompareGreater
	CompareLess
	CompareNotEqual
)

// Compare is a guard of a transaction. Over an interval, every key in it must
// hold; an interval without keys, and a single key that does not exist, compare
// with the zero value, except that a compare on the value of a missing key is
// always false (etcd T-34).
type Compare struct {
	Interval
	Target CompareTarget
	Result CompareResult
	// Number is the operand of all targets but CompareValue.
	Number int64
	// Value is the operand of CompareValue.
	Value []byte
}

// Compact gives up the history before Rev: versions superseded at or before it
// can no longer be read. It fails with Compacted or FutureRev (etcd T-70). The
// rows themselves go in the background; Maintenance.WaitCompacted waits for it.
type Compact struct{ Rev Rev }

// MaxLeaseTTL is the longest time to live of a lease (etcd T-60).
const MaxLeaseTTL = 9_000_000_000 * time.Second

// LeaseGrant makes a lease. It fails with LeaseTTLTooLarge, and with LeaseExists if
// ID is taken. An ID of zero lets the proposing member draw one.
type LeaseGrant struct {
	ID LeaseID
	// TTL is the time the lease lives without a keepalive.
	TTL time.Duration
}

// LeaseRevoke ends a lease and deletes the keys attached to it in one revision,
// in key order. It fails with LeaseNotFound.
type LeaseRevoke struct{ ID LeaseID }

// LeaseExpire revokes leases whose deadlines have passed, each in a revision of
// its own, in the order given. Only the leader proposes it. Leases that are gone,
// and those that were granted since, are passed over.
type LeaseExpire struct {
	IDs []LeaseID
	// Term is the term whose deadlines were overdue: an entry of any other term
	// changes nothing, so a deposed leader cannot revoke.
	Term uint64
	// AsOf is an applied index at which the leases existed: one that was granted
	// later is another lease of the same id, and not overdue.
	AsOf uint64
}

// AlarmType is a condition that a member can raise for the whole cluster. The
// order of the constants is etcd's AlarmType.
type AlarmType uint8

// The alarms. AlarmNone stands for all of them where alarms are listed.
const (
	AlarmNone AlarmType = iota
	AlarmNoSpace
	AlarmCorrupt
)

// Alarm is an alarm that a member has raised.
type Alarm struct {
	Member MemberID
	Type   AlarmType
}

// SetAlarm raises or clears an alarm. Raising one that stands, or clearing one
// that does not, changes nothing and succeeds.
type SetAlarm struct {
	Alarm
	On bool
}

// SetMember writes what is known of a member, as each does of itself when it
// starts to serve.
type SetMember struct{ Member Member }

// MemberUpdate changes a member's peer URLs. It fails with MemberNotFound, and with
// PeerURLExists if another member has one of them. It is for root while
// authentication is on.
type MemberUpdate struct {
	ID       MemberID
	PeerURLs []string
}

// MemberAdd makes a member one of the cluster, a learner if it says so. Its id must
// never have been a member's. It fails with MemberExists, PeerURLExists and TooManyLearners;
// like MemberRemove and MemberPromote it is for root while authentication is on, and takes
// effect only as an entry that tells raft the same.
type MemberAdd struct {
	Member Member
	// MaxLearners is how many learners there may be then (--max-learners).
	MaxLearners int
}

// MemberRemove removes a member for good. It fails with MemberNotFound.
type MemberRemove struct{ ID MemberID }

// MemberPromote gives a learner a vote. It fails with MemberNotFound and NotLearner.
type MemberPromote struct{ ID MemberID }

// HashMark has every member sum up its state as of this command, to be compared. Only
// the leader proposes it, under a number of its own.
type HashMark struct{ ID uint64 }

// LeaseCheckpoint writes down the time that leases have left, so that a new leader
// need not give them all of it again. Only the leader proposes it.
type LeaseCheckpoint struct {
	Leases []LeaseRemaining
	// Persist has it survive a restart, too.
	Persist bool
	// Term is the term of the deadlines: an entry of any other changes nothing.
	Term uint64
}

// LeaseRemaining is the time that a lease has left.
type LeaseRemaining struct {
	ID  LeaseID
	TTL time.Duration
}

// SetDowngrade begins a downgrade to a version of etcd, such as "3.6.0", or ends
// it if Target is empty. It fails with DowngradeUnderWay and NoDowngrade.
type SetDowngrade struct{ Target string }

func (*Put) command()         {}
func (*DeleteRange) command() {}
func (*Txn) command()         {}
func (*Compact) command()     {}
func (*LeaseGrant) command()  {}
func (*LeaseRevoke) command() {}
func (*LeaseExpire) command() {}
func (*SetAlarm) command()    {}
func (*SetMember) command()   {}

func (*LeaseCheckpoint) command() {}
func (*SetDowngrade) command()    {}
func (*MemberUpdate) command()    {}
func (*MemberAdd) command()       {}
func (*MemberRemove) command()    {}
func (*MemberPromote) command()   {}
func (*HashMark) command()        {}
