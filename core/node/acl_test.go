package node

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// A ZooKeeper client is the first etcd user that it proves to be (design 8).
func TestWhoAZooKeeperClientIs(t *testing.T) {
	cfg := testConfig(t)
	cfg.Auth = cheapAuth
	g := startGuarded(t, cfg)
	root := g.who(g.login("root", "root's own"))
	as := func(user string) core.Principal { return core.Principal{User: user, AuthRev: core.AnyAuthRev} }
	check := func(want core.Principal, c core.Credentials) {
		t.Helper()
		c.ZooKeeper = true
		for range 2 { // the second time by what is remembered
			got, err := g.Auth().Resolve(testContext(t), c)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
	alice, wrong := core.Digest{User: "alice", Password: "wonderland"}, core.Digest{User: "alice", Password: "oz"}
	check(as(""), core.Credentials{})
	check(as("alice"), core.Credentials{Digests: []core.Digest{alice}})
	check(as("alice"), core.Credentials{Digests: []core.Digest{{User: "super", Password: "x"}, alice}, CertificateSubject: "cert"})
	check(as(""), core.Credentials{Digests: []core.Digest{wrong}})
	check(as("cert"), core.Credentials{Digests: []core.Digest{wrong}, CertificateSubject: "cert"})
	check(as("alice"), core.Credentials{SASLUser: "alice", CertificateSubject: "nobody's"})
	check(as(""), core.Credentials{Digests: []core.Digest{{User: "cert"}}}) // it has no password
	check(as(""), core.Credentials{Token: "a token does not count"})
	g.do(root, &core.UserChangePassword{Name: "alice", Hash: g.hash("oz")})
	check(as(""), core.Credentials{Digests: []core.Digest{alice}})
	check(as("alice"), core.Credentials{Digests: []core.Digest{wrong}})
	root = g.who(g.login("root", "root's own"))
	g.do(root, &core.UserAdd{Name: core.ZooKeeperUser, NoPassword: true})
	check(as(core.ZooKeeperUser), core.Credentials{Digests: []core.Digest{alice}})

	g.auth.waiting.Add(maxWaitingLogins)
	check(as(core.ZooKeeperUser), core.Credentials{Digests: []core.Digest{alice}}) // it is known to be wrong
	alice.Password = "another"
	_, err := g.Auth().Resolve(testContext(t), core.Credentials{ZooKeeper: true, Digests: []core.Digest{alice}})
	require.ErrorIs(t, err, core.TooManyRequests)
	g.auth.waiting.Add(-maxWaitingLogins)
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	_, err = g.Auth().Resolve(ctx, core.Credentials{ZooKeeper: true, Digests: []core.Digest{alice}})
	require.ErrorIs(t, err, core.Canceled)
	stopNode(t, g.Node)
}

// What is remembered of proofs is bounded, and is no password.
func TestProvenIsBounded(t *testing.T) {
	p := newProven()
	digest := func(i int) core.Digest { return core.Digest{User: "user", Password: strings.Repeat("p", i)} }
	for i := range maxProven + 10 {
		p.add(digest(i), []byte{byte(i)})
		p.add(digest(i), []byte{byte(i), 1})
	}
	require.Len(t, p.hashes, maxProven)
	require.Equal(t, maxProven, p.recent.Len())
	require.Nil(t, p.hash(digest(9)))
	require.Equal(t, []byte{10, 1}, p.hash(digest(10)))
	require.Nil(t, newProven().hash(digest(10)))
	require.NotEqual(t, p.digest(core.Digest{User: "a", Password: "bc"}), p.digest(core.Digest{User: "ab", Password: "c"}))
}

// X11: what tells of the whole store is for super and the member itself while something
// of it is protected; the keys of a lease are for who may read them; what becomes of the
// others is the cluster's policy, which a member's configuration sets.
func TestACLsGuardTheWhole(t *testing.T) {
	cfg := testConfig(t)
	hide := core.ZnodeACLHide
	cfg.ACLPolicy = &hide
	start := func() *Node {
		n := startNode(t, cfg)
		require.NoError(t, n.Ready(testContext(t)))
		return n
	}
	n := start()
	visitor := core.Principal{IDs: core.Identities("").With("ip", "10.0.0.1")}
	owner := core.Principal{IDs: core.Identities("").With("digest", "owner")}
	super := core.Principal{IDs: core.Identities("").With(core.SchemeSuper, "")}
	do := func(cmd core.Command) {
		t.Helper()
		_, err := n.Do(testContext(t), owner, cmd)
		require.NoError(t, err)
	}
	whole := map[string]func(core.Principal) error{
		"hash":       func(who core.Principal) error { _, _, err := n.Hash(testContext(t), who); return err },
		"hash of kv": func(who core.Principal) error { _, err := n.HashKV(testContext(t), who, 0); return err },
		"snapshot": func(who core.Principal) error {
			s, err := n.Snapshot(testContext(t), who)
			if err == nil {
				err = s.Body.Close()
			}
			return err
		},
	}
	check := func(want error) {
		t.Helper()
		for name, call := range whole {
			require.Equal(t, want, call(visitor), name)
			require.Equal(t, want, call(owner), name)
			require.NoError(t, call(super), name)
			require.NoError(t, call(core.Principal{Member: true}), name)
		}
	}
	check(nil)
	do(&core.SessionOpen{ID: 7, Timeout: time.Hour})
	do(&core.ZnodeWrite{Session: core.SessionRef{ID: 7, Epoch: 1}, Ops: []core.ZnodeOp{
		{Type: core.ZnodeCreate, Path: "/mine", Kind: core.ZnodeEphemeral, ACL: core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: "owner"})},
		{Type: core.ZnodeCreate, Path: "/ours", Kind: core.ZnodeEphemeral, OpenACL: true},
	}})
	check(core.PermissionDenied)

	keys := func(who core.Principal) (keys []string, err error) {
		s, err := n.Leases().Status(testContext(t), who, 7, true)
		for _, key := range s.Keys {
			keys = append(keys, string(key))
		}
		return keys, err
	}
	got, err := keys(owner)
	require.NoError(t, err)
	require.Equal(t, []string{"/zk/mine", "/zk/ours"}, got)
	got, err = keys(visitor)
	require.NoError(t, err)
	require.Equal(t, []string{"/zk/ours"}, got)
	ids, err := n.Leases().List(testContext(t), visitor)
	require.NoError(t, err)
	require.Equal(t, []core.LeaseID{7}, ids)
	stopNode(t, n)

	deny := core.ZnodeACLDeny
	cfg.ACLPolicy = &deny
	n = start()
	_, err = keys(visitor)
	require.Equal(t, core.PermissionDenied, err)
	stopNode(t, n)
	cfg.ACLPolicy = nil // which leaves it as it is
	n = start()
	_, err = keys(visitor)
	require.Equal(t, core.PermissionDenied, err)
	_, err = n.Do(testContext(t), visitor, &core.LeaseRevoke{ID: 7})
	require.NoError(t, err, "who may delete every attached znode may end the session")
	check(core.PermissionDenied)
	stopNode(t, n)
}
