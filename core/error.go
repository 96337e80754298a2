package core

import (
	"context"
	"errors"
	"fmt"
)

// Kind is what went wrong, in the terms that a front end needs to answer with
// its protocol's own error. The list is closed; each front end maps every kind
// in one table. A Kind is itself an error, so that a rule of the state machine
// returns it without an allocation and errors.Is finds it in a wrapped one.
type Kind uint8

// The kinds. Append only: they are printed in logs and metrics.
const (
	// Internal is a fault of ours, or an error that carries no kind.
	Internal Kind = iota

	// The request is wrong, whatever the state.

	KeyEmpty         // a key is required and none was given
	InvalidArgument  // any other malformed request; the cause says what
	RequestTooLarge  // the encoded command exceeds --max-request-bytes
	LeaseTTLTooLarge // a lease of more than 9,000,000,000 s (etcd T-60)

	// The state does not allow it.

	KeyNotFound    // ignore_value or ignore_lease on a key that does not exist
	Compacted      // the revision has been compacted
	FutureRev      // the revision has not been reached
	LeaseNotFound  // no such lease
	LeaseExists    // the lease id is taken
	MemberNotFound // no such member
	NoSpace        // the NOSPACE alarm stands
	Corrupt        // the CORRUPT alarm stands

	// What ZooKeeper's rules refuse.

	BadPath                 // no legal znode path, or one that must not be touched
	InvalidACL              // the ACL is malformed, or one that is not supported
	NoNode                  // no such znode
	NodeExists              // the znode exists
	BadVersion              // the znode's version is another
	NotEmpty                // the znode has children
	NoChildrenForEphemerals // the parent is ephemeral
	NoAuth                  // the znode's ACL does not allow it
	SessionExpired          // no such session, or the secret is another
	SessionMoved            // the session is owned by a later connection
	// EphemeralProtected refuses an etcd write that would break the promise of a
	// session's ephemeral znode: that it goes with its session, and has no children.
	EphemeralProtected
	QuotaExceeded // a hard quota of ZooKeeper's
	BadQuota      // the limits of one do not parse

	// What users and roles refuse (etcd T-80 to T-85).

	UserEmpty             // a user name is required, or the request comes from nobody
	RoleEmpty             // a role name is required
	UserExists            // the user exists
	UserNotFound          // no such user
	RoleExists            // the role exists
	RoleNotFound          // no such role
	RoleNotGranted        // the user does not have the role
	PermissionNotGranted  // the role does not have the permission
	PermissionNotGiven    // a permission is required
	PermissionDenied      // the user may not do this
	AuthFailed            // no such user, or the password is another
	NoPasswordUser        // the user has no password
	AuthNotEnabled        // authentication is off
	RootUserMissing       // authentication needs the user root
	RootRoleMissing       // the user root needs the role root
	InvalidAuthToken      // the token is not good, or no longer
	AuthOldRevision       // users or roles have changed since the caller was identified
	InvalidAuthManagement // the change would leave authentication without root, or makes no sense

	// What membership and downgrades refuse.

	MemberExists        // the member id is taken
	PeerURLExists       // another member has the peer URL
	BadMemberURLs       // the URLs are malformed
	NotEnoughStarted    // the cluster would lose its quorum
	Unhealthy           // too many members cannot be reached
	NotLearner          // the member is no learner
	LearnerNotReady     // the learner lags behind
	TooManyLearners     // there are as many learners as there may be
	NotLeader           // only the leader can do this
	BadLeaderTransferee // the member cannot be the leader
	BadVersionFormat    // the version to downgrade to is malformed
	BadDowngradeTarget  // it is not one minor version below
	DowngradeUnderWay   // a downgrade is under way
	NoDowngrade         // no downgrade is under way

	// The store cannot serve, now or in time.

	NoLeader        // no leader is known
	LeaderChanged   // the leader changed under way; the outcome is unknown
	Stopped         // the member is stopping; the outcome is unknown
	Timeout         // no answer within the request timeout; the outcome is unknown
	Canceled        // the caller's context was cancelled; the outcome is unknown
	Deadline        // the caller's deadline passed; the outcome is unknown
	TooManyRequests // the member's queues are full; nothing was proposed
	Unsupported     // not implemented by this member

	numKinds
)

