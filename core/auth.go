package core

import (
	"context"
	"math"
)

// Principal is who makes a request. The zero value is an anonymous caller. While
// authentication is off, it does not matter.
type Principal struct {
	// User is the etcd user that the caller proved to be, or empty.
	User string
	// AuthRev is the revision of users and roles under which that was established.
	// A request of an older one fails with AuthOldRevision: what the user may do may
	// have changed since.
	AuthRev uint64
	// Member is set by the member for what it does itself: it may do everything.
	Member bool
	// IDs is who the caller is to the ACLs of znodes.
	IDs Identities
}

// AnyAuthRev is the AuthRev of one who is known by nothing that a change of users and
// roles could make void: a ZooKeeper client.
const AnyAuthRev uint64 = math.MaxUint64

// ZooKeeperUser is the user whose rights ZooKeeper clients have.
const ZooKeeperUser = "zookeeper"

// Credentials are what a caller shows to prove who it is. An empty field was not
// shown.
type Credentials struct {
	// Token is what Auth.Login gave, or a JWT.
	Token string
	// CertificateSubject is the common name of the client certificate that the
	// connection was verified with. A token goes before it.
	CertificateSubject string
	// ZooKeeper says that the caller is a ZooKeeper client. It is the first user that
	// Digests, CertificateSubject and SASLUser name, in this order; or else the user
	// "zookeeper"; or else nobody, who may do nothing. A token does not count.
	ZooKeeper bool
	// Digests are what a ZooKeeper client gave with addauth, in order. One that is not
	// the password of an etcd user names none.
	Digests []Digest
	// SASLUser is who a ZooKeeper client proved to be by SASL.
	SASLUser string
}

// Digest is a name and a password, in the clear. They are not to be kept longer than
// the connection lasts, nor logged.
type Digest struct{ User, Password string }

// Auth is who callers are, and the secrets that prove it. What users and roles there
// are is changed by commands.
type Auth interface {
	// Status is at hand: a few loads.
	Status() AuthStatus
	// Resolve says who shows c; the caller adds the IDs. While authentication is off,
	// everybody is anonymous. It fails with InvalidAuthToken. One who shows nothing is
	// anonymous, whose requests fail with UserEmpty.
	//
	// A ZooKeeper client is resolved when it connects or shows something new, and again
	// before a request whenever Status is another than it was then: what it is in
	// between, it is by the users and roles at hand when a request is judged. Digests
	// take as long as Login where they have not been proven of late, and fail as it
	// does with TooManyRequests.
	Resolve(ctx context.Context, c Credentials) (Principal, error)
	// Login proves a user by password and returns a token. It fails with AuthFailed,
	// NoPasswordUser and AuthNotEnabled, and with TooManyRequests if those that wait
	// for their turn hold too much memory.
	Login(ctx context.Context, user, password string) (token string, rev Rev, err error)
	// HashPassword makes what a command may hold of a password. It takes tens of
	// milliseconds of CPU, and waits for its turn.
	HashPassword(ctx context.Context, password string) ([]byte, error)
	// Accounts are the users and roles as they were acknowledged before the call.
	Accounts
}

// Accounts is what can be learnt of users and roles. Names are sorted. A user may
// read itself and its roles, root everything.
type Accounts interface {
	// User fails with UserNotFound, Role with RoleNotFound.
	User(ctx context.Context, who Principal, name string) (User, Rev, error)
	Users(ctx context.Context, who Principal) ([]string, Rev, error)
	Role(ctx context.Context, who Principal, name string) (Role, Rev, error)
	Roles(ctx context.Context, who Principal) ([]string, Rev, error)
}

// AuthStatus says whether authentication is on, and the revision of users and
// roles, which begins at 1 (etcd T-80).
type AuthStatus struct {
	Enabled bool
	Rev     uint64
	// ACLs says that an ACL forbids something to somebody, or does so in history that
	// is kept. While it is false, nobody's Principal.IDs matter.
	ACLs bool
}

