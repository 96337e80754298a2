package keys

// The parts of the a table: the second byte of its keys.
const (
	authSwitch = 's'
	authUser   = 'u'
	authRole   = 'r'
)

// AuthKind tells the rows of the a table apart.
type AuthKind uint8

// The kinds.
const (
	// AuthSwitch is whether authentication is on, and the revision of users and
	// roles; there is one such row at most.
	AuthSwitch AuthKind = iota
	AuthUser
	AuthRole
)

var authKinds = [...]byte{AuthSwitch: authSwitch, AuthUser: authUser, AuthRole: authRole}

// AppendAuth appends the a key of a user, or a role, or the switch, whose name is
// empty.
func AppendAuth(dst []byte, kind AuthKind, name string) []byte {
	dst = append(dst, tagAuth, authKinds[kind])
	dst = append(dst, name...)
	return append(dst, sentinel)
}

// DecodeAuth splits an a key.
func DecodeAuth(b []byte) (kind AuthKind, name string, ok bool) {
	if len(b) < 3 || b[0] != tagAuth || b[len(b)-1] != sentinel {
		return 0, "", false
	}
	name = string(b[2 : len(b)-1])
	for i, c := range authKinds {
		if b[1] == c {
			kind = AuthKind(i)
			return kind, name, (kind == AuthSwitch) == (name == "")
		}
	}
	return 0, "", false
}

// AuthBounds are the bounds of the a table.
func AuthBounds() (lower, upper []byte) { return table(tagAuth) }
