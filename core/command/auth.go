package command

import (
	"errors"
	"fmt"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command/commandpb"
)

// The field numbers of commandpb.Command for what concerns users and roles.
const (
	fieldAs protowire.Number = 14

	fieldAsUser    protowire.Number = 1
	fieldAsAuthRev protowire.Number = 2
	fieldAsMember  protowire.Number = 3
	fieldAsIDs     protowire.Number = 5

	fieldAuthEnable           protowire.Number = 17
	fieldAuthDisable          protowire.Number = 18
	fieldUserAdd              protowire.Number = 19
	fieldUserDelete           protowire.Number = 20
	fieldUserChangePassword   protowire.Number = 21
	fieldUserGrantRole        protowire.Number = 22
	fieldUserRevokeRole       protowire.Number = 23
	fieldRoleAdd              protowire.Number = 24
	fieldRoleDelete           protowire.Number = 25
	fieldRoleGrantPermission  protowire.Number = 26
	fieldRoleRevokePermission protowire.Number = 27
	fieldTokenGrant           protowire.Number = 28
)

// AppendCommandAs is AppendCommand with the one who asks for c. For nobody, the zero
// value, it is the same.
func AppendCommandAs(dst []byte, who core.Principal, c core.Command) []byte {
	if who != (core.Principal{}) {
		size := sizeBytes(len(who.User)) + sizeUint(who.AuthRev) + sizeBool(who.Member) + sizeBytes(len(who.IDs))
		dst = appendHead(dst, fieldAs, size)
		dst = appendBytes(dst, fieldAsUser, who.User)
		dst = appendUint(dst, fieldAsAuthRev, who.AuthRev)
		dst = appendBool(dst, fieldAsMember, who.Member)
		dst = appendBytes(dst, fieldAsIDs, who.IDs)
	}
	return AppendCommand(dst, c)
}

// DecodeCommandAs decodes one command and who asked for it. The command aliases b, and so
// do the identities.
func DecodeCommandAs(b []byte) (core.Command, core.Principal, error) {
	var who core.Principal
	if len(b) > 0 && protowire.Number(b[0]>>3) == fieldAs {
		_, body, rest, err := nextField(b)
		if err == nil {
			err = decodeAs(&who, body)
		}
		if err != nil {
			return nil, who, fmt.Errorf("%w: who asks: %w", ErrMalformed, err)
		}
		b = rest
	}
	c, err := DecodeCommand(b)
	return c, who, err
}

// decodeAs reads who asks. The user's name is kept with what was done and shares nothing
// with b. The identities are looked at and forgotten, and come with every write of a
// ZooKeeper client: they are not copied.
func decodeAs(who *core.Principal, b []byte) error {
	s := fields{rest: b}
	for s.next() {
		switch s.field {
		case fieldAsUser:
			who.User = string(s.asBytes())
		case fieldAsAuthRev:
			who.AuthRev = s.asNumber()
		case fieldAsMember:
			who.Member = s.asBool()
		case fieldAsIDs:
			ids := s.asBytes()
			who.IDs = core.Identities(unsafe.String(unsafe.SliceData(ids), len(ids)))
		default:
			s.fail(unknownField(s.field))
		}
	}
	return s.err
}

