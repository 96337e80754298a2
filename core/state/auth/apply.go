package auth

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// Rows is where users and roles are kept.
type Rows interface {
	SetRow(key, value []byte)
	DeleteRow(key []byte)
}

// Apply is the state after a command of those in core/auth.go, TokenGrant aside, which
// changes none. If the command fails, or changes nothing, it is s itself. The order
// of the checks is etcd's (server/auth/store.go).
func (s *State) Apply(cmd core.Command, rows Rows) (*State, error) {
	e := edit{State: *s, rows: rows}
	if err := e.run(cmd); err != nil {
		return s, err
	}
	if e.changed {
		e.rev++
	}
	if e.rev == s.rev && e.enabled == s.enabled {
		return s, nil
	}
	rows.SetRow(keys.AppendAuth(nil, keys.AuthSwitch, ""), e.appendSwitch(nil))
	next := e.State
	return &next, nil
}

// edit is a state in the making. Its maps are copied when they are first changed.
type edit struct {
	State
	rows Rows
	// changed says that a revision is due; ownUsers and ownRoles that the maps are
	// copies.
	changed, ownUsers, ownRoles bool
}

func (e *edit) run(cmd core.Command) error {
	switch c := cmd.(type) {
	case *core.AuthEnable:
		return e.enable()
	case *core.AuthDisable:
		e.changed, e.enabled = e.changed || e.enabled, false
		return nil
	case *core.UserAdd:
		return e.addUser(c)
	case *core.UserDelete:
		return e.deleteUser(c.Name)
	case *core.UserChangePassword:
		return e.changePassword(c)
	case *core.UserGrantRole:
		return e.grantRole(c)
	case *core.UserRevokeRole:
		return e.revokeRole(c)
	case *core.RoleAdd:
		return e.addRole(c.Name)
	case *core.RoleDelete:
		return e.deleteRole(c.Name)
	case *core.RoleGrantPermission:
		return e.grantPermission(c)
	case *core.RoleRevokePermission:
		return e.revokePermission(c)
	default:
		panic(fmt.Sprintf("auth: %T is no command of users and roles", cmd))
	}
}

// enable does not count as a change of users and roles.
func (e *edit) enable() error {
	if e.enabled {
		return nil
	}
	switch root, ok := e.users[core.RootUser]; {
	case !ok:
		return core.RootUserMissing
	case !root.root:
		return core.RootRoleMissing
	}
	e.enabled = true
	return nil
}

func (e *edit) addUser(c *core.UserAdd) error {
	if c.Name == "" {
		return core.UserEmpty
	}
	if _, ok := e.users[c.Name]; ok {
		return core.UserExists
	}
	u := User{User: core.User{Name: c.Name, NoPassword: c.NoPassword}}
	if !c.NoPassword {
		u.Hash = c.Hash
	}
	e.setUser(u)
	return nil
}

func (e *edit) deleteUser(name string) error {
	if e.enabled && name == core.RootUser {
		return core.InvalidAuthManagement
	}
	if _, ok := e.users[name]; !ok {
		return core.UserNotFound
	}
	e.userMap()
	delete(e.users, name)
	e.rows.DeleteRow(keys.AppendAuth(nil, keys.AuthUser, name))
	return nil
}

// changePassword leaves a user without a password as it is, which counts as a change
// all the same.
func (e *edit) changePassword(c *core.UserChangePassword) error {
	u, ok := e.User(c.Name)
	if !ok {
		return core.UserNotFound
	}
	if !u.NoPassword {
		u.Hash = c.Hash
	}
	e.setUser(u)
	return nil
}

func (e *edit) grantRole(c *core.UserGrantRole) error {
	u, ok := e.User(c.User)
	if !ok {
		return core.UserNotFound
	}
	if _, ok := e.roles[c.Role]; !ok && c.Role != core.RootRole {
		return core.RoleNotFound
	}
	at, has := slices.BinarySearch(u.Roles, c.Role)
	if has {
		return nil
	}
	u.Roles = slices.Insert(slices.Clone(u.Roles), at, c.Role)
	e.setUser(u)
	return nil
}

