package httpfront

import (
	"errors"

	"github.com/triglot/triglot/core"
)

// kindTexts is how etcd words each kind of error, as far as a read can fail with
// it; the rest are worded so that a report of one can be understood.
var kindTexts = map[core.Kind]string{
	core.Internal:         "etcdserver: internal error",
	core.KeyEmpty:         "etcdserver: key is not provided",
	core.InvalidArgument:  "etcdserver: invalid argument",
	core.RequestTooLarge:  "etcdserver: request is too large",
	core.LeaseTTLTooLarge: "etcdserver: too large lease TTL",
	core.KeyNotFound:      "etcdserver: key not found",
	core.Compacted:        "etcdserver: mvcc: required revision has been compacted",
	core.FutureRev:        "etcdserver: mvcc: required revision is a future revision",
	core.LeaseNotFound:    "etcdserver: requested lease not found",
	core.LeaseExists:      "etcdserver: lease already exists",
	core.MemberNotFound:   "etcdserver: member not found",
	core.NoSpace:          "etcdserver: mvcc: database space exceeded",
	core.Corrupt:          "etcdserver: corrupt cluster",
	core.NoLeader:         "etcdserver: no leader",

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
