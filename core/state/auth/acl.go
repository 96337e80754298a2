package auth

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/triglot/triglot/core"
)

// Allows reports whether a list allows one who is ids some of what is needed; nothing
// needed is always allowed (ZooKeeper 3.9 ZooKeeperServer.checkACL; A1). There is no
// inheritance, and no entry denies. It fails if it has to read what does not decode.
func Allows(acl core.ACL, ids core.Identities, need core.Perms) (bool, error) {
	if need == 0 || ids.Super() {
		return true, nil
	}
	var who *asker // most lists are the world's, or short
	for e, err := range acl.All() {
		switch {
		case err != nil:
			return false, err
		case e.Perms&need == 0:
			continue
		case e.Scheme == core.SchemeWorld:
			if e.ID == core.WorldAnyone {
				return true, nil
			}
			continue
		}
		if who == nil {
			who = newAsker(ids)
		}
		if who.isNamed(&e) {
			return true, nil
		}
	}
	return false, nil
}

// asker is one who is asked for in the entries of a list: both may be many.
type asker struct {
	// ids are its ids, and its addresses as they are written commonly.
	ids []identity
	// set is of ids, if they are many.
	set map[identity]struct{}
	// addresses are those of its ids of the scheme ip.
	addresses []netip.Addr
	// allSASL says that any entry of the scheme sasl names it.
	allSASL bool
}

type identity struct{ scheme, id string }

// fewIdentities is how many are better compared one by one.
const fewIdentities = 8

func newAsker(ids core.Identities) *asker {
	a := &asker{}
	for scheme, id := range ids.All() {
		a.ids = append(a.ids, identity{scheme, id})
		switch scheme {
		case core.SchemeIP:
			if addr, err := netip.ParseAddr(id); err == nil {
				addr = addr.WithZone("").Unmap()
				a.addresses = append(a.addresses, addr)
				a.ids = append(a.ids, identity{scheme, addr.String()})
			}
		case core.SchemeSASL:
			a.allSASL = a.allSASL || id == core.SASLSuper
		}
	}
	if len(a.ids) > fewIdentities {
		a.set = make(map[identity]struct{}, len(a.ids))
		for _, id := range a.ids {
			a.set[id] = struct{}{}
		}
	}
	return a
}

// isNamed reports whether an entry, not of the world, is about the asker: one of its ids,
// or what names others of its scheme (the matches of ZooKeeper 3.9's providers).
func (a *asker) isNamed(e *core.ACLEntry) bool {
	switch {
	case a.has(identity{e.Scheme, e.ID}):
		return true
	case e.Scheme == core.SchemeSASL:
		return a.allSASL
	case e.Scheme == core.SchemeIP && len(a.addresses) > 0 && strings.ContainsAny(e.ID, "/:"):
		// The others are written in one way only, and were compared.
		network, ok := parseNetwork(e.ID)
		return ok && slices.ContainsFunc(a.addresses, network.Contains)
	}
	return false
}

func (a *asker) has(id identity) bool {
	if a.set != nil {
		_, ok := a.set[id]
		return ok
	}
	return slices.Contains(a.ids, id)
}

// parseNetwork reads a network, addr or addr/bits (ZooKeeper 3.9
// IPAuthenticationProvider.matches).
func parseNetwork(network string) (netip.Prefix, bool) {
	of, bits, ok := strings.Cut(network, "/")
	base, err := netip.ParseAddr(of)
	if err != nil {
		return netip.Prefix{}, false
	}
	n := base.BitLen()
	if ok {
		if n, err = strconv.Atoi(bits); err != nil {
			return netip.Prefix{}, false
		}
	}
	prefix, err := base.WithZone("").Prefix(n)
	return prefix, err == nil
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
