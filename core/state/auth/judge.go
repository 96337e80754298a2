package auth

import (
	"slices"

	"github.com/triglot/triglot/core"
)

// exempt reports whether nothing is asked of who.
func (s *State) exempt(who core.Principal) bool { return !s.enabled || who.Member }

// Known fails with UserEmpty if who has not said who it is.
func (s *State) Known(who core.Principal) error {
	if !s.exempt(who) && who.User == "" && who.AuthRev == 0 {
		return core.UserEmpty
	}
	return nil
}

// Admin fails with UserEmpty, UserNotFound or PermissionDenied unless who has the role
// root. As in etcd, it may have been identified under an older revision.
func (s *State) Admin(who core.Principal) error {
	if s.exempt(who) {
		return nil
	}
	if who.User == "" {
		return core.UserEmpty
	}
	switch a, ok := s.users[who.User]; {
	case !ok:
		return core.UserNotFound
	case !a.root:
		return core.PermissionDenied
	}
	return nil
}

// MayRead fails with UserEmpty, AuthOldRevision or PermissionDenied unless who may
// read all keys of an interval.
func (s *State) MayRead(who core.Principal, in core.Interval) error {
	return s.may(who, in, (*account).readable)
}

// MayWrite is MayRead for writing.
func (s *State) MayWrite(who core.Principal, in core.Interval) error {
	return s.may(who, in, (*account).writable)
}

func (a *account) readable() union { return a.read }
func (a *account) writable() union { return a.write }

func (s *State) may(who core.Principal, in core.Interval, allowed func(*account) union) error {
	if s.exempt(who) {
		return nil
	}
	switch {
	case who.AuthRev == 0:
		return core.UserEmpty
	case who.AuthRev < s.rev:
		return core.AuthOldRevision
	}
	a, ok := s.users[who.User]
	if !ok || !a.root && !allowed(a).covers(in) {
		return core.PermissionDenied
	}
	return nil
}

// Current fails with AuthOldRevision unless who was identified under this very
// revision: etcd looks at it again once a read is done, and then a later one is as
// wrong as an earlier one (etcd T-81). Nobody is not identified under any: where
// nothing is read, as by a transaction without operations, nobody is asked who he is.
func (s *State) Current(who core.Principal) error {
	if !s.exempt(who) && who.AuthRev != 0 && who.AuthRev != s.rev && who.AuthRev != core.AnyAuthRev {
		return core.AuthOldRevision
	}
	return nil
}

// MayReadUser fails as Admin does unless who is root or the user itself, MayReadRole
// unless who is root or has the role (etcd T-83).
func (s *State) MayReadUser(who core.Principal, name string) error {
	if who.User == name {
		return nil
	}
	return s.Admin(who)
}

// MayReadRole is described at MayReadUser.
func (s *State) MayReadRole(who core.Principal, name string) error {
	if a, ok := s.users[who.User]; ok && slices.Contains(a.Roles, name) {
		return nil
	}
	return s.Admin(who)
}
