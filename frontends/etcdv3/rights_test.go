package etcdv3

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/triglot/triglot/core"
	epb "github.com/triglot/triglot/frontends/etcdv3/v3electionpb"
	"github.com/triglot/triglot/frontends/etcdv3/v3lockpb"
)

// What those are told who may not: nobody in particular, and a user without rights.
const (
	toNobody = "etcdserver: user name is empty"
	toUser   = "etcdserver: permission denied"
)

// rightsCase is a call that nobody may make, and a user without rights may or may not.
type rightsCase struct {
	req          proto.Message
	nobody, user string // what they are told; empty is that they may
}

func denied(req proto.Message) rightsCase { return rightsCase{req, toNobody, toUser} }

// forUsers is a call that any user may make.
func forUsers(req proto.Message) rightsCase { return rightsCase{req, toNobody, ""} }

var rightsCases = map[string][]rightsCase{
	"KV/Range":       {denied(&pb.RangeRequest{Key: []byte("k")})},
	"KV/RangeStream": {denied(&pb.RangeRequest{Key: []byte("k")})},
	"KV/Put":         {denied(&pb.PutRequest{Key: []byte("k")})},
	"KV/DeleteRange": {denied(&pb.DeleteRangeRequest{Key: []byte("k")})},
	"KV/Txn": {
		denied(&pb.TxnRequest{Compare: []*pb.Compare{{Key: []byte("k")}}}),
		denied(&pb.TxnRequest{Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k")}}}}}),
		{req: &pb.TxnRequest{}}, // reads nothing, writes nothing
	},
	"KV/Compact":  {denied(&pb.CompactionRequest{Revision: 1})},
	"Watch/Watch": {{req: &pb.WatchRequest{}}}, // TestWatchesOfAUser

	"Lease/LeaseGrant":      {forUsers(&pb.LeaseGrantRequest{TTL: 60})},
	"Lease/LeaseRevoke":     {denied(&pb.LeaseRevokeRequest{ID: 1})},
	"Lease/LeaseKeepAlive":  {denied(&pb.LeaseKeepAliveRequest{ID: 1})},
	"Lease/LeaseTimeToLive": {forUsers(&pb.LeaseTimeToLiveRequest{ID: 1}), denied(&pb.LeaseTimeToLiveRequest{ID: 1, Keys: true})},
	"Lease/LeaseLeases":     {denied(&pb.LeaseLeasesRequest{})},

	"Cluster/MemberList":    {forUsers(&pb.MemberListRequest{}), forUsers(&pb.MemberListRequest{Linearizable: true})},
	"Cluster/MemberAdd":     {denied(&pb.MemberAddRequest{PeerURLs: []string{"http://127.0.0.1:1"}})},
	"Cluster/MemberRemove":  {denied(&pb.MemberRemoveRequest{ID: 1})},
	"Cluster/MemberUpdate":  {denied(&pb.MemberUpdateRequest{ID: 1})},
	"Cluster/MemberPromote": {denied(&pb.MemberPromoteRequest{ID: 1})},

	"Maintenance/Status": {forUsers(&pb.StatusRequest{})},
	"Maintenance/Alarm": {
		forUsers(&pb.AlarmRequest{}),
		denied(&pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE}),
		denied(&pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE}),
	},
	"Maintenance/Defragment": {denied(&pb.DefragmentRequest{})},
	"Maintenance/Hash":       {denied(&pb.HashRequest{})},
	"Maintenance/HashKV":     {denied(&pb.HashKVRequest{})},
	"Maintenance/Snapshot":   {denied(&pb.SnapshotRequest{})},
	"Maintenance/MoveLeader": {denied(&pb.MoveLeaderRequest{TargetID: 1})},
	"Maintenance/Downgrade":  {denied(&pb.DowngradeRequest{}), denied(&pb.DowngradeRequest{Action: pb.DowngradeRequest_CANCEL})},

	"Auth/AuthStatus":         {{req: &pb.AuthStatusRequest{}}},
	"Auth/Authenticate":       {{req: &pb.AuthenticateRequest{Name: "root"}}},
	"Auth/AuthEnable":         {denied(&pb.AuthEnableRequest{})},
	"Auth/AuthDisable":        {denied(&pb.AuthDisableRequest{})},
	"Auth/UserAdd":            {denied(&pb.AuthUserAddRequest{Name: "x", Password: "pw"}), denied(&pb.AuthUserAddRequest{Name: "x", Options: &authpb.UserAddOptions{NoPassword: true}})},
	"Auth/UserGet":            {denied(&pb.AuthUserGetRequest{Name: "root"}), {&pb.AuthUserGetRequest{Name: "u"}, toNobody, ""}},
	"Auth/UserList":           {denied(&pb.AuthUserListRequest{})},
	"Auth/UserDelete":         {denied(&pb.AuthUserDeleteRequest{Name: "u"})},
	"Auth/UserChangePassword": {denied(&pb.AuthUserChangePasswordRequest{Name: "u", Password: "pw"}), denied(&pb.AuthUserChangePasswordRequest{Name: "u", HashedPassword: "!"})},
	"Auth/UserGrantRole":      {denied(&pb.AuthUserGrantRoleRequest{User: "u", Role: "root"})},
	"Auth/UserRevokeRole":     {denied(&pb.AuthUserRevokeRoleRequest{Name: "u", Role: "u"})},
	"Auth/RoleAdd":            {denied(&pb.AuthRoleAddRequest{Name: "x"})},
	"Auth/RoleGet":            {denied(&pb.AuthRoleGetRequest{Role: "root"}), {&pb.AuthRoleGetRequest{Role: "u"}, toNobody, ""}},
	"Auth/RoleList":           {denied(&pb.AuthRoleListRequest{})},
	"Auth/RoleDelete":         {denied(&pb.AuthRoleDeleteRequest{Role: "u"})},
	"Auth/RoleGrantPermission": {
		denied(&pb.AuthRoleGrantPermissionRequest{Name: "u"}),
		denied(&pb.AuthRoleGrantPermissionRequest{Name: "u", Perm: &authpb.Permission{Key: []byte("k")}}),
	},
	"Auth/RoleRevokePermission": {denied(&pb.AuthRoleRevokePermissionRequest{Role: "u", Key: []byte("u")})},

	"Lock/Lock":         {denied(&v3lockpb.LockRequest{Name: []byte("l")}), denied(&v3lockpb.LockRequest{Name: []byte("u"), Lease: 1})},
	"Lock/Unlock":       {denied(&v3lockpb.UnlockRequest{Key: []byte("k")})},
	"Election/Campaign": {denied(&epb.CampaignRequest{Name: []byte("e")})},
	"Election/Proclaim": {denied(&epb.ProclaimRequest{Leader: &epb.LeaderKey{Key: []byte("k"), Rev: 2}})},
	"Election/Leader":   {denied(&epb.LeaderRequest{Name: []byte("e")})},
	"Election/Observe":  {{req: &epb.LeaderRequest{Name: []byte("e")}}}, // ends without an error, as in etcd
	"Election/Resign":   {denied(&epb.ResignRequest{Leader: &epb.LeaderKey{Key: []byte("k"), Rev: 2}})},
}

