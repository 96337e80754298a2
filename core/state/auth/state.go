package auth

import (
	"maps"
	"slices"

	"github.com/triglot/triglot/core"
)

// firstRev is the revision of users and roles before there were any (etcd T-80).
const firstRev = 1

// User is a user as it is kept.
type User struct {
	core.User
	// Hash is bcrypt's of the password; empty if no password is the user's.
	Hash []byte
}

// State is users and roles of one moment, and whether they count. It is immutable,
// and safe for concurrent use.
type State struct {
	enabled bool
	rev     uint64
	users   map[string]*account
	roles   map[string]*core.Role
}

// account is a user with what its roles come to.
type account struct {
	User
	root        bool
	read, write union
}

// Empty is the state of a new store: there are neither users nor roles.
func Empty() *State { return &State{rev: firstRev} }

// Enabled reports whether authentication is on.
func (s *State) Enabled() bool { return s.enabled }

// Rev is the revision of users and roles.
func (s *State) Rev() uint64 { return s.rev }

// Users are the names of all users, sorted. The caller owns them.
func (s *State) Users() []string { return slices.Sorted(maps.Keys(s.users)) }

// User returns a user. What it holds is shared.
func (s *State) User(name string) (User, bool) {
	a, ok := s.users[name]
	if !ok {
		return User{}, false
	}
	return a.User, true
}

// Roles are the names of all roles, sorted. The caller owns them.
func (s *State) Roles() []string { return slices.Sorted(maps.Keys(s.roles)) }

// Role returns a role. What it holds is shared.
func (s *State) Role(name string) (core.Role, bool) {
	r, ok := s.roles[name]
	if !ok {
		return core.Role{}, false
	}
	return *r, true
}

// resolve finds what the roles of a user come to. A role without a record, as root's
// may be, allows nothing by itself.
func (s *State) resolve(u User) *account {
	a := &account{User: u}
	var read, write []span
	for _, name := range u.Roles {
		a.root = a.root || name == core.RootRole
		role, ok := s.roles[name]
		if !ok {
			continue
		}
		for _, p := range role.Permissions {
			switch p.Type {
			case core.PermitUnset: // nothing
			case core.PermitRead:
				read = append(read, spanOf(p.Interval))
			case core.PermitWrite:
				write = append(write, spanOf(p.Interval))
			case core.PermitReadWrite:
				read, write = append(read, spanOf(p.Interval)), append(write, spanOf(p.Interval))
			}
		}
	}
	a.read, a.write = unionOf(read), unionOf(write)
	return a
}
