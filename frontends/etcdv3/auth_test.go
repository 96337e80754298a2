package etcdv3

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/node"
	epb "github.com/triglot/triglot/frontends/etcdv3/v3electionpb"
	"github.com/triglot/triglot/frontends/etcdv3/v3lockpb"
)

func withAuth(a core.Auth) func(*node.Config, *Config) {
	return func(_ *node.Config, c *Config) { c.Auth = a }
}

// cheapPasswords spares the tests what real passwords are to cost.
func cheapPasswords(n *node.Config, _ *Config) { n.Auth.BcryptCost = 4 }

func (s *server) auth() pb.AuthClient { return pb.NewAuthClient(s.conn) }

// addRoot makes the user root with the password "pw" and the role root.
func (s *server) addRoot() {
	s.Helper()
	_, err := s.auth().UserAdd(s.ctx(), &pb.AuthUserAddRequest{Name: "root", Password: "pw"})
	require.NoError(s, err)
	_, err = s.auth().UserGrantRole(s.ctx(), &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"})
	require.NoError(s, err)
}

// addUser makes a user with the password "pw" and a role that may do something with
// the keys below a prefix.
func (s *server) addUser(name, prefix string, allows authpb.Permission_Type) {
	s.Helper()
	_, err := s.auth().UserAdd(s.ctx(), &pb.AuthUserAddRequest{Name: name, Password: "pw"})
	require.NoError(s, err)
	_, err = s.auth().RoleAdd(s.ctx(), &pb.AuthRoleAddRequest{Name: name})
	require.NoError(s, err)
	_, err = s.auth().RoleGrantPermission(s.ctx(), &pb.AuthRoleGrantPermissionRequest{Name: name, Perm: &authpb.Permission{
		PermType: allows, Key: []byte(prefix), RangeEnd: []byte(prefix + "\xff"),
	}})
	require.NoError(s, err)
	_, err = s.auth().UserGrantRole(s.ctx(), &pb.AuthUserGrantRoleRequest{User: name, Role: name})
	require.NoError(s, err)
}

func (s *server) enableAuth() {
	s.Helper()
	_, err := s.auth().AuthEnable(s.ctx(), &pb.AuthEnableRequest{})
	require.NoError(s, err)
}

// as is the context of a user's calls.
func (s *server) as(user string) context.Context {
	s.Helper()
	resp, err := s.auth().Authenticate(s.ctx(), &pb.AuthenticateRequest{Name: user, Password: "pw"})
	require.NoError(s, err)
	return metadata.AppendToOutgoingContext(s.ctx(), "token", resp.Token)
}

func TestUsersAndRoles(t *testing.T) {
	s := startServer(t, cheapPasswords)
	c := s.auth()
	s.addRoot()
	s.put("k", "v")
	added, err := c.UserAdd(s.ctx(), &pb.AuthUserAddRequest{Name: "u", Options: &authpb.UserAddOptions{NoPassword: true}})
	require.NoError(t, err)
	requireEqual(t, &pb.AuthUserAddResponse{Header: s.header(2)}, added)
	_, err = c.RoleAdd(s.ctx(), &pb.AuthRoleAddRequest{Name: "r"})
	require.NoError(t, err)
	_, err = c.UserGrantRole(s.ctx(), &pb.AuthUserGrantRoleRequest{User: "u", Role: "r"})
	require.NoError(t, err)
	user, err := c.UserGet(s.ctx(), &pb.AuthUserGetRequest{Name: "u"})
	require.NoError(t, err)
	requireEqual(t, &pb.AuthUserGetResponse{Header: s.header(2), Roles: []string{"r"}}, user)
	users, err := c.UserList(s.ctx(), &pb.AuthUserListRequest{})
	require.NoError(t, err)
	requireEqual(t, &pb.AuthUserListResponse{Header: s.header(2), Users: []string{"root", "u"}}, users)

	grant := func(p *authpb.Permission) error {
		_, err := c.RoleGrantPermission(s.ctx(), &pb.AuthRoleGrantPermissionRequest{Name: "r", Perm: p})
		return err
	}
	all := []*authpb.Permission{
		{PermType: authpb.Permission_WRITE, Key: []byte("a")},
		{PermType: authpb.Permission_READ, Key: []byte("b"), RangeEnd: []byte("c")},
		{PermType: authpb.Permission_READWRITE, Key: []byte("x"), RangeEnd: []byte{0}},
	}
	for _, p := range all {
		require.NoError(t, grant(p))
	}
	requireStatus(t, codes.InvalidArgument, "etcdserver: permission not given", grant(nil))
	requireStatus(t, codes.InvalidArgument, "etcdserver: invalid auth management", grant(&authpb.Permission{}))
	require.Equal(t, codes.InvalidArgument, status.Code(grant(&authpb.Permission{Key: []byte("k"), PermType: 3})))
	role, err := c.RoleGet(s.ctx(), &pb.AuthRoleGetRequest{Role: "r"})
	require.NoError(t, err)
	requireEqual(t, &pb.AuthRoleGetResponse{Header: s.header(2), Perm: all}, role)
	_, err = c.RoleRevokePermission(s.ctx(), &pb.AuthRoleRevokePermissionRequest{Role: "r", Key: []byte("a")})
	require.NoError(t, err)
	_, err = c.RoleDelete(s.ctx(), &pb.AuthRoleDeleteRequest{Role: "r"})
	require.NoError(t, err)
	roles, err := c.RoleList(s.ctx(), &pb.AuthRoleListRequest{})
	require.NoError(t, err)
	requireEqual(t, &pb.AuthRoleListResponse{Header: s.header(2)}, roles)
	_, err = c.UserRevokeRole(s.ctx(), &pb.AuthUserRevokeRoleRequest{Name: "root", Role: "root"})
	require.NoError(t, err)
	_, err = c.UserDelete(s.ctx(), &pb.AuthUserDeleteRequest{Name: "u"})
	require.NoError(t, err)
	st, err := c.AuthStatus(s.ctx(), &pb.AuthStatusRequest{})
	require.NoError(t, err)
	requireEqual(t, &pb.AuthStatusResponse{Header: s.header(2), AuthRevision: 13}, st)
}

// A password that is too long is refused before anybody is asked who he is, as in etcd.
func TestPasswords(t *testing.T) {
	s := startServer(t, cheapPasswords)
	s.addRoot()
	s.addUser("u", "u/", authpb.Permission_READ)
	s.enableAuth()
	c := s.auth()
	const tooLong = "bcrypt: password length exceeds 72 bytes"
	long := strings.Repeat("x", maxPassword+1)
	_, err := c.UserAdd(s.ctx(), &pb.AuthUserAddRequest{Name: "v", Password: long})
	requireStatus(t, codes.Unknown, tooLong, err)
	_, err = c.UserChangePassword(s.ctx(), &pb.AuthUserChangePasswordRequest{Name: "u", Password: long})
	requireStatus(t, codes.Unknown, tooLong, err)
	_, err = c.UserAdd(s.ctx(), &pb.AuthUserAddRequest{Name: "v", Password: "pw"})
	requireStatus(t, codes.InvalidArgument, "etcdserver: user name is empty", err)
	_, err = c.UserAdd(s.as("u"), &pb.AuthUserAddRequest{Name: "v", Password: "pw"})
	requireStatus(t, codes.PermissionDenied, "etcdserver: permission denied", err)

	// A hash of the client's own.
	const hash = "JDJhJDA0JG5vLWhhc2gtb2YtYW55dGhpbmc=" // of nothing
	_, err = c.UserChangePassword(s.as("root"), &pb.AuthUserChangePasswordRequest{Name: "u", HashedPassword: hash})
	require.NoError(t, err)
	_, err = c.Authenticate(s.ctx(), &pb.AuthenticateRequest{Name: "u", Password: "pw"})
	requireStatus(t, codes.InvalidArgument, "etcdserver: authentication failed, invalid user ID or password", err)
	_, err = c.UserChangePassword(s.as("root"), &pb.AuthUserChangePasswordRequest{Name: "u", HashedPassword: "!"})
	requireStatus(t, codes.Unknown, "auth: authentication failed, password was given for no password user", err)
	_, err = c.UserChangePassword(s.as("root"), &pb.AuthUserChangePasswordRequest{Name: "nobody", HashedPassword: "!"})
	requireStatus(t, codes.FailedPrecondition, "etcdserver: user name not found", err)
}

// Each watch of a stream is judged by itself, by its range_end as it was given.
func TestWatchesOfAUser(t *testing.T) {
	s := startServer(t, cheapPasswords)
	s.addRoot()
	s.addUser("u", "u/", authpb.Permission_READ)
	s.enableAuth()
	root := s.as("root")
	stream, err := s.watch.Watch(s.as("u"))
	require.NoError(t, err)
	create := func(r *pb.WatchCreateRequest) *pb.WatchResponse {
		t.Helper()
		require.NoError(t, stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}}))
		resp, err := stream.Recv()
		require.NoError(t, err)
		return resp
	}
	refused := func(reason string) *pb.WatchResponse {
		return &pb.WatchResponse{Header: s.header(1), WatchId: -1, Created: true, Canceled: true, CancelReason: reason}
	}
	const denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
	requireEqual(t, refused(denied), create(&pb.WatchCreateRequest{Key: []byte("v")}))
	requireEqual(t, refused(denied), create(&pb.WatchCreateRequest{Key: []byte("u/"), RangeEnd: []byte{0}}))
	requireEqual(t, refused(denied), create(&pb.WatchCreateRequest{Key: []byte("v"), RangeEnd: []byte("a")}))
	requireEqual(t, refused(denied), create(&pb.WatchCreateRequest{RangeEnd: []byte{0}}))
	requireEqual(t, refused("etcdserver: mvcc: required revision has been compacted"),
		create(&pb.WatchCreateRequest{Key: []byte("v"), StartRevision: -1}))
	requireEqual(t, &pb.WatchResponse{Header: s.header(1), Created: true},
		create(&pb.WatchCreateRequest{Key: []byte("u/"), RangeEnd: []byte("u/z")}))

	_, err = s.auth().UserRevokeRole(root, &pb.AuthUserRevokeRoleRequest{Name: "u", Role: "u"})
	require.NoError(t, err)
	requireEqual(t, refused(denied), create(&pb.WatchCreateRequest{Key: []byte("u/")}))
	_, err = s.kv.Put(root, &pb.PutRequest{Key: []byte("u/a")})
	require.NoError(t, err)
	event, err := stream.Recv() // what was created before goes on
	require.NoError(t, err)
	require.Equal(t, "u/a", string(event.Events[0].Kv.Key))
	_, err = s.auth().UserDelete(root, &pb.AuthUserDeleteRequest{Name: "u"})
	require.NoError(t, err)
	resp := create(&pb.WatchCreateRequest{Key: []byte("u/")})
	require.Equal(t, "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", resp.CancelReason)
}

