package oracle

import (
	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// The users, roles and passwords of a run. Few, so that changes meet those whom they
// concern.
var (
	users     = []string{"root", "alice", "bob", "carol"}
	roles     = []string{"root", "r1", "r2"}
	passwords = []string{"one", "two"}
)

// permitted are the intervals that permissions are of. No two begin with the same key:
// of such, etcd finds only the first when it is to replace one, and so keeps a
// permission beside the one that was to take its place.
var permitted = []keyRange{
	{"\x00", "\x00"}, {"a", "b"}, {"a/", ""}, {"a/1", "b"}, {"b", "c"}, {"b/1", "\x00"}, {"c", ""}, {"\xff\xff", ""},
}

// prelude makes a store that random changes of users and roles leave something in:
// root, two users with a role each, and authentication on.
func prelude() []namedRequest {
	user := func(name string) namedRequest {
		return namedRequest{"user-add", &pb.AuthUserAddRequest{Name: name, Password: passwords[0]}}
	}
	grant := func(user, role string) namedRequest {
		return namedRequest{"user-grant-role", &pb.AuthUserGrantRoleRequest{User: user, Role: role}}
	}
	permit := func(role string, kind authpb.Permission_Type, key, end string) namedRequest {
		return namedRequest{"role-grant", &pb.AuthRoleGrantPermissionRequest{Name: role, Perm: &authpb.Permission{
			PermType: kind, Key: []byte(key), RangeEnd: []byte(end),
		}}}
	}
	role := func(name string) namedRequest {
		return namedRequest{"role-add", &pb.AuthRoleAddRequest{Name: name}}
	}
	return []namedRequest{
		user("root"), grant("root", "root"), user("alice"), user("bob"), role("r1"), role("r2"),
		permit("r1", authpb.READWRITE, "a", "b"), permit("r1", authpb.READ, "b", "c"),
		permit("r2", authpb.WRITE, "b/1", "\x00"), permit("r2", authpb.READ, "a", "b"),
		grant("alice", "r1"), grant("bob", "r2"),
		{"auth-enable", &pb.AuthEnableRequest{}},
	}
}

// namedRequest is a unary call.
type namedRequest struct {
	name    string
	request proto.Message
}

// caller draws on whose behalf a request is made: mostly root's, so that things
// happen.
func (g generator) caller() string {
	switch n := g.IntN(100); {
	case n < 45:
		return "root"
	case n < 92:
		return pick(g, users[1:])
	case n < 96:
		return stranger
	default:
		return ""
	}
}

// changer draws who asks for a change: to log in takes nobody, most else takes root.
func (g generator) changer(change string) string {
	if change == "authenticate" {
		return ""
	}
	if g.chance(80) {
		return "root"
	}
	return g.caller()
}

func (g generator) user() string {
	if g.chance(2) {
		return ""
	}
	return pick(g, users)
}

func (g generator) role() string {
	if g.chance(2) {
		return ""
	}
	return pick(g, roles)
}

// change draws a request that concerns users and roles. Who cannot log in any more,
// root above all, is soon given another chance: a run in which nobody may do anything
// shows little.
func (g generator) change() namedRequest {
	switch n := g.IntN(100); {
	case n < 34:
		return namedRequest{"authenticate", &pb.AuthenticateRequest{Name: g.user(), Password: pick(g, passwords)}}
	case n < 40:
		add := &pb.AuthUserAddRequest{Name: g.user(), Password: pick(g, passwords)}
		if g.chance(15) {
			add.Options = &authpb.UserAddOptions{NoPassword: true}
		}
		return namedRequest{"user-add", add}
	case n < 43:
		return namedRequest{"user-delete", &pb.AuthUserDeleteRequest{Name: g.user()}}
	case n < 46:
		return namedRequest{"user-passwd", &pb.AuthUserChangePasswordRequest{Name: g.user(), Password: pick(g, passwords)}}
	case n < 54:
		return namedRequest{"user-grant-role", &pb.AuthUserGrantRoleRequest{User: g.user(), Role: g.role()}}
	case n < 57:
		return namedRequest{"user-revoke-role", &pb.AuthUserRevokeRoleRequest{Name: g.user(), Role: g.role()}}
	case n < 61:
		return namedRequest{"role-add", &pb.AuthRoleAddRequest{Name: g.role()}}
	case n < 63:
		return namedRequest{"role-delete", &pb.AuthRoleDeleteRequest{Role: g.role()}}
	case n < 75:
		return namedRequest{"role-grant", &pb.AuthRoleGrantPermissionRequest{Name: g.role(), Perm: g.permission()}}
	case n < 79:
		in := pick(g, permitted)
		return namedRequest{"role-revoke", &pb.AuthRoleRevokePermissionRequest{Role: g.role(), Key: []byte(in.key), RangeEnd: []byte(in.end)}}
	case n < 83:
		return namedRequest{"user-get", &pb.AuthUserGetRequest{Name: g.user()}}
	case n < 87:
		return namedRequest{"role-get", &pb.AuthRoleGetRequest{Role: g.role()}}
	case n < 89:
		return namedRequest{"user-list", &pb.AuthUserListRequest{}}
	case n < 91:
		return namedRequest{"role-list", &pb.AuthRoleListRequest{}}
	case n < 93:
		return namedRequest{"auth-status", &pb.AuthStatusRequest{}}
	case n < 94:
		return namedRequest{"auth-disable", &pb.AuthDisableRequest{}}
	default:
		return namedRequest{"auth-enable", &pb.AuthEnableRequest{}}
	}
}

func (g generator) permission() *authpb.Permission {
	if g.chance(2) {
		return nil
	}
	in := pick(g, permitted)
	if g.chance(3) {
		in = keyRange{key: "b", end: "a"} // is refused
	}
	return &authpb.Permission{PermType: authpb.Permission_Type(g.IntN(3)), Key: []byte(in.key), RangeEnd: []byte(in.end)}
}
