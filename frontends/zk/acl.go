package zk

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// fixup is a list as a command has it: of an operation that creates or sets an ACL.
// Neither field set is a list that ZooKeeper refuses: apply answers InvalidACL where
// that is its turn.
type fixup struct {
	acl  core.ACL
	open bool
	// null says that ZooKeeper trips over a null in the list, and answers
	// MarshallingError.
	null bool
}

// fixupACL says what becomes of a list that a client sends: what it says twice is
// dropped, "auth" is replaced by all that the connection has proven to be, and a list
// with anything in it that is malformed is none (ZooKeeper 3.9
// PrepRequestProcessor.fixupACL; A3).
func (c *conn) fixupACL(list []wire.ACL) fixup {
	if len(list) == 1 && list[0] == wire.OpenACLUnsafe[0] {
		return fixup{open: true} // nearly all are
	}
	entries := make([]core.ACLEntry, 0, len(list))
	seen := make(map[wire.ACL]struct{}, len(list)) // a list may have as many as a frame holds
	for i := range list {
		a := &list[i]
		if _, again := seen[*a]; again {
			continue
		}
		seen[*a] = struct{}{}
		switch {
		case a.Scheme == schemeAuth:
			before := len(entries)
			if entries = c.appendProven(entries, a.Perms); len(entries) == before || c.expanded > c.srv.cfg.Limits.MaxFrame {
				return fixup{}
			}
			continue
		case !c.srv.registered(a.Scheme):
			return fixup{}
		case a.ID == wire.NullText:
			return fixup{null: true}
		case !validID(a.Scheme, a.ID):
			return fixup{}
		}
		entries = append(entries, core.ACLEntry{Perms: core.Perms(a.Perms), Scheme: a.Scheme, ID: a.ID})
	}
	if len(entries) == 1 && entries[0] == openEntry {
		return fixup{open: true}
	}
	return fixup{acl: core.PackACL(entries...)}
}

// openEntry is the one entry of the list that is open to the world.
var openEntry = core.ACLEntry{Perms: core.PermAll, Scheme: core.SchemeWorld, ID: core.WorldAnyone}

// appendProven appends an entry for each identity that the client has proven: its
// address is none. It stops when "auth" has made of the request more than one may be long:
// of a few bytes that say so, and many identities, there would be gigabytes.
func (c *conn) appendProven(entries []core.ACLEntry, perms int32) []core.ACLEntry {
	for scheme, id := range c.who.Load().proven.All() {
		if c.expanded > c.srv.cfg.Limits.MaxFrame {
			break
		}
		switch scheme {
		case schemeDigest, schemeX509, schemeSASL:
			if c.srv.registered(scheme) {
				c.expanded += len(scheme) + len(id) + aclOverhead
				entries = append(entries, core.ACLEntry{Perms: core.Perms(perms), Scheme: scheme, ID: id})
			}
		}
	}
	return entries
}

// aclOverhead is what an entry of a list takes in a frame besides its texts.
const aclOverhead = 12

// registered says whether ACLs may name a scheme: those that ZooKeeper has of itself,
// those that are configured (authProvider), and etcd's users, which is ours.
func (s *Server) registered(scheme string) bool {
	switch scheme {
	case core.SchemeWorld, core.SchemeIP, schemeDigest, core.SchemeEtcd:
		return true
	case schemeX509:
		return s.cfg.Security.X509
	case schemeSASL:
		return s.cfg.Security.SASL
	}
	return false
}

// validID says whether an id is well formed for its scheme, as the providers of
// ZooKeeper 3.9 see it (isValid).
func validID(scheme, id string) bool {
	switch scheme {
	case core.SchemeWorld:
		return id == core.WorldAnyone
	case core.SchemeIP:
		return validNetwork(id)
	case schemeDigest:
		return javaParts(id) == 2
	case schemeX509:
		return validName(id)
	case schemeSASL:
		return !strings.Contains(id, "@") || kerberosName.MatchString(id)
	}
	return id != ""
}

// kerberosName is what a name with a realm looks like (ZooKeeper 3.9 KerberosName).
var kerberosName = regexp.MustCompile(`\A[^/@]*(/[^/@]*)?@[^/@]*\z`)

// javaParts is the number of parts that Java's String.split makes of s at its colons:
// empty ones at the end do not count.
func javaParts(s string) int {
	if s == "" {
		return 1
	}
	trimmed := strings.TrimRight(s, ":")
	if trimmed == "" {
		return 0
	}
	return 1 + strings.Count(trimmed, ":")
}

// validNetwork says whether s is an address, alone or with the number of bits that
// matter (ZooKeeper 3.9 IPAuthenticationProvider; A4). Java's numbers may have a sign
// and leading zeros.
func validNetwork(s string) bool {
	address, bits, masked := strings.Cut(s, "/")
	var most int
	switch {
	case strings.Contains(address, ":"):
		most = 128
		if !validIPv6(address) {
			return false
		}
	case strings.Contains(address, "."):
		most = 32
		if !validIPv4(address) {
			return false
		}
	default:
		return false
	}
	if !masked {
		return true
	}
	n, err := strconv.ParseInt(bits, 10, 32)
	return err == nil && n >= 0 && n <= int64(most)
}

func validIPv4(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 4 {
		return false
	}
	for _, part := range parts {
		if n, err := strconv.ParseInt(part, 10, 32); err != nil || n < 0 || n > 255 {
			return false
		}
	}
	return true
}

func validIPv6(s string) bool {
	halves := strings.Split(s, "::")
	var groups []string
	for _, half := range halves {
		if half != "" || len(halves) == 1 {
			groups = append(groups, strings.Split(half, ":")...)
		}
	}
	switch len(halves) {
	case 1:
		if len(groups) != 8 {
			return false
		}
	case 2:
		if len(groups) >= 8 {
			return false
		}
	default:
		return false
	}
	for _, group := range groups {
		if _, err := strconv.ParseInt(group, 16, 32); err != nil || len(group) > 4 {
			return false
		}
	}
	return true
}

// masked is a list as one sees it who may not administer the znode: without the
// passwords of digests (ZooKeeper 3.9 FinalRequestProcessor; A5).
func masked(entries []core.ACLEntry) []core.ACLEntry {
	shown := slices.Clone(entries)
	for i := range shown {
		if e := &shown[i]; e.Scheme == schemeDigest {
			e.ID = behindColon.ReplaceAllString(e.ID, ":x")
		}
	}
	return shown
}

// behindColon is Java's ":.*": it ends where a line does.
var behindColon = regexp.MustCompile(":[^\n\r\u0085\u2028\u2029]*")

// wireACL is a list as it is sent.
func wireACL(entries []core.ACLEntry) []wire.ACL {
	list := make([]wire.ACL, len(entries))
	for i, e := range entries {
		list[i] = wire.ACL{Perms: int32(e.Perms), Scheme: e.Scheme, ID: e.ID}
	}
	return list
}