// Locks and elections are judged as the requests that they consist of.
func TestLocksOfAUser(t *testing.T) {
	s := startServer(t, cheapPasswords)
	s.addRoot()
	s.addUser("u", "u/", authpb.Permission_READWRITE)
	s.enableAuth()
	u, root := s.as("u"), s.as("root")
	lock := func(ctx context.Context, name string) (string, error) {
		resp, err := s.locks().Lock(ctx, &v3lockpb.LockRequest{Name: []byte(name)})
		return string(resp.GetKey()), err
	}
	_, err := lock(s.ctx(), "u/l")
	requireStatus(t, codes.Unknown, "etcdserver: user name is empty", err)
	_, err = lock(u, "v/l")
	requireStatus(t, codes.Unknown, "etcdserver: permission denied", err)
	held, err := lock(u, "u/l")
	require.NoError(t, err)

	// A waiter's rights are those that he has when his turn comes. His key goes when
	// its lease does.
	waiting := make(chan error, 1)
	go func() {
		_, err := lock(u, "u/l")
		waiting <- err
	}()
	require.Eventually(t, func() bool {
		resp, err := s.kv.Range(root, &pb.RangeRequest{Key: []byte("u/l/"), RangeEnd: []byte("u/l0")})
		return err == nil && resp.Count == 2
	}, 10*time.Second, time.Millisecond)
	_, err = s.auth().UserRevokeRole(root, &pb.AuthUserRevokeRoleRequest{Name: "u", Role: "u"})
	require.NoError(t, err)
	_, err = s.locks().Unlock(root, &v3lockpb.UnlockRequest{Key: []byte(held)})
	require.NoError(t, err)
	requireStatus(t, codes.Unknown, "etcdserver: permission denied", <-waiting)

	observed, err := s.elections().Observe(u, &epb.LeaderRequest{Name: []byte("v")})
	require.NoError(t, err)
	_, err = observed.Recv()
	require.EqualError(t, err, "EOF") // as in etcd
}
