package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
	accounts "github.com/triglot/triglot/core/state/auth"
	"github.com/triglot/triglot/core/state/lease"
	"github.com/triglot/triglot/core/token"
)

// AuthConfig is how callers prove who they are. It does not say whether they must:
// that is a command's to change.
type AuthConfig struct {
	// Token is etcd's --auth-token: "simple" if empty, or "jwt,OPTIONS".
	Token string
	// TokenTTL is how long a simple token is good for without being used; zero is five
	// minutes.
	TokenTTL time.Duration
	// BcryptCost is what new passwords are hashed with; zero is 10, and so is what is
	// not within [4, 31].
	BcryptCost int
}

func (c AuthConfig) withDefaults() AuthConfig {
	c.Token = cmp.Or(c.Token, "simple")
	c.BcryptCost = cmp.Or(c.BcryptCost, bcrypt.DefaultCost)
	return c
}

// auth is who callers are. It implements core.Auth.
type auth struct {
	n         *Node
	scheme    token.Scheme
	tokens    *token.Table
	passwords passwords
	proven    *proven
	// refuted are digests that are wrong.
	refuted *proven
	// waiting is what the logins under way hold, see maxWaitingLogins.
	waiting atomic.Int64
	// from is the applied index behind which tokens were granted in this process's
	// time: those from before end with the process that knew them, as etcd's do, or one
	// that ran out long ago would be good again when the log is replayed.
	from uint64
}

// Auth gives access to the member's users and roles.
func (n *Node) Auth() core.Auth { return &n.auth }

func (a *auth) init(n *Node) error {
	a.n = n
	cfg := &n.cfg.Auth
	var err error
	if a.scheme, err = token.Parse(cfg.Token, time.Now); err != nil {
		return err
	}
	if len(a.scheme.Unknown) > 0 {
		n.cfg.Logger.Warn("--auth-token has options that are not known", "options", a.scheme.Unknown)
	}
	a.tokens = token.NewTable(cfg.TokenTTL, time.Now)
	a.passwords, a.proven, a.refuted = newPasswords(cfg.BcryptCost), newProven(), newProven()
	if a.passwords.cost != cfg.BcryptCost {
		n.cfg.Logger.Warn("--bcrypt-cost makes no sense: passwords are hashed with the default", "given", cfg.BcryptCost, "cost", a.passwords.cost)
	}
	return nil
}

// state is the users and roles that the latest view shows; those of a new store once
// the member has stopped.
func (a *auth) state() *accounts.State {
	if v := a.n.published.view.Load(); v != nil {
		return v.Accounts() // which needs no hold
	}
	return accounts.Empty()
}

// changed is told by apply which tokens came and went, before the commands are
// answered that did it.
func (a *auth) changed(changes []state.TokenChange) {
	for _, c := range changes {
		switch {
		case c.Index > a.from:
			a.tokens.Grant(c.User, c.Secret, c.Index)
		case c.Index != 0:
		case c.User == "":
			a.tokens.Clear()
		default:
			a.tokens.Revoke(c.User)
		}
	}
}

// Status implements core.Auth.
func (a *auth) Status() core.AuthStatus {
	v := a.n.published.view.Load() // which needs no hold
	if v == nil {
		s := accounts.Empty()
		return core.AuthStatus{Enabled: s.Enabled(), Rev: s.Rev()}
	}
	s := v.Accounts()
	return core.AuthStatus{Enabled: s.Enabled(), Rev: s.Rev(), ACLs: v.Forbids()}
}

// Resolve implements core.Auth.
func (a *auth) Resolve(ctx context.Context, c core.Credentials) (core.Principal, error) {
	s := a.state()
	switch {
	case !s.Enabled():
		return core.Principal{}, nil
	case c.ZooKeeper:
		return a.zookeeper(ctx, s, &c)
	case c.Token != "":
		return a.bearer(ctx, s, c.Token)
	case c.CertificateSubject != "":
		return core.Principal{User: c.CertificateSubject, AuthRev: s.Rev()}, nil
	}
	return core.Principal{}, nil
}