// RootUser and RootRole are the user without which authentication cannot be turned
// on, and the role that may do everything.
const (
	RootUser = "root"
	RootRole = "root"
)

// User is an etcd user. Roles are sorted.
type User struct {
	Name  string
	Roles []string
	// NoPassword says that it cannot log in: it shows a certificate.
	NoPassword bool
}

// Role is what those who have it may do.
type Role struct {
	Name string
	// Permissions are in key order.
	Permissions []Permission
}

// PermissionType is what a permission allows. The order of the constants is etcd's
// Permission.Type.
type PermissionType uint8

// The types of permission.
const (
	PermitRead PermissionType = iota
	PermitWrite
	PermitReadWrite
)

// PermitUnset is the type of a permission that was not given.
const PermitUnset PermissionType = math.MaxUint8

// Permission allows something on the keys of an interval.
type Permission struct {
	Type PermissionType
	Interval
}

// AuthEnable turns authentication on. It fails with RootUserMissing or
// RootRoleMissing, and changes nothing if it is on.
type AuthEnable struct{}

// AuthDisable turns authentication off.
type AuthDisable struct{}

// UserAdd makes a user without roles. Hash is bcrypt's of the password, empty with
// NoPassword. It fails with UserEmpty or UserExists.
type UserAdd struct {
	Name       string
	Hash       []byte
	NoPassword bool
}

// UserDelete removes a user. It fails with UserNotFound, and InvalidAuthManagement
// for root while authentication is on.
type UserDelete struct{ Name string }

// UserChangePassword sets a user's password. It fails with UserNotFound.
type UserChangePassword struct {
	Name string
	Hash []byte
}

// UserGrantRole gives a user a role. It fails with UserNotFound or RoleNotFound; the
// role "root" need not exist.
type UserGrantRole struct{ User, Role string }

// UserRevokeRole takes a role from a user. It fails with UserNotFound,
// RoleNotGranted, and InvalidAuthManagement for root's own while authentication is
// on.
type UserRevokeRole struct{ User, Role string }

// RoleAdd makes a role without permissions. It fails with RoleEmpty or RoleExists.
type RoleAdd struct{ Name string }

// RoleDelete removes a role, from its users too. It fails with RoleNotFound, and
// InvalidAuthManagement for root's while authentication is on.
type RoleDelete struct{ Name string }

// RoleGrantPermission adds a permission, or replaces that of the same interval. It
// fails with PermissionNotGiven if the permission's type is PermitUnset, with
// InvalidAuthManagement for an interval that makes no sense, and with RoleNotFound.
type RoleGrantPermission struct {
	Role       string
	Permission Permission
}

// RoleRevokePermission removes the permission of exactly this interval. It fails with
// RoleNotFound or PermissionNotGranted.
type RoleRevokePermission struct {
	Role string
	Interval
}

// TokenGrant makes a simple token good on every member. The token itself stays with
// the client: SecretHash is of its random part. It fails with AuthNotEnabled,
// UserNotFound, and AuthOldRevision if the password may have changed since it was
// checked. Its outcome is a TokenOutcome.
type TokenGrant struct {
	User    string
	AuthRev uint64
	Secret  SecretHash
}

// TokenOutcome answers a TokenGrant: Index is the applied index that is part of the
// token (etcd T-81).
type TokenOutcome struct{ Index uint64 }

func (*AuthEnable) command()           {}
func (*AuthDisable) command()          {}
func (*UserAdd) command()              {}
func (*UserDelete) command()           {}
func (*UserChangePassword) command()   {}
func (*UserGrantRole) command()        {}
func (*UserRevokeRole) command()       {}
func (*RoleAdd) command()              {}
func (*RoleDelete) command()           {}
func (*RoleGrantPermission) command()  {}
func (*RoleRevokePermission) command() {}
func (*TokenGrant) command()           {}

func (TokenOutcome) outcome() {}
