package etcdv3

import (
	"context"
	"encoding/base64"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/triglot/triglot/core"
)

// maxPassword is the number of bytes of a password that bcrypt looks at.
const maxPassword = 72

// errPasswordTooLong is bcrypt's refusal, as etcd passes it on.
var errPasswordTooLong = status.Error(codes.Unknown, "bcrypt: password length exceeds 72 bytes")

// authServer is etcd's Auth service (etcd T-80 to T-85).
type authServer struct{ *face }

func (f *face) auth() service {
	s := authServer{f}
	return service{desc: pb.Auth_ServiceDesc, unary: map[string]grpc.MethodHandler{
		"AuthEnable":   unary(f, s.enable),
		"AuthDisable":  unary(f, s.disable),
		"AuthStatus":   unary(f, s.status),
		"Authenticate": unidentified(f, s.authenticate),

		"UserAdd":            unary(f, s.userAdd),
		"UserGet":            unary(f, s.userGet),
		"UserList":           unary(f, s.userList),
		"UserDelete":         unary(f, s.userDelete),
		"UserChangePassword": unary(f, s.userChangePassword),
		"UserGrantRole":      unary(f, s.userGrantRole),
		"UserRevokeRole":     unary(f, s.userRevokeRole),

		"RoleAdd":              unary(f, s.roleAdd),
		"RoleGet":              unary(f, s.roleGet),
		"RoleList":             unary(f, s.roleList),
		"RoleDelete":           unary(f, s.roleDelete),
		"RoleGrantPermission":  unary(f, s.roleGrantPermission),
		"RoleRevokePermission": unary(f, s.roleRevokePermission),
	}}
}

// change has cmd executed and returns the header of its reply.
func (s authServer) change(ctx context.Context, who core.Principal, cmd core.Command) (*pb.ResponseHeader, error) {
	res, err := s.Store.Do(ctx, who, cmd)
	if err != nil {
		return nil, err
	}
	return s.header(res.Rev), nil
}

func (s authServer) enable(
	ctx context.Context, who core.Principal, _ *pb.AuthEnableRequest,
) (*pb.AuthEnableResponse, error) {
	h, err := s.change(ctx, who, &core.AuthEnable{})
	if err != nil {
		return nil, err
	}
	return &pb.AuthEnableResponse{Header: h}, nil
}

func (s authServer) disable(
	ctx context.Context, who core.Principal, _ *pb.AuthDisableRequest,
) (*pb.AuthDisableResponse, error) {
	h, err := s.change(ctx, who, &core.AuthDisable{})
	if err != nil {
		return nil, err
	}
	return &pb.AuthDisableResponse{Header: h}, nil
}

// status is for everybody. It shows what was acknowledged before the call.
func (s authServer) status(
	ctx context.Context, who core.Principal, _ *pb.AuthStatusRequest,
) (*pb.AuthStatusResponse, error) {
	view, err := s.Store.View(ctx, who, core.Consistency{Linearizable: true})
	if err != nil {
		return nil, err
	}
	defer view.Close()
	st := s.Auth.Status()
	return &pb.AuthStatusResponse{Header: s.header(view.Rev()), Enabled: st.Enabled, AuthRevision: st.Rev}, nil
}

func (s authServer) authenticate(
	ctx context.Context, _ core.Principal, r *pb.AuthenticateRequest,
) (*pb.AuthenticateResponse, error) {
	token, rev, err := s.Auth.Login(ctx, r.Name, r.Password)
	if err != nil {
		return nil, err
	}
	return &pb.AuthenticateResponse{Header: s.header(rev), Token: token}, nil
}

// userAdd has the password hashed here, whatever hash the client sends, as in etcd.
func (s authServer) userAdd(
	ctx context.Context, who core.Principal, r *pb.AuthUserAddRequest,
) (*pb.AuthUserAddResponse, error) {
	cmd := &core.UserAdd{Name: r.Name, NoPassword: r.Options.GetNoPassword()}
	if !cmd.NoPassword {
		var err error
		if cmd.Hash, err = s.hash(ctx, who, r.Password); err != nil {
			return nil, err
		}
	}
	h, err := s.change(ctx, who, cmd)
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserAddResponse{Header: h}, nil
}

func (s authServer) userGet(
	ctx context.Context, who core.Principal, r *pb.AuthUserGetRequest,
) (*pb.AuthUserGetResponse, error) {
	user, rev, err := s.Auth.User(ctx, who, r.Name)
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserGetResponse{Header: s.header(rev), Roles: user.Roles}, nil
}

func (s authServer) userList(
	ctx context.Context, who core.Principal, _ *pb.AuthUserListRequest,
) (*pb.AuthUserListResponse, error) {
	users, rev, err := s.Auth.Users(ctx, who)
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserListResponse{Header: s.header(rev), Users: users}, nil
}

func (s authServer) userDelete(
	ctx context.Context, who core.Principal, r *pb.AuthUserDeleteRequest,
) (*pb.AuthUserDeleteResponse, error) {
	h, err := s.change(ctx, who, &core.UserDelete{Name: r.Name})
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserDeleteResponse{Header: h}, nil
}