// bearer is who bears a token. s is from before the look at it: if the user's rights
// change meanwhile, or the token ends, the request is found to be too late.
func (a *auth) bearer(ctx context.Context, s *accounts.State, bearer string) (core.Principal, error) {
	switch a.scheme.Kind {
	case token.Signed:
		user, rev, err := a.scheme.JWT.Check(bearer)
		if err != nil {
			a.n.cfg.Logger.Debug("a token was refused", "error", err)
			return core.Principal{}, core.InvalidAuthToken
		}
		return core.Principal{User: user, AuthRev: rev}, nil
	case token.Simple:
		user, index, ok := a.tokens.Lookup(bearer)
		if !ok && index > a.applied() {
			// Another member may have granted it a moment ago. etcd waits for the index,
			// which anybody can make up; what was granted is applied by such a view.
			v, err := a.n.view(ctx, core.Consistency{Linearizable: true})
			if err != nil {
				return core.Principal{}, err
			}
			s = v.Accounts()
			v.Close()
			user, _, ok = a.tokens.Lookup(bearer)
		}
		if ok {
			return core.Principal{User: user, AuthRev: s.Rev()}, nil
		}
	case token.None: // no token is one
	}
	return core.Principal{}, core.InvalidAuthToken
}

// applied is the applied index of the latest view.
func (a *auth) applied() uint64 {
	if v := a.n.published.view.Load(); v != nil {
		return v.Index()
	}
	return 0
}

// maxWaitingLogins is what logins under way may hold of the memory, in bytes: of what
// their callers sent, which can be a message of any size, and loginOverhead each.
const (
	maxWaitingLogins = 64 << 20
	loginOverhead    = 16 << 10
)

// maxLoggedName is how many bytes of a name are logged: anybody may give any.
const maxLoggedName = 256

// Login implements core.Auth.
func (a *auth) Login(ctx context.Context, user, secret string) (string, core.Rev, error) {
	size := int64(len(user) + len(secret) + loginOverhead)
	defer a.waiting.Add(-size)
	if a.waiting.Add(size) > maxWaitingLogins {
		return "", 0, core.TooManyRequests
	}
	var matched []byte // the hash that the password was found to match
	for {
		v, err := a.n.view(ctx, core.Consistency{Linearizable: true})
		if err != nil {
			return "", 0, err
		}
		s, rev := v.Accounts(), v.Rev()
		v.Close()
		if matched, err = a.checkPassword(ctx, s, user, secret, matched); err != nil {
			if k := core.KindOf(err); k == core.AuthFailed || k == core.NoPasswordUser {
				a.n.cfg.Logger.Warn("invalid authentication was requested",
					"user", user[:min(len(user), maxLoggedName)], "error", err)
			}
			return "", 0, err
		}
		switch a.scheme.Kind {
		case token.Signed:
			signed, err := a.scheme.JWT.Sign(user, s.Rev())
			return signed, rev, err
		case token.Simple:
		default:
			return "", 0, core.AuthFailed
		}
		drawn := token.NewSecret()
		res, err := a.n.do(ctx, &core.TokenGrant{User: user, AuthRev: s.Rev(), Secret: drawn.Hash()})
		switch {
		case err == nil:
			return drawn.Token(res.Outcome.(core.TokenOutcome).Index), res.Rev, nil
		case !errors.Is(err, core.AuthOldRevision):
			return "", 0, err
		}
		// Users or roles have changed since the password was checked: this one's, maybe.
	}
}

// checkPassword takes as long for a user that there is not as for a password that is
// wrong. It returns the hash that the password matches; matched is one that it is known
// to match, or nil: changes of others must not have it checked again and again.
func (a *auth) checkPassword(ctx context.Context, s *accounts.State, name, secret string, matched []byte) ([]byte, error) {
	if !s.Enabled() {
		return nil, core.AuthNotEnabled
	}
	u, ok := s.User(name)
	switch {
	case ok && u.NoPassword:
		return nil, core.NoPasswordUser
	case len(matched) > 0 && bytes.Equal(u.Hash, matched):
		return matched, nil
	}
	return u.Hash, a.passwords.check(ctx, u.Hash, secret)
}

// HashPassword implements core.Auth. It fails with InvalidArgument for a password
// that is too long.
func (a *auth) HashPassword(ctx context.Context, secret string) ([]byte, error) {
	return a.passwords.hash(ctx, secret)
}

// read returns users and roles as they were acknowledged before the call, to one who
// passes a check.
func (a *auth) read(ctx context.Context, check func(*accounts.State) error) (*accounts.State, core.Rev, error) {
	v, err := a.n.view(ctx, core.Consistency{Linearizable: true})
	if err != nil {
		return nil, 0, err
	}
	defer v.Close()
	s := v.Accounts()
	return s, v.Rev(), check(s)
}

