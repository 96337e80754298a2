package zk

import (
	"errors"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// Why a connection is closed from here.
var (
	errEventsLost    = errors.New("the member could not tell all events to its watchers")
	errUnknownClient = errors.New("etcd's authentication was turned on, and has not seen the client's password")
	errNoContact     = errors.New("this member is out of contact with the leader, or with the quorum")
	errInterrupted   = errors.New("all connections were closed during the handshake")
	errMoved         = errors.New("the session moved to another connection")
	errEnded         = errors.New("the session has ended")
	errAnswered      = errors.New("the last answer has been given")
	errUnknownState  = errors.New("the outcome of a request is unknown")
)

// verdict is what a request that failed is answered.
type verdict struct {
	code wire.ErrorCode
	// silent closes the connection without a reply: what a client makes of the
	// silence, that the outcome is unknown, is true. Of writes that follow one of
	// unknown outcome no client may hear that they were applied.
	silent bool
	// last closes the connection behind the reply.
	last bool
}

// kindVerdicts says how each kind of failure is answered.
var kindVerdicts = [...]verdict{
	core.Internal: {code: wire.SystemError},

	core.KeyEmpty:         {code: wire.BadArguments},
	core.InvalidArgument:  {code: wire.BadArguments},
	core.RequestTooLarge:  {code: wire.BadArguments},
	core.LeaseTTLTooLarge: {code: wire.BadArguments},

	// Most of these do not come to pass: they are other protocols' ways to fail.
	core.KeyNotFound:    {code: wire.NoNode},
	core.Compacted:      {code: wire.SystemError},
	core.FutureRev:      {code: wire.SystemError},
	core.LeaseNotFound:  {code: wire.SessionExpired, last: true},
	core.LeaseExists:    {code: wire.SystemError},
	core.MemberNotFound: {code: wire.SystemError},
	core.NoSpace:        {code: wire.QuotaExceeded},
	core.Corrupt:        {code: wire.DataInconsistency},

	core.BadPath:                 {code: wire.BadArguments},
	core.InvalidACL:              {code: wire.InvalidACL},
	core.NoNode:                  {code: wire.NoNode},
	core.NodeExists:              {code: wire.NodeExists},
	core.BadVersion:              {code: wire.BadVersion},
	core.NotEmpty:                {code: wire.NotEmpty},
	core.NoChildrenForEphemerals: {code: wire.NoChildrenForEphemerals},
	core.NoAuth:                  {code: wire.NoAuth},
	core.SessionExpired:          {code: wire.SessionExpired, last: true},
	core.SessionMoved:            {code: wire.SessionMoved, silent: true}, // N4
	core.EphemeralProtected:      {code: wire.NoChildrenForEphemerals},
	core.QuotaExceeded:           {code: wire.QuotaExceeded},
	core.BadQuota:                {code: wire.MarshallingError}, // E4

	// While etcd's authentication is on, a ZooKeeper client may do what its user may.
	core.UserEmpty:             {code: wire.NoAuth},
	core.RoleEmpty:             {code: wire.NoAuth},
	core.UserExists:            {code: wire.NoAuth},
	core.UserNotFound:          {code: wire.NoAuth},
	core.RoleExists:            {code: wire.NoAuth},
	core.RoleNotFound:          {code: wire.NoAuth},
	core.RoleNotGranted:        {code: wire.NoAuth},
	core.PermissionNotGranted:  {code: wire.NoAuth},
	core.PermissionNotGiven:    {code: wire.NoAuth},
	core.PermissionDenied:      {code: wire.NoAuth},
	core.AuthFailed:            {code: wire.NoAuth},
	core.NoPasswordUser:        {code: wire.NoAuth},
	core.AuthNotEnabled:        {code: wire.NoAuth},
	core.RootUserMissing:       {code: wire.NoAuth},
	core.RootRoleMissing:       {code: wire.NoAuth},
	core.InvalidAuthToken:      {code: wire.NoAuth},
	core.AuthOldRevision:       {code: wire.NoAuth},
	core.InvalidAuthManagement: {code: wire.NoAuth},

	core.MemberExists:        {code: wire.SystemError},
	core.PeerURLExists:       {code: wire.SystemError},
	core.BadMemberURLs:       {code: wire.SystemError},
	core.NotEnoughStarted:    {code: wire.SystemError},
	core.Unhealthy:           {code: wire.SystemError},
	core.NotLearner:          {code: wire.SystemError},
	core.LearnerNotReady:     {code: wire.SystemError},
	core.TooManyLearners:     {code: wire.SystemError},
	core.NotLeader:           {code: wire.SystemError},
	core.BadLeaderTransferee: {code: wire.SystemError},
	core.BadVersionFormat:    {code: wire.SystemError},
	core.BadDowngradeTarget:  {code: wire.SystemError},
	core.DowngradeUnderWay:   {code: wire.SystemError},
	core.NoDowngrade:         {code: wire.SystemError},

	core.NoLeader:        {code: wire.ConnectionLoss, silent: true},
	core.LeaderChanged:   {code: wire.ConnectionLoss, silent: true},
	core.Stopped:         {code: wire.ConnectionLoss, silent: true},
	core.Timeout:         {code: wire.ConnectionLoss, silent: true},
	core.Canceled:        {code: wire.ConnectionLoss, silent: true},
	core.Deadline:        {code: wire.ConnectionLoss, silent: true},
	core.TooManyRequests: {code: wire.ThrottledOp},
	core.Unsupported:     {code: wire.Unimplemented},
}

// verdictOf is the verdict on an error of the store.
func verdictOf(err error) verdict { return kindVerdict(core.KindOf(err)) }

func kindVerdict(k core.Kind) verdict {
	if int(k) >= len(kindVerdicts) {
		k = core.Internal
	}
	return kindVerdicts[k]
}
