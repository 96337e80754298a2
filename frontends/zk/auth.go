package zk

import (
	"cmp"
	"context"
	"crypto/md5"  //nolint:gosec // these are what ZooKeeper's ids are made of
	"crypto/sha1" //nolint:gosec // likewise
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
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
	return s.withCertificate(i, nc)
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

// principal is who makes a request that was read under i. It fails if that cannot be found
// out now, as when too many passwords wait to be looked at: the request is not one of
// nobody's then, who may do nothing, and whose client would not try again.
func (s *Server) principal(ctx context.Context, i *identities) (core.Principal, error) {
	if s.cfg.Auth == nil {
		return core.Principal{IDs: i.acl}, nil
	}
	status := s.cfg.Auth.Status()
	if !status.Enabled {
		return core.Principal{IDs: i.acl}, nil
	}
	if r := i.resolved.Load(); r != nil && r.rev == status.Rev {
		return r.who, nil
	}
	who, err := s.cfg.Auth.Resolve(ctx, i.credentials)
	if err != nil {
		return core.Principal{IDs: i.acl}, err
	}
	who.IDs = i.acl
	i.resolved.Store(&resolution{rev: status.Rev, who: who})
	return who, nil
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

// decodeAuth adds what an auth packet proves to the identities of the connection. What
// proves nothing ends it (ZooKeeper 3.9 ZooKeeperServer.processPacket).
func decodeAuth(c *conn, q *request, r *jute.Reader) {
	var m wire.AuthPacket
	if m.Decode(r); r.Err() != nil {
		return
	}
	if !c.authenticate(m.Scheme, m.Auth) {
		c.unproven(m.Scheme)
		q.refuse(wire.AuthFailed)
		q.last = true
	}
}

// authenticate says whether auth proves something under a scheme, as the provider of
// ZooKeeper 3.9 sees it (handleAuthentication). A null auth is no digest.
func (c *conn) authenticate(scheme string, auth []byte) bool {
	switch scheme {
	case core.SchemeIP:
		return true // it is known from the beginning
	case schemeDigest:
		return auth != nil && c.authenticateDigest(jute.Text(auth))
	case schemeX509: // what the client's certificate proved, if it has one
		for proven := range c.who.Load().proven.All() {
			if proven == schemeX509 {
				return c.srv.registered(schemeX509)
			}
		}
	}
	return false
}

// authenticateDigest takes a user and a password for what they are: they prove to be
// one who knows them. There may be no colon between (A2).
func (c *conn) authenticateDigest(secret string) bool {
	hash, ok := digestAlgorithms[strings.ToUpper(cmp.Or(c.srv.cfg.Security.DigestAlgorithm, defaultDigest))]
	if !ok {
		return false
	}
	h := hash()
	h.Write([]byte(secret)) // never fails
	user, password, _ := strings.Cut(secret, ":")
	id := user + ":" + base64.StdEncoding.EncodeToString(h.Sum(nil))
	if super := c.srv.cfg.Security.SuperDigest; super != "" && id == super {
		c.identify(core.SchemeSuper, "")
	}
	now := c.who.Load()
	shown := now.credentials
	digest := core.Digest{User: user, Password: password}
	if len(password) <= maxPassword && len(shown.Digests) < maxShown && !slices.Contains(shown.Digests, digest) {
		shown.Digests = append(slices.Clip(shown.Digests), digest)
	}
	if next := now.with(schemeDigest, id, shown); len(next.proven) <= maxProven {
		c.who.Store(next)
		return true
	}
	return false
}

// maxProven is how much may be proven on a connection, in bytes: it goes with each of
// its requests.
const maxProven = 8 << 10

// maxPassword is the longest password, in bytes, that is kept to be shown to etcd's
// authentication: bcrypt takes none that is longer.
const maxPassword = 72

// maxShown is how many digests of a connection etcd's authentication is shown at most:
// to find one wrong takes it tens of milliseconds.
const maxShown = 16

const defaultDigest = "SHA1"

// digestAlgorithms are the hashes of Java that digests may be made with, by the names
// that it knows them by in capitals.
var digestAlgorithms = map[string]func() hash.Hash{
	"MD5": md5.New, "SHA": sha1.New, "SHA1": sha1.New, "SHA-1": sha1.New,
	"SHA-224": sha256.New224, "SHA-256": sha256.New,
	"SHA-384": sha512.New384, "SHA-512": sha512.New, "SHA-512/224": sha512.New512_224, "SHA-512/256": sha512.New512_256,
	"SHA3-224": func() hash.Hash { return sha3.New224() }, "SHA3-256": func() hash.Hash { return sha3.New256() },
	"SHA3-384": func() hash.Hash { return sha3.New384() }, "SHA3-512": func() hash.Hash { return sha3.New512() },
}

// ValidDigestAlgorithm says whether Security.DigestAlgorithm may be name.
func ValidDigestAlgorithm(name string) bool {
	_, ok := digestAlgorithms[strings.ToUpper(name)]
	return ok || name == ""
}