// User implements core.Accounts.
func (a *auth) User(ctx context.Context, who core.Principal, name string) (core.User, core.Rev, error) {
	s, rev, err := a.read(ctx, func(s *accounts.State) error { return s.MayReadUser(who, name) })
	if err != nil {
		return core.User{}, 0, err
	}
	u, ok := s.User(name)
	if !ok {
		return core.User{}, 0, core.UserNotFound
	}
	return u.User, rev, nil
}

// Users implements core.Accounts.
func (a *auth) Users(ctx context.Context, who core.Principal) ([]string, core.Rev, error) {
	s, rev, err := a.read(ctx, func(s *accounts.State) error { return s.Admin(who) })
	if err != nil {
		return nil, 0, err
	}
	return s.Users(), rev, nil
}

// Role implements core.Accounts. The role root may do everything, whatever it was
// given.
func (a *auth) Role(ctx context.Context, who core.Principal, name string) (core.Role, core.Rev, error) {
	s, rev, err := a.read(ctx, func(s *accounts.State) error { return s.MayReadRole(who, name) })
	if err != nil {
		return core.Role{}, 0, err
	}
	r, ok := s.Role(name)
	if !ok {
		return core.Role{}, 0, core.RoleNotFound
	}
	if name == core.RootRole {
		all := core.Permission{Type: core.PermitReadWrite, Interval: core.Interval{End: core.FromKey}}
		r.Permissions = []core.Permission{all}
	}
	return r, rev, nil
}

// Roles implements core.Accounts.
func (a *auth) Roles(ctx context.Context, who core.Principal) ([]string, core.Rev, error) {
	s, rev, err := a.read(ctx, func(s *accounts.State) error { return s.Admin(who) })
	if err != nil {
		return nil, 0, err
	}
	return s.Roles(), rev, nil
}

// requireRoot fails, while authentication is on, unless who may do what only root may:
// with UserEmpty, UserNotFound or PermissionDenied (etcd T-83). It judges by the users
// and roles that this member knows of, at once, as etcd does: what it guards must work
// without a leader.
func (n *Node) requireRoot(_ context.Context, who core.Principal) error {
	return n.auth.state().Admin(who)
}

// The rights to a lease (etcd T-64, v3_server.go).

// mayRenew fails unless who may write all keys attached to a lease, which would go with
// it.
func (l *leases) mayRenew(who core.Principal, id core.LeaseID) error {
	s := l.n.auth.state()
	if s.Admin(who) == nil {
		return nil // which is so while authentication is off
	}
	if err := s.Known(who); err != nil {
		return err
	}
	v := l.n.published.hold()
	if v == nil {
		return core.Stopped
	}
	defer v.Close()
	return eachKey(v, id, func(key core.Interval) error { return v.Accounts().MayWrite(who, key) })
}

// maySeeLease fails unless who may learn what is left of a lease, for which it need
// only be somebody; and of its keys, all of which it must be allowed to read.
func maySeeLease(v *state.View, who core.Principal, id core.LeaseID, withKeys bool) error {
	s := v.Accounts()
	if err := s.Known(who); err != nil || !withKeys || s.Admin(who) == nil {
		return err
	}
	return eachKey(v, id, func(key core.Interval) error { return s.MayRead(who, key) })
}

// maySeeLeases fails unless who may read the keys of every lease: etcd names all of
// them or none.
func maySeeLeases(v *state.View, who core.Principal) error {
	s := v.Accounts()
	if s.Admin(who) == nil {
		return nil
	}
	if err := s.Known(who); err != nil {
		return err
	}
	var ids []core.LeaseID
	if err := v.EachLease(func(id core.LeaseID, _ lease.Lease) { ids = append(ids, id) }); err != nil {
		return err
	}
	for _, id := range ids {
		if err := maySeeLease(v, who, id, true); err != nil {
			return err
		}
	}
	return nil
}

func eachKey(v *state.View, id core.LeaseID, may func(core.Interval) error) error {
	keys, err := v.LeaseKeys(id)
	for _, key := range keys {
		if err == nil {
			err = may(core.Interval{Key: key})
		}
	}
	return err
}