// userChangePassword takes a hash of the client's where there is no password, as in
// etcd. With neither, the user has a password that nothing proves.
func (s authServer) userChangePassword(
	ctx context.Context, who core.Principal, r *pb.AuthUserChangePasswordRequest,
) (*pb.AuthUserChangePasswordResponse, error) {
	cmd := &core.UserChangePassword{Name: r.Name}
	var err error
	if r.Password != "" {
		cmd.Hash, err = s.hash(ctx, who, r.Password)
	} else {
		cmd.Hash, err = s.hashOf(ctx, who, r)
	}
	if err != nil {
		return nil, err
	}
	h, err := s.change(ctx, who, cmd)
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserChangePasswordResponse{Header: h}, nil
}

// hash makes what may be stored of a password, which takes long: for those only who
// may store it.
func (s authServer) hash(ctx context.Context, who core.Principal, password string) ([]byte, error) {
	if len(password) > maxPassword {
		return nil, errPasswordTooLong
	}
	if err := s.administers(ctx, who); err != nil {
		return nil, err
	}
	return s.Auth.HashPassword(ctx, password)
}

// hashOf is the hash that the client gives. etcd decodes it last of all: what it says
// of one that it cannot decode comes behind what it says of who changes whom.
func (s authServer) hashOf(
	ctx context.Context, who core.Principal, r *pb.AuthUserChangePasswordRequest,
) ([]byte, error) {
	hash, malformed := base64.StdEncoding.DecodeString(r.HashedPassword)
	if malformed == nil {
		return hash, nil
	}
	if err := s.administers(ctx, who); err != nil {
		return nil, err
	}
	user, _, err := s.Auth.User(ctx, who, r.Name)
	switch {
	case err != nil:
		return nil, err
	case user.NoPassword:
		return nil, nil
	default:
		return nil, core.NoPasswordUser
	}
}

func (s authServer) userGrantRole(
	ctx context.Context, who core.Principal, r *pb.AuthUserGrantRoleRequest,
) (*pb.AuthUserGrantRoleResponse, error) {
	h, err := s.change(ctx, who, &core.UserGrantRole{User: r.User, Role: r.Role})
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserGrantRoleResponse{Header: h}, nil
}

func (s authServer) userRevokeRole(
	ctx context.Context, who core.Principal, r *pb.AuthUserRevokeRoleRequest,
) (*pb.AuthUserRevokeRoleResponse, error) {
	h, err := s.change(ctx, who, &core.UserRevokeRole{User: r.Name, Role: r.Role})
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserRevokeRoleResponse{Header: h}, nil
}

func (s authServer) roleAdd(
	ctx context.Context, who core.Principal, r *pb.AuthRoleAddRequest,
) (*pb.AuthRoleAddResponse, error) {
	h, err := s.change(ctx, who, &core.RoleAdd{Name: r.Name})
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleAddResponse{Header: h}, nil
}

func (s authServer) roleGet(
	ctx context.Context, who core.Principal, r *pb.AuthRoleGetRequest,
) (*pb.AuthRoleGetResponse, error) {
	role, rev, err := s.Auth.Role(ctx, who, r.Role)
	if err != nil {
		return nil, err
	}
	resp := &pb.AuthRoleGetResponse{Header: s.header(rev)}
	if role.Name == core.RootRole { // whatever was granted to it
		resp.Perm = []*authpb.Permission{{PermType: authpb.Permission_READWRITE, RangeEnd: core.FromKey}}
		return resp, nil
	}
	for _, p := range role.Permissions {
		resp.Perm = append(resp.Perm, &authpb.Permission{
			PermType: authpb.Permission_Type(p.Type), Key: p.Key, RangeEnd: p.End,
		})
	}
	return resp, nil
}

func (s authServer) roleList(
	ctx context.Context, who core.Principal, _ *pb.AuthRoleListRequest,
) (*pb.AuthRoleListResponse, error) {
	roles, rev, err := s.Auth.Roles(ctx, who)
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleListResponse{Header: s.header(rev), Roles: roles}, nil
}

func (s authServer) roleDelete(
	ctx context.Context, who core.Principal, r *pb.AuthRoleDeleteRequest,
) (*pb.AuthRoleDeleteResponse, error) {
	h, err := s.change(ctx, who, &core.RoleDelete{Name: r.Role})
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleDeleteResponse{Header: h}, nil
}

func (s authServer) roleGrantPermission(
	ctx context.Context, who core.Principal, r *pb.AuthRoleGrantPermissionRequest,
) (*pb.AuthRoleGrantPermissionResponse, error) {
	if r.Perm == nil {
		if err := s.administers(ctx, who); err != nil {
			return nil, err
		}
		return nil, core.PermissionNotGiven
	}
	if _, known := authpb.Permission_Type_name[int32(r.Perm.PermType)]; !known {
		return nil, core.Errorf(core.InvalidArgument, "unknown permission type %d", r.Perm.PermType)
	}
	h, err := s.change(ctx, who, &core.RoleGrantPermission{Role: r.Name, Permission: core.Permission{
		Type:     core.PermissionType(r.Perm.PermType),
		Interval: core.Interval{Key: r.Perm.Key, End: r.Perm.RangeEnd},
	}})
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleGrantPermissionResponse{Header: h}, nil
}

func (s authServer) roleRevokePermission(
	ctx context.Context, who core.Principal, r *pb.AuthRoleRevokePermissionRequest,
) (*pb.AuthRoleRevokePermissionResponse, error) {
	h, err := s.change(ctx, who, &core.RoleRevokePermission{
		Role: r.Role, Interval: core.Interval{Key: r.Key, End: r.RangeEnd},
	})
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleRevokePermissionResponse{Header: h}, nil
}
