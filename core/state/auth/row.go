package auth

import (
	"encoding/binary"
	"fmt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// The first byte of each row is its format. Numbers are uvarint, strings have their
// length in front.
//
//	switch  on (a byte), revision
//	user    without a password (a byte), hash, number of roles, roles
//	role    number of permissions, and of each the type (a byte), key, end
const format = 1

// Scanner reads rows.
type Scanner interface {
	// ScanRows calls fn for the rows in [lower, upper), in order, until it returns
	// false. The slices are valid during the call only.
	ScanRows(lower, upper []byte, fn func(key, value []byte) bool) error
}

// Load reads the state from its rows. There are none in a store that has never known
// users and roles.
func Load(rows Scanner) (*State, error) {
	s := &State{rev: firstRev, users: map[string]*account{}, roles: map[string]*core.Role{}}
	var bad error
	var users []User
	lower, upper := keys.AuthBounds()
	err := rows.ScanRows(lower, upper, func(key, value []byte) bool {
		kind, name, ok := keys.DecodeAuth(key)
		d := decoder{rest: value}
		if d.byte() != format || !ok {
			bad = fmt.Errorf("row %x is none of users and roles that this version knows", key)
			return false
		}
		switch kind {
		case keys.AuthSwitch:
			s.enabled, s.rev = d.flag(), d.uvarint()
		case keys.AuthUser:
			users = append(users, d.user(name))
		case keys.AuthRole:
			s.roles[name] = d.role(name)
		}
		if d.bad || len(d.rest) != 0 {
			// The row itself is not shown: it may hold the hash of a password.
			bad = fmt.Errorf("the row of %q among users and roles is malformed", name)
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		s.users[u.Name] = s.resolve(u)
	}
	return s, nil
}

// Restore writes the rows of a state that comes from elsewhere, such as a backup.
// Names are unique, roles of users sorted, permissions in key order.
func Restore(rows Rows, enabled bool, rev uint64, users []User, roles []core.Role) {
	s := State{enabled: enabled, rev: max(rev, firstRev)}
	rows.SetRow(keys.AppendAuth(nil, keys.AuthSwitch, ""), s.appendSwitch(nil))
	for _, u := range users {
		rows.SetRow(keys.AppendAuth(nil, keys.AuthUser, u.Name), u.append(nil))
	}
	for i := range roles {
		rows.SetRow(keys.AppendAuth(nil, keys.AuthRole, roles[i].Name), appendRole(nil, &roles[i]))
	}
}

func (s *State) appendSwitch(dst []byte) []byte {
	return binary.AppendUvarint(append(dst, format, flag(s.enabled)), s.rev)
}

func (u *User) append(dst []byte) []byte {
	dst = append(dst, format, flag(u.NoPassword))
	dst = appendString(dst, u.Hash)
	dst = binary.AppendUvarint(dst, uint64(len(u.Roles)))
	for _, role := range u.Roles {
		dst = appendString(dst, role)
	}
	return dst
}

func appendRole(dst []byte, r *core.Role) []byte {
	dst = binary.AppendUvarint(append(dst, format), uint64(len(r.Permissions)))
	for i := range r.Permissions {
		p := &r.Permissions[i]
		dst = appendString(append(dst, byte(p.Type)), p.Key)
		dst = appendString(dst, p.End)
	}
	return dst
}

func appendString[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// decoder takes a row apart from the front; bad says that it was too short or out of
// range. What it returns is copied.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.bad = true
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) flag() bool {
	b := d.byte()
	d.bad = d.bad || b > 1
	return b == 1
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// count is a number of things that each take a byte at least.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) bytes() []byte {
	n := d.count()
	if n == 0 {
		return nil
	}
	b := append([]byte(nil), d.rest[:n]...)
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) user(name string) User {
	u := User{User: core.User{Name: name, NoPassword: d.flag()}, Hash: d.bytes()}
	for range d.count() {
		u.Roles = append(u.Roles, string(d.bytes()))
	}
	return u
}

func (d *decoder) role(name string) *core.Role {
	r := &core.Role{Name: name}
	for range d.count() {
		p := core.Permission{Type: core.PermissionType(d.byte())}
		p.Key, p.End = d.bytes(), d.bytes()
		r.Permissions = append(r.Permissions, p)
	}
	return r
}