// authFrame is the message of a command that concerns users and roles; field is zero
// if c is another.
func authFrame(c core.Command) (field protowire.Number, m message) {
	switch c := c.(type) {
	case *core.AuthEnable:
		return fieldAuthEnable, &commandpb.AuthEnable{}
	case *core.AuthDisable:
		return fieldAuthDisable, &commandpb.AuthDisable{}
	case *core.UserAdd:
		return fieldUserAdd, &commandpb.UserAdd{Name: c.Name, Hash: c.Hash, NoPassword: c.NoPassword}
	case *core.UserDelete:
		return fieldUserDelete, &commandpb.UserDelete{Name: c.Name}
	case *core.UserChangePassword:
		return fieldUserChangePassword, &commandpb.UserChangePassword{Name: c.Name, Hash: c.Hash}
	case *core.UserGrantRole:
		return fieldUserGrantRole, &commandpb.UserGrantRole{User: c.User, Role: c.Role}
	case *core.UserRevokeRole:
		return fieldUserRevokeRole, &commandpb.UserRevokeRole{User: c.User, Role: c.Role}
	case *core.RoleAdd:
		return fieldRoleAdd, &commandpb.RoleAdd{Name: c.Name}
	case *core.RoleDelete:
		return fieldRoleDelete, &commandpb.RoleDelete{Name: c.Name}
	case *core.RoleGrantPermission:
		p := c.Permission
		return fieldRoleGrantPermission, &commandpb.RoleGrantPermission{Role: c.Role, Type: uint32(p.Type), Key: p.Key, End: p.End}
	case *core.RoleRevokePermission:
		return fieldRoleRevokePermission, &commandpb.RoleRevokePermission{Role: c.Role, Key: c.Key, End: c.End}
	case *core.TokenGrant:
		return fieldTokenGrant, &commandpb.TokenGrant{User: c.User, AuthRev: c.AuthRev, Secret: c.Secret[:]}
	}
	return 0, nil
}

// decodeAuth decodes a command that concerns users and roles. It shares nothing with
// body: what it holds is kept.
func decodeAuth(field protowire.Number, body []byte) (core.Command, error) {
	switch field {
	case fieldAuthEnable:
		return &core.AuthEnable{}, nil
	case fieldAuthDisable:
		return &core.AuthDisable{}, nil
	case fieldUserAdd:
		var m commandpb.UserAdd
		err := m.UnmarshalVT(body)
		return &core.UserAdd{Name: m.Name, Hash: m.Hash, NoPassword: m.NoPassword}, err
	case fieldUserDelete:
		var m commandpb.UserDelete
		err := m.UnmarshalVT(body)
		return &core.UserDelete{Name: m.Name}, err
	case fieldUserChangePassword:
		var m commandpb.UserChangePassword
		err := m.UnmarshalVT(body)
		return &core.UserChangePassword{Name: m.Name, Hash: m.Hash}, err
	case fieldUserGrantRole:
		var m commandpb.UserGrantRole
		err := m.UnmarshalVT(body)
		return &core.UserGrantRole{User: m.User, Role: m.Role}, err
	case fieldUserRevokeRole:
		var m commandpb.UserRevokeRole
		err := m.UnmarshalVT(body)
		return &core.UserRevokeRole{User: m.User, Role: m.Role}, err
	case fieldRoleAdd:
		var m commandpb.RoleAdd
		err := m.UnmarshalVT(body)
		return &core.RoleAdd{Name: m.Name}, err
	case fieldRoleDelete:
		var m commandpb.RoleDelete
		err := m.UnmarshalVT(body)
		return &core.RoleDelete{Name: m.Name}, err
	case fieldTokenGrant:
		return decodeTokenGrant(body)
	default:
		return decodePermission(field, body)
	}
}

func decodePermission(field protowire.Number, body []byte) (core.Command, error) {
	if field == fieldRoleRevokePermission {
		var m commandpb.RoleRevokePermission
		err := m.UnmarshalVT(body)
		return &core.RoleRevokePermission{Role: m.Role, Interval: core.Interval{Key: m.Key, End: m.End}}, err
	}
	var m commandpb.RoleGrantPermission
	err := m.UnmarshalVT(body)
	return &core.RoleGrantPermission{Role: m.Role, Permission: core.Permission{
		Type: core.PermissionType(m.Type), Interval: core.Interval{Key: m.Key, End: m.End},
	}}, err
}

func decodeTokenGrant(body []byte) (core.Command, error) {
	var m commandpb.TokenGrant
	if err := m.UnmarshalVT(body); err != nil {
		return nil, err
	}
	c := &core.TokenGrant{User: m.User, AuthRev: m.AuthRev}
	if copy(c.Secret[:], m.Secret) != len(c.Secret) {
		return nil, errors.New("a secret's hash of another length")
	}
	return c, nil
}
