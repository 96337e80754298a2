package httpfront

import (
	"errors"

	"github.com/triglot/triglot/core"
)

// kindTexts is how etcd words each kind of error, as far as a read can fail with
// it; the rest are worded so that a report of one can be understood.
var kindTexts = map[core.Kind]string{
	core.Internal:              "etcdserver: internal error",
	core.KeyEmpty:              "etcdserver: key is not provided",
	core.InvalidArgument:       "etcdserver: invalid argument",
	core.RequestTooLarge:       "etcdserver: request is too large",
	core.LeaseTTLTooLarge:      "etcdserver: too large lease TTL",
	core.KeyNotFound:           "etcdserver: key not found",
	core.Compacted:             "etcdserver: mvcc: required revision has been compacted",
	core.FutureRev:             "etcdserver: mvcc: required revision is a future revision",
	core.LeaseNotFound:         "etcdserver: requested lease not found",
	core.LeaseExists:           "etcdserver: lease already exists",
	core.MemberNotFound:        "etcdserver: member not found",
	core.NoSpace:               "etcdserver: mvcc: database space exceeded",
	core.Corrupt:               "etcdserver: corrupt cluster",
	core.UserEmpty:             "etcdserver: user name is empty",
	core.RoleEmpty:             "etcdserver: role name is empty",
	core.UserExists:            "etcdserver: user name already exists",
	core.UserNotFound:          "etcdserver: user name not found",
	core.RoleExists:            "etcdserver: role name already exists",
	core.RoleNotFound:          "etcdserver: role name not found",
	core.RoleNotGranted:        "etcdserver: role is not granted to the user",
	core.PermissionNotGranted:  "etcdserver: permission is not granted to the role",
	core.PermissionNotGiven:    "etcdserver: permission not given",
	core.PermissionDenied:      "etcdserver: permission denied",
	core.AuthFailed:            "etcdserver: authentication failed, invalid user ID or password",
	core.AuthNotEnabled:        "etcdserver: authentication is not enabled",
	core.RootUserMissing:       "etcdserver: root user does not exist",
	core.RootRoleMissing:       "etcdserver: root user does not have root role",
	core.InvalidAuthToken:      "etcdserver: invalid auth token",
	core.AuthOldRevision:       "etcdserver: revision of auth store is old",
	core.InvalidAuthManagement: "etcdserver: invalid auth management",
	core.MemberExists:          "etcdserver: member ID already exist",
	core.PeerURLExists:         "etcdserver: Peer URLs already exists",
	core.BadMemberURLs:         "etcdserver: given member URLs are invalid",
	core.NotEnoughStarted:      "etcdserver: re-configuration failed due to not enough started members",
	core.Unhealthy:             "etcdserver: unhealthy cluster",
	core.NotLearner:            "etcdserver: can only promote a learner member",
	core.LearnerNotReady:       "etcdserver: can only promote a learner member which is in sync with leader",
	core.TooManyLearners:       "etcdserver: too many learner members in cluster",
	core.NotLeader:             "etcdserver: not leader",
	core.BadLeaderTransferee:   "etcdserver: bad leader transferee",
	core.BadVersionFormat:      "etcdserver: wrong downgrade target version format",
	core.BadDowngradeTarget:    "etcdserver: invalid downgrade target version",
	core.DowngradeUnderWay:     "etcdserver: cluster has a downgrade job in progress",
	core.NoDowngrade:           "etcdserver: no inflight downgrade job",
	core.NoPasswordUser:        "auth: authentication failed, password was given for no password user",
	core.NoLeader:              "etcdserver: no leader",

	core.BadPath:                 "bad znode path",
	core.InvalidACL:              "invalid ACL",
	core.NoNode:                  "no such znode",
	core.NodeExists:              "znode exists",
	core.BadVersion:              "znode version does not match",
	core.NotEmpty:                "znode has children",
	core.NoChildrenForEphemerals: "ephemeral znodes have no children",
	core.NoAuth:                  "not authorized",
	core.SessionExpired:          "session expired",
	core.SessionMoved:            "session moved to another connection",
	core.EphemeralProtected:      "the key is, or is below, a session's ephemeral znode",
	core.QuotaExceeded:           "quota exceeded",
	core.BadQuota:                "bad quota",

	core.LeaderChanged:   "etcdserver: leader changed",
	core.Stopped:         "etcdserver: server stopped",
	core.Timeout:         "etcdserver: request timed out",
	core.Canceled:        "context canceled",
	core.Deadline:        "context deadline exceeded",
	core.TooManyRequests: "etcdserver: too many requests",
	core.Unsupported:     "etcdserver: not supported",
}

// clientError is err as an etcd client would read it. An internal error keeps
// its cause: whoever looks at a failed health check wants to know.
func clientError(err error) error {
	kind := core.KindOf(err)
	if kind == core.Internal {
		return err
	}
	return errors.New(kindTexts[kind])
}
