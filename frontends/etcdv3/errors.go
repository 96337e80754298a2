package etcdv3

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/triglot/triglot/core"
)

// kindErrors says how etcd puts each kind of failure on the wire. Clients tell
// errors apart by their text, so both code and text are etcd's to the byte. An
// entry without an error is a code whose text is the error's own.
var kindErrors = [...]struct {
	err  error
	code codes.Code
}{
	// etcd sends whatever it has no code for as Unknown.
	core.Internal: {code: codes.Unknown},

	core.KeyEmpty:         {err: rpctypes.ErrGRPCEmptyKey},
	core.InvalidArgument:  {code: codes.InvalidArgument},
	core.RequestTooLarge:  {err: rpctypes.ErrGRPCRequestTooLarge},
	core.LeaseTTLTooLarge: {err: rpctypes.ErrGRPCLeaseTTLTooLarge},

	core.KeyNotFound:    {err: rpctypes.ErrGRPCKeyNotFound},
	core.Compacted:      {err: rpctypes.ErrGRPCCompacted},
	core.FutureRev:      {err: rpctypes.ErrGRPCFutureRev},
	core.LeaseNotFound:  {err: rpctypes.ErrGRPCLeaseNotFound},
	core.LeaseExists:    {err: rpctypes.ErrGRPCLeaseExist},
	core.MemberNotFound: {err: rpctypes.ErrGRPCMemberNotFound},
	core.NoSpace:        {err: rpctypes.ErrGRPCNoSpace},
	core.Corrupt:        {err: rpctypes.ErrGRPCCorrupt},

	// Of ZooKeeper's rules an etcd client meets only the last; the others are here
	// so that a mistake of ours can be read.
	core.BadPath:                 {code: codes.FailedPrecondition},
	core.InvalidACL:              {code: codes.FailedPrecondition},
	core.NoNode:                  {code: codes.FailedPrecondition},
	core.NodeExists:              {code: codes.FailedPrecondition},
	core.BadVersion:              {code: codes.FailedPrecondition},
	core.NotEmpty:                {code: codes.FailedPrecondition},
	core.NoChildrenForEphemerals: {code: codes.FailedPrecondition},
	core.NoAuth:                  {code: codes.PermissionDenied},
	core.SessionExpired:          {code: codes.FailedPrecondition},
	core.SessionMoved:            {code: codes.FailedPrecondition},
	core.EphemeralProtected:      {err: status.Error(codes.FailedPrecondition, ephemeralProtected)},
	core.QuotaExceeded:           {code: codes.FailedPrecondition},
	core.BadQuota:                {code: codes.FailedPrecondition},

	core.UserEmpty:             {err: rpctypes.ErrGRPCUserEmpty},
	core.RoleEmpty:             {err: rpctypes.ErrGRPCRoleEmpty},
	core.UserExists:            {err: rpctypes.ErrGRPCUserAlreadyExist},
	core.UserNotFound:          {err: rpctypes.ErrGRPCUserNotFound},
	core.RoleExists:            {err: rpctypes.ErrGRPCRoleAlreadyExist},
	core.RoleNotFound:          {err: rpctypes.ErrGRPCRoleNotFound},
	core.RoleNotGranted:        {err: rpctypes.ErrGRPCRoleNotGranted},
	core.PermissionNotGranted:  {err: rpctypes.ErrGRPCPermissionNotGranted},
	core.PermissionNotGiven:    {err: rpctypes.ErrGRPCPermissionNotGiven},
	core.PermissionDenied:      {err: rpctypes.ErrGRPCPermissionDenied},
	core.AuthFailed:            {err: rpctypes.ErrGRPCAuthFailed},
	core.NoPasswordUser:        {err: status.Error(codes.Unknown, "auth: authentication failed, password was given for no password user")}, // T-01
	core.AuthNotEnabled:        {err: rpctypes.ErrGRPCAuthNotEnabled},
	core.RootUserMissing:       {err: rpctypes.ErrGRPCRootUserNotExist},
	core.RootRoleMissing:       {err: rpctypes.ErrGRPCRootRoleNotExist},
	core.InvalidAuthToken:      {err: rpctypes.ErrGRPCInvalidAuthToken},
	core.AuthOldRevision:       {err: rpctypes.ErrGRPCAuthOldRevision},
	core.InvalidAuthManagement: {err: rpctypes.ErrGRPCInvalidAuthMgmt},

	core.MemberExists:        {err: rpctypes.ErrGRPCMemberExist},
	core.PeerURLExists:       {err: rpctypes.ErrGRPCPeerURLExist},
	core.BadMemberURLs:       {err: rpctypes.ErrGRPCMemberBadURLs},
	core.NotEnoughStarted:    {err: status.Error(codes.Unknown, "etcdserver: re-configuration failed due to not enough started members")}, // T-01
	core.Unhealthy:           {err: rpctypes.ErrGRPCUnhealthy},
	core.NotLearner:          {err: rpctypes.ErrGRPCMemberNotLearner},
	core.LearnerNotReady:     {err: rpctypes.ErrGRPCLearnerNotReady},
	core.TooManyLearners:     {err: rpctypes.ErrGRPCTooManyLearners},
	core.NotLeader:           {err: rpctypes.ErrGRPCNotLeader},
	core.BadLeaderTransferee: {err: rpctypes.ErrGRPCBadLeaderTransferee},
	core.BadVersionFormat:    {err: rpctypes.ErrGRPCWrongDowngradeVersionFormat},
	core.BadDowngradeTarget:  {err: rpctypes.ErrGRPCInvalidDowngradeTargetVersion},
	core.DowngradeUnderWay:   {err: rpctypes.ErrGRPCDowngradeInProcess},
	core.NoDowngrade:         {err: rpctypes.ErrGRPCNoInflightDowngrade},

	core.NoLeader:      {err: rpctypes.ErrGRPCNoLeader},
	core.LeaderChanged: {err: rpctypes.ErrGRPCLeaderChanged},
	core.Stopped:       {err: rpctypes.ErrGRPCStopped},
	core.Timeout:       {err: rpctypes.ErrGRPCTimeout},
	core.Canceled:      {err: rpctypes.ErrGRPCCanceled},
	core.Deadline:      {err: status.Error(codes.DeadlineExceeded, context.DeadlineExceeded.Error())},
	// The code is Unknown, not ResourceExhausted: etcd's server sends the error
	// that is meant for its client (T-01).
	core.TooManyRequests: {err: status.Error(codes.Unknown, "etcdserver: too many requests")},
	core.Unsupported:     {code: codes.Unimplemented},
}

// ephemeralProtected tells an etcd user, who may know nothing of ZooKeeper, what he
// ran into and what he can do.
const ephemeralProtected = "triglot: the key is that of a ZooKeeper session's ephemeral znode, or would be below one, or has keys below it: " +
	"put onto it with ignore_lease, put another key, or revoke the session's lease"

// wireError turns an error of a handler into the status that etcd would send.
// One that is a status already is passed on.
func wireError(err error) error {
	if _, ok := err.(interface{ GRPCStatus() *status.Status }); ok { // not errors.As: a wrapped status is an error of ours
		return err
	}
	kind := core.KindOf(err)
	if kind == core.Internal {
		switch {
		case errors.Is(err, context.Canceled):
			kind = core.Canceled
		case errors.Is(err, context.DeadlineExceeded):
			kind = core.Deadline
		}
	}
	if int(kind) >= len(kindErrors) {
		kind = core.Internal
	}
	e := kindErrors[kind]
	if e.err != nil {
		return e.err
	}
	return status.Error(e.code, err.Error())
}
