package etcdv3

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/triglot/triglot/core"
)

// wantErrors is what etcd 3.7.3 sends, written out: clients compare the texts.
var wantErrors = map[core.Kind]struct {
	code codes.Code
	text string // empty: the text of the error itself
}{
	core.Internal:                {codes.Unknown, ""},
	core.KeyEmpty:                {codes.InvalidArgument, "etcdserver: key is not provided"},
	core.InvalidArgument:         {codes.InvalidArgument, ""},
	core.RequestTooLarge:         {codes.InvalidArgument, "etcdserver: request is too large"},
	core.LeaseTTLTooLarge:        {codes.OutOfRange, "etcdserver: too large lease TTL"},
	core.KeyNotFound:             {codes.InvalidArgument, "etcdserver: key not found"},
	core.Compacted:               {codes.OutOfRange, "etcdserver: mvcc: required revision has been compacted"},
	core.FutureRev:               {codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision"},
	core.LeaseNotFound:           {codes.NotFound, "etcdserver: requested lease not found"},
	core.LeaseExists:             {codes.FailedPrecondition, "etcdserver: lease already exists"},
	core.MemberNotFound:          {codes.NotFound, "etcdserver: member not found"},
	core.NoSpace:                 {codes.ResourceExhausted, "etcdserver: mvcc: database space exceeded"},
	core.Corrupt:                 {codes.DataLoss, "etcdserver: corrupt cluster"},
	core.BadPath:                 {codes.FailedPrecondition, ""},
	core.InvalidACL:              {codes.FailedPrecondition, ""},
	core.NoNode:                  {codes.FailedPrecondition, ""},
	core.NodeExists:              {codes.FailedPrecondition, ""},
	core.BadVersion:              {codes.FailedPrecondition, ""},
	core.NotEmpty:                {codes.FailedPrecondition, ""},
	core.NoChildrenForEphemerals: {codes.FailedPrecondition, ""},
	core.SessionExpired:          {codes.FailedPrecondition, ""},
	core.SessionMoved:            {codes.FailedPrecondition, ""},
	core.EphemeralProtected:      {codes.FailedPrecondition, ephemeralProtected},
	core.QuotaExceeded:           {codes.FailedPrecondition, ""},
	core.BadQuota:                {codes.FailedPrecondition, ""},
	core.NoAuth:                  {codes.PermissionDenied, ""},
	core.UserEmpty:               {codes.InvalidArgument, "etcdserver: user name is empty"},
	core.RoleEmpty:               {codes.InvalidArgument, "etcdserver: role name is empty"},
	core.UserExists:              {codes.FailedPrecondition, "etcdserver: user name already exists"},
	core.UserNotFound:            {codes.FailedPrecondition, "etcdserver: user name not found"},
	core.RoleExists:              {codes.FailedPrecondition, "etcdserver: role name already exists"},
	core.RoleNotFound:            {codes.FailedPrecondition, "etcdserver: role name not found"},
	core.RoleNotGranted:          {codes.FailedPrecondition, "etcdserver: role is not granted to the user"},
	core.PermissionNotGranted:    {codes.FailedPrecondition, "etcdserver: permission is not granted to the role"},
	core.PermissionNotGiven:      {codes.InvalidArgument, "etcdserver: permission not given"},
	core.PermissionDenied:        {codes.PermissionDenied, "etcdserver: permission denied"},
	core.AuthFailed:              {codes.InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"},
	core.AuthNotEnabled:          {codes.FailedPrecondition, "etcdserver: authentication is not enabled"},
	core.RootUserMissing:         {codes.FailedPrecondition, "etcdserver: root user does not exist"},
	core.RootRoleMissing:         {codes.FailedPrecondition, "etcdserver: root user does not have root role"},
	core.InvalidAuthToken:        {codes.Unauthenticated, "etcdserver: invalid auth token"},
	core.AuthOldRevision:         {codes.InvalidArgument, "etcdserver: revision of auth store is old"},
	core.InvalidAuthManagement:   {codes.InvalidArgument, "etcdserver: invalid auth management"},
	core.MemberExists:            {codes.FailedPrecondition, "etcdserver: member ID already exist"},
	core.PeerURLExists:           {codes.FailedPrecondition, "etcdserver: Peer URLs already exists"},
	core.BadMemberURLs:           {codes.InvalidArgument, "etcdserver: given member URLs are invalid"},
	core.NotEnoughStarted:        {codes.Unknown, "etcdserver: re-configuration failed due to not enough started members"},
	core.Unhealthy:               {codes.Unavailable, "etcdserver: unhealthy cluster"},
	core.NotLearner:              {codes.FailedPrecondition, "etcdserver: can only promote a learner member"},
	core.LearnerNotReady:         {codes.FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader"},
	core.TooManyLearners:         {codes.FailedPrecondition, "etcdserver: too many learner members in cluster"},
	core.NotLeader:               {codes.FailedPrecondition, "etcdserver: not leader"},
	core.BadLeaderTransferee:     {codes.FailedPrecondition, "etcdserver: bad leader transferee"},
	core.BadVersionFormat:        {codes.InvalidArgument, "etcdserver: wrong downgrade target version format"},
	core.BadDowngradeTarget:      {codes.InvalidArgument, "etcdserver: invalid downgrade target version"},
	core.DowngradeUnderWay:       {codes.FailedPrecondition, "etcdserver: cluster has a downgrade job in progress"},
	core.NoDowngrade:             {codes.FailedPrecondition, "etcdserver: no inflight downgrade job"},
	core.NoPasswordUser:          {codes.Unknown, "auth: authentication failed, password was given for no password user"},
	core.NoLeader:                {codes.Unavailable, "etcdserver: no leader"},
	core.LeaderChanged:           {codes.Unavailable, "etcdserver: leader changed"},
	core.Stopped:                 {codes.Unavailable, "etcdserver: server stopped"},
	core.Timeout:                 {codes.Unavailable, "etcdserver: request timed out"},
	core.Canceled:                {codes.Canceled, "etcdserver: request canceled"},
	core.Deadline:                {codes.DeadlineExceeded, "context deadline exceeded"},
	core.TooManyRequests:         {codes.Unknown, "etcdserver: too many requests"},
	core.Unsupported:             {codes.Unimplemented, ""},
}

func TestEveryKindHasEtcdsError(t *testing.T) {
	kinds := core.Kinds()
	require.Len(t, kindErrors, len(kinds), "a kind is missing in kindErrors")
	require.Len(t, wantErrors, len(kinds), "a kind is missing in this test")
	for _, kind := range kinds {
		want := wantErrors[kind]
		for how, err := range map[string]error{
			"bare":          kind,
			"with a cause":  core.Errorf(kind, "the disk said %q", "no"),
			"wrapped twice": fmt.Errorf("apply: %w", core.Errorf(kind, "entry %d", 7)),
		} {
			t.Run(kind.Error()+" "+how, func(t *testing.T) {
				st, ok := status.FromError(wireError(err))
				require.True(t, ok, "not a status")
				text := want.text
				if text == "" {
					text = err.Error()
				}
				require.Equal(t, want.code, st.Code())
				require.Equal(t, text, st.Message())
			})
		}
	}
}

func TestErrorsWithoutAKind(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code codes.Code
		text string
	}{
		{"any other", fmt.Errorf("broken"), codes.Unknown, "broken"},
		{"canceled", fmt.Errorf("range: %w", context.Canceled), codes.Canceled, "etcdserver: request canceled"},
		{"deadline", fmt.Errorf("range: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "context deadline exceeded"},
		{"a status", rpctypes.ErrGRPCDuplicateKey, codes.InvalidArgument, "etcdserver: duplicate key given in txn request"},
		{"a kind that this build does not know", core.Kind(250), codes.Unknown, core.Kind(250).Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st, ok := status.FromError(wireError(tt.err))
			require.True(t, ok, "not a status")
			require.Equal(t, tt.code, st.Code())
			require.Equal(t, tt.text, st.Message())
		})
	}
}

// A client maps errors by their text; those that etcd's own client knows must
// come out as the same client-side error.
func TestEtcdClientRecognisesErrors(t *testing.T) {
	for kind, want := range map[core.Kind]error{
		core.Compacted:     rpctypes.ErrCompacted,
		core.FutureRev:     rpctypes.ErrFutureRev,
		core.LeaseNotFound: rpctypes.ErrLeaseNotFound,
		core.NoSpace:       rpctypes.ErrNoSpace,
		// By its text alone, since its code is not the one etcd's client has.
		core.TooManyRequests: rpctypes.ErrTooManyRequests,
	} {
		require.Equal(t, want, rpctypes.Error(wireError(kind)))
	}
}
