package zk

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/triglot/triglot/core"
)

// The schemes that ZooKeeper has besides those that core gives a meaning to.
const (
	schemeAuth   = "auth" // stands for who asks; only in what a client sends
	schemeDigest = "digest"
	schemeX509   = "x509"
	schemeSASL   = "sasl"
)

// identities is who a connection has proven to be at one moment. It is immutable but
// for its cache: a request keeps the one under which it was read, as in ZooKeeper 3.9
// (ZooKeeperServer.processPacket).
type identities struct {
	// proven is what whoAmI tells: the address, and what was proven since, in that
	// order (ZooKeeper ServerCnxn.authInfo has no order of its own).
	proven core.Identities
	// acl is who the connection is to ACLs: proven, and super if ACLs do not bind it
	// (skipACL).
	acl core.Identities
	// credentials is what etcd's authentication is shown. A password in it is nowhere
	// else, and never printed.
	credentials core.Credentials
	// resolved is who that is to etcd's authentication, under resolution.rev.
	resolved atomic.Pointer[resolution]
}

// resolution is who showed some credentials, as of a revision of users and roles.
type resolution struct {
	rev uint64
	who core.Principal
}

// newIdentities is who a connection is before it has proven anything.
func (s *Server) newIdentities(nc net.Conn) *identities {
	i := &identities{credentials: core.Credentials{ZooKeeper: true}}
	if nc != nil {
		i.proven = i.proven.With(core.SchemeIP, javaAddress(remoteIP(nc)))
	}
	i.acl = i.proven
	if s.cfg.Security.SkipACL {
		i.acl = i.acl.With(core.SchemeSuper, "")
	}
	return i
}

// with is i and one more identity. Credentials are what etcd's authentication is shown
// from now on; the caller gives those of i if it has no better.
func (i *identities) with(scheme, id string, credentials core.Credentials) *identities {
	return &identities{proven: i.proven.With(scheme, id), acl: i.acl.With(scheme, id), credentials: credentials}
}

// identify adds an identity to those that the connection has proven. Only the reader
// calls it: requests that were read before do not profit from it.
func (c *conn) identify(scheme, id string) {
	now := c.who.Load()
	c.who.Store(now.with(scheme, id, now.credentials))
}

// principal is who makes a request that was read under i.
func (s *Server) principal(ctx context.Context, i *identities) core.Principal {
	if s.cfg.Auth == nil {
		return core.Principal{IDs: i.acl}
	}
	status := s.cfg.Auth.Status()
	if !status.Enabled {
		return core.Principal{IDs: i.acl}
	}
	if r := i.resolved.Load(); r != nil && r.rev == status.Rev {
		return r.who
	}
	who, err := s.cfg.Auth.Resolve(ctx, i.credentials)
	if err != nil {
		who = core.Principal{} // who may do nothing
	}
	who.IDs = i.acl
	if ctx.Err() == nil {
		i.resolved.Store(&resolution{rev: status.Rev, who: who})
	}
	return who
}

// javaAddress is an address as Java's InetAddress.getHostAddress prints it, without a
// zone: that of IPv6 with all of its eight groups. What is no address stays as it is.
func javaAddress(s string) string {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return s
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	b := a.As16()
	groups := make([]string, 0, len(b)/2)
	for i := 0; i < len(b); i += 2 {
		groups = append(groups, strconv.FormatUint(uint64(b[i])<<8|uint64(b[i+1]), 16))
	}
	return strings.Join(groups, ":")
}
