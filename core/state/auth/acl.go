package auth

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/triglot/triglot/core"
)

// Allows reports whether a list allows one who is ids some of what is needed; nothing
// needed is always allowed (ZooKeeper 3.9 ZooKeeperServer.checkACL; A1). There is no
// inheritance, and no entry denies.
func Allows(entries []core.ACLEntry, ids core.Identities, need core.Perms) bool {
	if need == 0 || ids.Super() {
		return true
	}
	for i := range entries {
		if e := &entries[i]; e.Perms&need != 0 && e.Scheme == core.SchemeWorld && e.ID == core.WorldAnyone {
			return true
		}
	}
	for scheme, id := range ids.All() { // unpacked once: both may be many
		for i := range entries {
			if e := &entries[i]; e.Perms&need != 0 && names(e, scheme, id) {
				return true
			}
		}
	}
	return false
}

// names reports whether an entry is about one who is an id of a scheme; what is about
// the world is about nobody alone.
func names(e *core.ACLEntry, scheme, id string) bool {
	return scheme == e.Scheme && scheme != core.SchemeWorld && (id == e.ID || matches(e, id))
}

// matches reports whether an entry is about another id than its own, of the same scheme
// (the matches of ZooKeeper 3.9's providers).
func matches(e *core.ACLEntry, id string) bool {
	switch e.Scheme {
	case core.SchemeIP:
		return inNetwork(e.ID, id)
	case core.SchemeSASL:
		return id == core.SASLSuper
	}
	return false
}

// inNetwork reports whether an address is in a network, addr or addr/bits (ZooKeeper
// 3.9 IPAuthenticationProvider.matches).
func inNetwork(network, address string) bool {
	of, bits, ok := strings.Cut(network, "/")
	base, err := netip.ParseAddr(of)
	if err != nil {
		return false
	}
	n := base.BitLen()
	if ok {
		if n, err = strconv.Atoi(bits); err != nil {
			return false
		}
	}
	prefix, err := base.WithZone("").Prefix(n)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(address)
	return err == nil && prefix.Contains(addr.WithZone("").Unmap())
}

// Identities is who a principal is to ACLs: who.IDs, with what the users and roles of
// the moment add to them while authentication is on. One with the role root is super,
// and so is the member itself; anybody who proved to be a user is that user of the
// scheme "etcd".
func (s *State) Identities(who core.Principal) core.Identities {
	switch {
	case who.Member:
		return who.IDs.With(core.SchemeSuper, "")
	case !s.enabled || who.User == "":
		return who.IDs
	}
	if a, ok := s.users[who.User]; ok && a.root {
		return who.IDs.With(core.SchemeSuper, "")
	}
	return who.IDs.With(core.SchemeEtcd, who.User)
}