// call makes one call and returns what the caller is told, empty if the call is answered.
func (s *server) call(ctx context.Context, method string, streams bool, req proto.Message) string {
	if !streams {
		return status.Convert(s.conn.Invoke(ctx, method, req, new(emptypb.Empty))).Message()
	}
	stream, err := s.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	require.NoError(s, err)
	require.NoError(s, stream.SendMsg(req))
	require.NoError(s, stream.CloseSend())
	if err = stream.RecvMsg(new(emptypb.Empty)); errors.Is(err, io.EOF) {
		return ""
	}
	return status.Convert(err).Message()
}

// TestRightsToEveryMethod makes every call that there is as nobody, and as a user who
// may do something with the keys below "u" alone (etcd T-82, T-83). A method that is
// added must say here who may call it.
func TestRightsToEveryMethod(t *testing.T) {
	s := startServer(t, cheapPasswords)
	s.addRoot()
	s.addUser("u", "u", authpb.Permission_READWRITE)
	_, err := pb.NewLeaseClient(s.conn).LeaseGrant(s.ctx(), &pb.LeaseGrantRequest{ID: 1, TTL: 60})
	require.NoError(t, err)
	s.putRequest(&pb.PutRequest{Key: []byte("k"), Value: []byte("v"), Lease: 1})
	s.enableAuth()
	nobody, user := s.ctx(), s.as("u")

	seen := 0
	for _, svc := range new(face).services() {
		for _, m := range methodsOf(svc.desc) {
			name := m.service + "/" + m.name
			cases, ok := rightsCases[name]
			require.True(t, ok, "who may call %s?", name)
			seen++
			if name == "Watch/Watch" {
				continue
			}
			for _, c := range cases {
				method := "/" + svc.desc.ServiceName + "/" + m.name
				asNobody, asUser := s.call(nobody, method, m.streams, c.req), s.call(user, method, m.streams, c.req)
				if name != "Auth/Authenticate" { // which asks for a password
					require.Equal(t, c.nobody, asNobody, "%s %v by nobody", name, c.req)
					require.Equal(t, c.user, asUser, "%s %v by a user", name, c.req)
				}
			}
		}
	}
	require.Len(t, rightsCases, seen)
}

type methodOf struct {
	service, name string
	streams       bool
}

func methodsOf(desc grpc.ServiceDesc) (all []methodOf) {
	short := desc.ServiceName[strings.LastIndexByte(desc.ServiceName, '.')+1:]
	for _, m := range desc.Methods {
		all = append(all, methodOf{short, m.MethodName, false})
	}
	for _, m := range desc.Streams {
		all = append(all, methodOf{short, m.StreamName, true})
	}
	return all
}

// idleHasher is an Auth to whom a user without rights comes, and that must not be asked
// to hash a password for him.
type idleHasher struct {
	core.Auth
	t *testing.T
}

func (idleHasher) Status() core.AuthStatus { return core.AuthStatus{Enabled: true, Rev: 1} }

func (idleHasher) Users(context.Context, core.Principal) ([]string, core.Rev, error) {
	return nil, 0, core.PermissionDenied
}

func (a idleHasher) HashPassword(context.Context, string) ([]byte, error) {
	a.t.Error("a password is hashed")
	return nil, nil
}

// A password is hashed for those only who may set it: it costs too much for others.
func TestHashForRootOnly(t *testing.T) {
	s := authServer{&face{Config: Config{Auth: idleHasher{t: t}}}}
	who := core.Principal{User: "u", AuthRev: 1}
	_, err := s.userAdd(context.Background(), who, &pb.AuthUserAddRequest{Name: "x", Password: "pw"})
	require.Equal(t, core.PermissionDenied, err)
	_, err = s.userChangePassword(context.Background(), who, &pb.AuthUserChangePasswordRequest{Name: "x", Password: "pw"})
	require.Equal(t, core.PermissionDenied, err)
}