var kindTexts = [numKinds]string{
	Internal:         "internal error",
	KeyEmpty:         "key is empty",
	InvalidArgument:  "invalid argument",
	RequestTooLarge:  "request is too large",
	LeaseTTLTooLarge: "lease TTL is too large",
	KeyNotFound:      "key not found",
	Compacted:        "revision has been compacted",
	FutureRev:        "revision is in the future",
	LeaseNotFound:    "lease not found",
	LeaseExists:      "lease already exists",
	MemberNotFound:   "member not found",
	NoSpace:          "out of space",
	Corrupt:          "cluster is corrupt",

	BadPath:                 "bad znode path",
	InvalidACL:              "invalid ACL",
	NoNode:                  "no such znode",
	NodeExists:              "znode exists",
	BadVersion:              "znode version does not match",
	NotEmpty:                "znode has children",
	NoChildrenForEphemerals: "ephemeral znodes have no children",
	NoAuth:                  "not authorized",
	SessionExpired:          "session expired",
	SessionMoved:            "session moved to another connection",
	EphemeralProtected:      "the key is, or is below, a session's ephemeral znode",
	QuotaExceeded:           "quota exceeded",
	BadQuota:                "malformed quota",

	UserEmpty:             "user name is empty",
	RoleEmpty:             "role name is empty",
	UserExists:            "user exists",
	UserNotFound:          "user not found",
	RoleExists:            "role exists",
	RoleNotFound:          "role not found",
	RoleNotGranted:        "role is not granted to the user",
	PermissionNotGranted:  "permission is not granted to the role",
	PermissionNotGiven:    "no permission is given",
	PermissionDenied:      "permission denied",
	AuthFailed:            "wrong user or password",
	NoPasswordUser:        "the user has no password",
	AuthNotEnabled:        "authentication is not enabled",
	RootUserMissing:       "there is no user root",
	RootRoleMissing:       "the user root does not have the role root",
	InvalidAuthToken:      "invalid token",
	AuthOldRevision:       "users or roles have changed",
	InvalidAuthManagement: "invalid change of users or roles",

	MemberExists:        "member exists",
	PeerURLExists:       "peer URL exists",
	BadMemberURLs:       "malformed member URLs",
	NotEnoughStarted:    "not enough started members",
	Unhealthy:           "unhealthy cluster",
	NotLearner:          "the member is no learner",
	LearnerNotReady:     "the learner lags behind",
	TooManyLearners:     "too many learners",
	NotLeader:           "not the leader",
	BadLeaderTransferee: "the member cannot lead",
	BadVersionFormat:    "malformed version",
	BadDowngradeTarget:  "no version to downgrade to",
	DowngradeUnderWay:   "a downgrade is under way",
	NoDowngrade:         "no downgrade is under way",

	NoLeader:        "no leader",
	LeaderChanged:   "leader changed",
	Stopped:         "server stopped",
	Timeout:         "request timed out",
	Canceled:        "request canceled",
	Deadline:        "deadline exceeded",
	TooManyRequests: "too many requests",
	Unsupported:     "not supported",
}

// Error gives the kind's text.
func (k Kind) Error() string {
	if k < numKinds {
		return kindTexts[k]
	}
	return fmt.Sprintf("error kind %d", uint8(k))
}

// Kinds lists every kind, for the tests of the front ends' tables.
func Kinds() []Kind {
	all := make([]Kind, numKinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error is a Kind with the cause that explains it to an operator. Wrap once, at
// a package's border.
type Error struct {
	Kind  Kind
	Cause error
}

// Errorf makes an *Error whose cause is formatted as by fmt.Errorf.
func Errorf(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Cause: fmt.Errorf(format, args...)}
}

func (e *Error) Error() string { return e.Kind.Error() + ": " + e.Cause.Error() }

// Unwrap lets errors.Is and errors.As see both the kind and the cause.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Cause} }

// KindOf finds the kind of err: Internal if it has none. err must not be nil.
func KindOf(err error) Kind {
	if k, ok := err.(Kind); ok { //nolint:errorlint // the fast path: rules return bare kinds
		return k
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return Internal
}

// ContextError is the kind of a context's error: Deadline or Canceled.
func ContextError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return Deadline
	}
	return Canceled
}