func (e *edit) revokeRole(c *core.UserRevokeRole) error {
	if e.enabled && c.User == core.RootUser && c.Role == core.RootRole {
		return core.InvalidAuthManagement
	}
	u, ok := e.User(c.User)
	if !ok {
		return core.UserNotFound
	}
	if !slices.Contains(u.Roles, c.Role) {
		return core.RoleNotGranted
	}
	e.setUser(u.without(c.Role))
	return nil
}

func (e *edit) addRole(name string) error {
	if name == "" {
		return core.RoleEmpty
	}
	if _, ok := e.roles[name]; ok {
		return core.RoleExists
	}
	e.setRole(core.Role{Name: name})
	return nil
}

func (e *edit) deleteRole(name string) error {
	if e.enabled && name == core.RootRole {
		return core.InvalidAuthManagement
	}
	if _, ok := e.roles[name]; !ok {
		return core.RoleNotFound
	}
	e.roleMap()
	delete(e.roles, name)
	e.rows.DeleteRow(keys.AppendAuth(nil, keys.AuthRole, name))
	for _, user := range e.Users() { // in order: rows are written alike everywhere
		if u, _ := e.User(user); slices.Contains(u.Roles, name) {
			e.setUser(u.without(name))
		}
	}
	return nil
}

// grantPermission differs from etcd's in one point: of several permissions that begin
// with the same key, etcd finds only the first, and adds to the others a second one
// of the same interval, so that what a later grant takes away stays.
func (e *edit) grantPermission(c *core.RoleGrantPermission) error {
	p := c.Permission
	if p.Type == core.PermitUnset {
		return core.PermissionNotGiven
	}
	if len(p.Key) == 0 || !p.Single() && !p.Unbounded() && bytes.Compare(p.Key, p.End) >= 0 {
		return core.InvalidAuthManagement
	}
	role, ok := e.Role(c.Role)
	if !ok {
		return core.RoleNotFound
	}
	role.Permissions = slices.Clone(role.Permissions)
	at := slices.IndexFunc(role.Permissions, func(old core.Permission) bool { return same(old.Interval, p.Interval) })
	if at < 0 {
		role.Permissions = append(role.Permissions, p)
		slices.SortStableFunc(role.Permissions, func(a, b core.Permission) int { return bytes.Compare(a.Key, b.Key) })
	} else {
		role.Permissions[at].Type = p.Type
	}
	e.setRole(role)
	return nil
}

func (e *edit) revokePermission(c *core.RoleRevokePermission) error {
	role, ok := e.Role(c.Role)
	if !ok {
		return core.RoleNotFound
	}
	left := slices.DeleteFunc(slices.Clone(role.Permissions), func(p core.Permission) bool { return same(p.Interval, c.Interval) })
	if len(left) == len(role.Permissions) {
		return core.PermissionNotGranted
	}
	role.Permissions = left
	e.setRole(role)
	return nil
}

func same(a, b core.Interval) bool { return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.End, b.End) }

func (u User) without(role string) User {
	u.Roles = slices.DeleteFunc(slices.Clone(u.Roles), func(r string) bool { return r == role })
	return u
}

func (e *edit) setUser(u User) {
	e.userMap()
	e.users[u.Name] = e.resolve(u)
	e.rows.SetRow(keys.AppendAuth(nil, keys.AuthUser, u.Name), u.append(nil))
}

// setRole sets a role, and finds anew what it lets those do who have it.
func (e *edit) setRole(r core.Role) {
	e.roleMap()
	e.roles[r.Name] = &r
	e.rows.SetRow(keys.AppendAuth(nil, keys.AuthRole, r.Name), appendRole(nil, &r))
	for name, a := range e.users {
		if slices.Contains(a.Roles, r.Name) {
			e.userMap()
			e.users[name] = e.resolve(a.User)
		}
	}
}

func (e *edit) userMap() {
	e.changed = true
	if !e.ownUsers {
		e.users, e.ownUsers = cloneMap(e.users), true
	}
}

func (e *edit) roleMap() {
	e.changed = true
	if !e.ownRoles {
		e.roles, e.ownRoles = cloneMap(e.roles), true
	}
}

func cloneMap[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return maps.Clone(m)
}
