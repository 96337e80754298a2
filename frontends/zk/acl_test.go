package zk

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/wire"
)

// What follows was compared with a ZooKeeper 3.9.5, reply by reply.

// superDigest is "super:test" (A2; kazoo's, go-zookeeper's and the Java tests' own).
const superDigest = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="

// schemes registers all schemes.
func schemes(c *Config) {
	c.Security.SuperDigest = superDigest
	c.Security.X509, c.Security.SASL = true, true
}

// auth sends an auth packet, which must be accepted.
func (c *client) auth(scheme, auth string) {
	c.Helper()
	c.ok(wire.OpAuth, &wire.AuthPacket{Scheme: scheme, Auth: []byte(auth)}, nil)
}

func (c *client) clientInfo() []wire.ClientInfo {
	c.Helper()
	var m wire.WhoAmIResponse
	c.ok(wire.OpWhoAmI, nil, &m)
	return m.ClientInfo
}

func (c *client) createWith(path string, acl ...wire.ACL) wire.ErrorCode {
	c.Helper()
	return c.call(wire.OpCreate, &wire.CreateRequest{Path: path, ACL: acl}).Err
}

func (c *client) setACL(path string, version int32, acl ...wire.ACL) wire.ErrorCode {
	c.Helper()
	return c.call(wire.OpSetACL, &wire.SetACLRequest{Path: path, ACL: acl, Version: version}).Err
}

func (c *client) getACL(path string) ([]wire.ACL, wire.Stat) {
	c.Helper()
	var m wire.GetACLResponse
	c.ok(wire.OpGetACL, &wire.GetACLRequest{Path: path}, &m)
	return m.ACL, m.Stat
}

func allow(perms int32, scheme, id string) wire.ACL {
	return wire.ACL{Perms: perms, Scheme: scheme, ID: id}
}

var open = wire.OpenACLUnsafe[0]

// digestOf is the digest id of "u:p".
const digestOf = "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ="

// A2, A4: what proves something and what ends the connection. Identities add up; the
// address is the first.
func TestAuth(t *testing.T) {
	s := startServer(t, schemes)
	ip := wire.ClientInfo{Scheme: "ip", User: "127.0.0.1"}
	for _, test := range []struct {
		scheme string
		auth   []byte
		who    []wire.ClientInfo // nil is AuthFailed
	}{
		{"digest", []byte("u:p"), []wire.ClientInfo{ip, {Scheme: "digest", User: "u"}}},
		{"digest", []byte("no colon"), []wire.ClientInfo{ip, {Scheme: "digest", User: "no colon"}}},
		{"digest", []byte(""), []wire.ClientInfo{ip, {Scheme: "digest"}}},
		{"digest", []byte("a:b:c"), []wire.ClientInfo{ip, {Scheme: "digest", User: "a"}}},
		{"digest", []byte("u\xff:p\xc3"), []wire.ClientInfo{ip, {Scheme: "digest", User: "u\ufffd"}}},
		{"digest", []byte("super:test"), []wire.ClientInfo{ip, {Scheme: "super"}, {Scheme: "digest", User: "super"}}},
		{"digest", nil, nil},
		{"ip", nil, []wire.ClientInfo{ip}},
		{"ip", []byte("1.2.3.4"), []wire.ClientInfo{ip}},
		{"world", []byte("anyone"), nil},
		{"auth", []byte("x"), nil},
		{"super", []byte("x"), nil},
		{"sasl", []byte("x"), nil},
		{"x509", []byte("x"), nil}, // without a certificate
		{"etcd", []byte("root"), nil},
		{"DIGEST", []byte("u:p"), nil},
		{"", nil, nil},
		{"no such", nil, nil},
	} {
		t.Run(fmt.Sprintf("%s %q", test.scheme, test.auth), func(t *testing.T) {
			c := s.connect()
			r := c.call(wire.OpAuth, &wire.AuthPacket{Scheme: test.scheme, Auth: test.auth})
			if test.who == nil {
				require.Equal(t, wire.AuthFailed, r.Err)
				c.gone()
				return
			}
			require.Equal(t, wire.OK, r.Err)
			require.Equal(t, test.who, c.clientInfo())
		})
	}
	c := s.connect()
	c.send(wire.OpAuth, raw{0, 0})
	c.gone()
}

// A4: authentication is the connection's, not the session's.
func TestAuthenticationAddsUpAndEndsWithTheConnection(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	c.auth("digest", "u:p")
	c.auth("digest", "v:q")
	c.auth("digest", "u:p")
	require.Equal(t, []wire.ClientInfo{
		{Scheme: "ip", User: "127.0.0.1"}, {Scheme: "digest", User: "u"}, {Scheme: "digest", User: "v"},
	}, c.clientInfo())
	require.Equal(t, wire.OK, c.createWith("/mine", allow(31, "auth", "")))
	acl, _ := c.getACL("/mine")
	require.Len(t, acl, 2, "an entry for each")
	again := s.dial()
	again.hello(wire.ConnectRequest{TimeOut: 5000, SessionID: c.session.SessionID, Password: c.session.Password})
	require.Len(t, again.clientInfo(), 1)
	require.Equal(t, wire.NoAuth, again.call(wire.OpGetData, &wire.ReadRequest{Path: "/mine"}).Err)
}

// Requests that were sent before an auth packet are made without what it proves, those
// behind it with it, however they are pipelined.
func TestPipelinedAuth(t *testing.T) {
	c := startServer(t).connect()
	get := &wire.ReadRequest{Path: "/mine"}
	var all []byte
	for _, frame := range [][]byte{
		c.request(wire.OpCreate, &wire.CreateRequest{Path: "/early", ACL: []wire.ACL{allow(31, "auth", "")}}),
		c.request(wire.OpAuth, &wire.AuthPacket{Scheme: "digest", Auth: []byte("u:p")}),
		c.request(wire.OpCreate, &wire.CreateRequest{Path: "/mine", ACL: []wire.ACL{allow(31, "auth", "")}}),
		c.request(wire.OpGetData, get),
		c.request(wire.OpSetData, &wire.SetDataRequest{Path: "/mine", Version: -1}),
	} {
		all = append(all, frame...)
	}
	c.write(all)
	for i, want := range []wire.ErrorCode{wire.InvalidACL, wire.OK, wire.OK, wire.OK, wire.OK} {
		require.Equal(t, want, c.recv().Err, i)
	}
}

// A3: which lists are well formed, and what becomes of them.
func TestACLShapes(t *testing.T) {
	s := startServer(t, schemes)
	c := s.connect()
	c.auth("digest", "u:p")
	anonymous := s.connect()
	for _, test := range []struct {
		name   string
		acl    []wire.ACL
		stored []wire.ACL // nil is InvalidACL
	}{
		{"null", nil, nil},
		{"empty", []wire.ACL{}, nil},
		{"open", []wire.ACL{open}, []wire.ACL{open}},
		{"open twice", []wire.ACL{open, open}, []wire.ACL{open}},
		{"read", []wire.ACL{allow(1, "world", "anyone")}, []wire.ACL{allow(1, "world", "anyone")}},
		{"more bits", []wire.ACL{allow(-1, "world", "anyone")}, []wire.ACL{allow(-1, "world", "anyone")}},
		{"another world", []wire.ACL{allow(31, "world", "x")}, nil},
		{"unknown", []wire.ACL{allow(31, "none", "x")}, nil},
		{"no scheme", []wire.ACL{allow(31, "", "")}, nil},
		{"super", []wire.ACL{allow(31, "super", "")}, nil},
		{"one of two", []wire.ACL{open, allow(31, "ip", "x")}, nil},
		{"auth", []wire.ACL{allow(31, "auth", "whatever")}, []wire.ACL{allow(31, "digest", digestOf)}},
		{"auth twice", []wire.ACL{allow(31, "auth", ""), allow(16, "auth", "")}, []wire.ACL{allow(31, "digest", digestOf), allow(16, "digest", digestOf)}},
		{"auth and the same", []wire.ACL{allow(31, "auth", ""), allow(31, "digest", digestOf)}, []wire.ACL{allow(31, "digest", digestOf), allow(31, "digest", digestOf)}},
		{"etcd", []wire.ACL{open, allow(31, "etcd", "root")}, []wire.ACL{open, allow(31, "etcd", "root")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := c.createWith("/x", test.acl...)
			if test.acl == nil {
				err = c.call(wire.OpCreate, &wire.CreateRequest{Path: "/x"}).Err
			}
			require.Equal(t, wire.OK, anonymous.createWith("/y", open))
			defer anonymous.remove("/y")
			if test.stored == nil {
				require.Equal(t, wire.InvalidACL, err)
				require.Equal(t, wire.InvalidACL, c.setACL("/y", -1, test.acl...))
				require.Equal(t, wire.BadArguments, c.createWith("x", test.acl...), "the path goes first")
				require.Equal(t, wire.InvalidACL, c.createWith("/none/x", test.acl...), "the parent comes later")
				return
			}
			require.Equal(t, wire.OK, err)
			got, stat := c.getACL("/x")
			require.Equal(t, test.stored, got)
			require.Zero(t, stat.Aversion)
			require.Equal(t, wire.OK, c.setACL("/y", 0, test.acl...))
			got, stat = c.getACL("/y")
			require.Equal(t, test.stored, got)
			require.Equal(t, int32(1), stat.Aversion)
			require.Equal(t, stat.Czxid, stat.Mzxid)
			c.remove("/x")
		})
	}
	require.Equal(t, wire.InvalidACL, anonymous.createWith("/x", allow(31, "auth", "")), "CREATOR_ALL_ACL of nobody")
}

// A2, A4: ids that are well formed for their scheme, as ZooKeeper 3.9.5 has it.
func TestACLIDs(t *testing.T) {
	for scheme, ids := range map[string]struct{ good, bad []string }{
		"digest": {
			[]string{"a:b", ":b", "a:b:", "a:b::"}, []string{"", "a", "a:", ":", "::b", "a::b", "a:b:c"},
		},
		"ip": {
			[]string{
				"1.2.3.4", "+1.2.3.04", "1.2.3.4/0", "1.2.3.4/32", "1.2.3.4/+8", "::", "::1", "::1/128", "1:2:3:4:5:6:7:8",
				"1:2:3:4:5:6::8", "-1::", "+1::",
			},
			[]string{
				"", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.-1", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/8/9",
				"1.2.3.4 ", "1_0.2.3.4", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7::8", "::1/129", "12345::", "g::", ":1", "1:",
				"::ffff:1.2.3.4", "fe80::1%eth0",
			},
		},
		"x509": {
			[]string{
				"", "CN=a", "CN=a,O=b", "cn = a ; o= b", `CN="a,b"`, "CN=a+OU=b", "1.2.3=a", "OID.1.2.3=a", "CN=", `CN=a\,b`, "CN=a=b",
				"EMAILADDRESS=a@b,UID=x,DC=com", "CN=a\nb", "CN=é", "C=USA", "CN=  ", "CN=a O=b",
			},
			[]string{
				"x", " ", "XX=a", `CN="a`, "CN=a,", "1=a", "3.1=a", `CN=a\`, "CN=<a>", "=a", "CN=#0403", "CN=#zz", ",CN=a", "CN=a,,O=b",
				`CN="a"b`, `CN=a"b`, `CN=\zz`,
			},
		},
		"sasl": {
			[]string{"", "bob", "a/b/c", "a@", "@", "a/b@C"}, []string{"a@b@c", "a/b/c@d"},
		},
		"etcd": {[]string{"root"}, []string{""}},
	} {
		for _, id := range ids.good {
			require.True(t, validID(scheme, id), "%s %q", scheme, id)
		}
		for _, id := range ids.bad {
			require.False(t, validID(scheme, id), "%s %q", scheme, id)
		}
	}
}

// The schemes that have to be configured are unknown without.
func TestSchemesThatAreNotRegistered(t *testing.T) {
	c := startServer(t).connect()
	for _, scheme := range []string{"x509", "sasl"} {
		require.Equal(t, wire.InvalidACL, c.createWith("/x", allow(31, scheme, "CN=a")), scheme)
	}
}

// An id that is null is what ZooKeeper trips over, but in a scheme that there is not.
func TestACLOfNull(t *testing.T) {
	c := startServer(t, schemes).connect()
	for scheme, want := range map[string]wire.ErrorCode{
		"world": wire.MarshallingError, "ip": wire.MarshallingError, "digest": wire.MarshallingError,
		"x509": wire.MarshallingError, "sasl": wire.MarshallingError, "none": wire.InvalidACL, "auth": wire.InvalidACL,
	} {
		null := allow(31, scheme, wire.NullText)
		require.Equal(t, want, c.createWith("/x", null), scheme)
		require.Equal(t, wire.BadArguments, c.createWith("x", null), scheme)
		require.Equal(t, want, c.setACL("/", -1, null), scheme)
		r := c.call(wire.OpMulti, &wire.MultiRequest{Ops: []wire.MultiOp{{Op: wire.OpCreate, Path: "/x", ACL: []wire.ACL{null}}}})
		if want == wire.MarshallingError {
			require.Equal(t, want, r.Err, scheme)
		} else {
			require.Equal(t, wire.OK, r.Err, scheme)
		}
	}
	c.ok(wire.OpPing, nil, nil)
}

// A5: getACL needs READ or ADMIN, and shows no password of a digest without ADMIN.
func TestGetACLMasks(t *testing.T) {
	c := startServer(t).connect()
	secret := []wire.ACL{allow(31, "digest", "a:b"), allow(31, "digest", "a\nb:c\nd"), allow(31, "ip", "9.9.9.9")}
	get := func(world int32) reply {
		require.Equal(t, wire.OK, c.createWith("/x", append([]wire.ACL{allow(world, "world", "anyone")}, secret...)...))
		defer c.remove("/x")
		return c.call(wire.OpGetACL, &wire.GetACLRequest{Path: "/x"})
	}
	require.Equal(t, wire.NoAuth, get(wire.PermAll&^wire.PermRead&^wire.PermAdmin).Err)
	for perms, want := range map[int32][]string{
		wire.PermRead:                  {"a:x", "a\nb:x\nd", "9.9.9.9"},
		wire.PermAdmin:                 {"a:b", "a\nb:c\nd", "9.9.9.9"},
		wire.PermRead | wire.PermAdmin: {"a:b", "a\nb:c\nd", "9.9.9.9"},
	} {
		var m wire.GetACLResponse
		get(perms).into(t, &m)
		for i, id := range want {
			require.Equal(t, id, m.ACL[1+i].ID)
		}
	}
}

// A1, A6: what each request needs, of the znode or of its parent. One right more than
// those is of no use, and there is no inheritance.
func TestRightsOfRequests(t *testing.T) {
	s := startServer(t, schemes)
	c := s.connect()
	super := s.connect()
	super.auth("digest", "super:test")
	for _, test := range []struct {
		op     wire.OpCode
		body   message
		parent int32 // what is needed of the parent, or else of the znode
		node   int32
	}{
		{wire.OpGetData, &wire.ReadRequest{Path: "/p/n"}, 0, wire.PermRead},
		{wire.OpExists, &wire.ReadRequest{Path: "/p/n"}, 0, wire.PermRead}, // A6
		{wire.OpGetChildren, &wire.ReadRequest{Path: "/p/n"}, 0, wire.PermRead},
		{wire.OpGetChildren2, &wire.ReadRequest{Path: "/p/n"}, 0, wire.PermRead},
		{wire.OpGetAllChildrenNumber, &wire.GetAllChildrenNumberRequest{Path: "/p/n"}, 0, wire.PermRead},
		{wire.OpSetData, &wire.SetDataRequest{Path: "/p/n", Version: -1}, 0, wire.PermWrite},
		{wire.OpSetACL, &wire.SetACLRequest{Path: "/p/n", ACL: wire.OpenACLUnsafe, Version: -1}, 0, wire.PermAdmin},
		{wire.OpCreate, &wire.CreateRequest{Path: "/p/m", ACL: wire.OpenACLUnsafe}, wire.PermCreate, 0},
		{wire.OpDelete, &wire.DeleteRequest{Path: "/p/n", Version: -1}, wire.PermDelete, 0},
		{wire.OpSync, &wire.SyncRequest{Path: "/p/n"}, 0, 0},
	} {
		t.Run(test.op.String(), func(t *testing.T) {
			for perms := int32(0); perms <= wire.PermAll; perms++ {
				// Another right on the other of the two does not help.
				parent, node := wire.PermAll&^wire.PermRead, perms
				if test.parent != 0 {
					parent, node = perms, wire.PermAll
				}
				require.Equal(t, wire.OK, super.createWith("/p", allow(parent, "world", "anyone")))
				require.Equal(t, wire.OK, super.createWith("/p/n", allow(node, "world", "anyone")))
				want := wire.NoAuth
				if need := test.parent | test.node; need == 0 || perms&need != 0 {
					want = wire.OK
				}
				require.Equal(t, want, c.call(test.op, test.body).Err, "%05b", perms)
				for _, path := range []string{"/p/n", "/p/m", "/p"} {
					super.call(wire.OpDelete, &wire.DeleteRequest{Path: path, Version: -1})
				}
			}
		})
	}
}

// skipACL lets everybody do everything, and looks at lists all the same.
func TestSkipACL(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Security.SkipACL = true })
	c := s.connect()
	require.Equal(t, wire.InvalidACL, c.createWith("/x", allow(31, "auth", "")))
	require.Equal(t, wire.OK, c.createWith("/x", allow(0, "digest", "a:b")))
	c.set("/x", "1")
	acl, _ := c.getACL("/x")
	require.Equal(t, []wire.ACL{allow(0, "digest", "a:b")}, acl, "not masked")
	require.Equal(t, []wire.ClientInfo{{Scheme: "ip", User: "127.0.0.1"}}, c.clientInfo())
}

// A list may name the addresses that it allows, by their leading bits.
func TestACLOfAddresses(t *testing.T) {
	c := startServer(t).connect()
	require.Equal(t, wire.OK, c.createWith("/near", allow(31, "ip", "127.0.0.0/8")))
	require.Equal(t, wire.OK, c.createWith("/far", allow(31, "ip", "128.0.0.0/8")))
	c.get("/near", false)
	require.Equal(t, wire.NoAuth, c.call(wire.OpGetData, &wire.ReadRequest{Path: "/far"}).Err)
}

func TestDigestAlgorithm(t *testing.T) {
	for algorithm, id := range map[string]string{
		"": digestOf, "sha1": digestOf, "SHA-1": digestOf,
		"MD5":     "u:wj9ntl1lUHd6RGlGHs+1Hg==",
		"SHA-256": "u:/Y8xRBngpX5duYn15uUqIRaIaCviy5TEwSk419hCwuA=",
	} {
		require.True(t, ValidDigestAlgorithm(algorithm))
		s := startServer(t, func(c *Config) { c.Security.DigestAlgorithm = algorithm })
		c := s.connect()
		c.auth("digest", "u:p")
		require.Equal(t, wire.OK, c.createWith("/x", allow(31, "auth", "")))
		acl, _ := c.getACL("/x")
		require.Equal(t, id, acl[0].ID, algorithm)
	}
	require.False(t, ValidDigestAlgorithm("CRC"))
	s := startServer(t, func(c *Config) { c.Security.DigestAlgorithm = "CRC" })
	require.Equal(t, wire.AuthFailed, s.connect().call(wire.OpAuth, &wire.AuthPacket{Scheme: "digest", Auth: []byte("u:p")}).Err)
}

// A list of as many entries as there may be takes no time to speak of, or the session
// would be over; and no more than a frame comes of a request that says "auth" very often
// for one who has proven very much.
func TestLongACLs(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	long := make([]wire.ACL, 30_000)
	for i := range long {
		long[i] = allow(int32(32*i+1), "ip", fmt.Sprint("10.1.", i/250, ".", i%250))
	}
	require.Equal(t, wire.InvalidACL, c.createWith("/long", append(long, open)...), "more than core.MaxACL")
	require.Equal(t, wire.OK, c.createWith("/long", append(long[:2500:2500], open)...))
	checks := make([]wire.MultiOp, 1000) // nor does a request that is judged by it again and again
	for i := range checks {
		checks[i] = wire.MultiOp{Op: wire.OpCheck, Path: "/long", Version: -1}
	}
	c.ok(wire.OpMulti, &wire.MultiRequest{Ops: checks}, new(wire.MultiResponse))

	for i := range 150 {
		c.auth("digest", fmt.Sprint(i, ":p"))
	}
	for i := range long {
		long[i] = allow(int32(i), "auth", "")
	}
	require.Equal(t, wire.InvalidACL, c.createWith("/short", long...))
	ops := make([]wire.MultiOp, 300)
	for i := range ops { // each of which would do by itself
		ops[i] = wire.MultiOp{Op: wire.OpCreate, Path: fmt.Sprint("/", i), ACL: long[:4]}
	}
	var m wire.MultiResponse
	c.ok(wire.OpMulti, &wire.MultiRequest{Ops: ops}, &m)
	var failed []wire.ErrorCode
	for _, result := range m.Results {
		if result.Err != wire.OK && result.Err != wire.RuntimeInconsistency {
			failed = append(failed, result.Err)
		}
	}
	require.Equal(t, []wire.ErrorCode{wire.InvalidACL}, failed)
	require.Equal(t, wire.OK, c.createWith("/short", long[:4]...))
	acl, _ := c.getACL("/short")
	require.Len(t, acl, 4*150)
}

// What a client proves is bounded: each of its writes carries it, in the log, too.
func TestMuchProven(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	n := 0
	for err := wire.OK; err == wire.OK; n++ {
		require.Less(t, n, maxProven/20)
		err = c.call(wire.OpAuth, &wire.AuthPacket{Scheme: "digest", Auth: fmt.Append(nil, n, ":p")}).Err
	}
	c.gone()
	require.Greater(t, n, 100)
}

// Addresses are told as Java prints them.
func TestJavaAddress(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1": "127.0.0.1", "::1": "0:0:0:0:0:0:0:1", "2001:db8::ff00": "2001:db8:0:0:0:0:0:ff00",
		"::ffff:1.2.3.4": "1.2.3.4", "fe80::1%eth0": "fe80:0:0:0:0:0:0:1", "pipe": "pipe",
	} {
		require.Equal(t, want, javaAddress(in))
	}
}

// What a client shows to prove who it is, is in no log.
func TestNoPasswordIsLogged(t *testing.T) {
	var log bytes.Buffer
	s := startServer(t, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Security.DigestAlgorithm = "SHA-256"
	})
	c := s.connect()
	c.auth("digest", "user:hunter2")
	require.Equal(t, wire.AuthFailed, c.call(wire.OpAuth, &wire.AuthPacket{Scheme: "none", Auth: []byte("user:hunter2")}).Err)
	c.gone()
	require.NoError(t, s.face.Shutdown(s.ctx()))
	require.NotContains(t, log.String(), "hunter2")
}

func FuzzACLIDs(f *testing.F) {
	for _, id := range []string{"1.2.3.4/8", "::1/64", "a:b", `CN="a,b" + 1.2=#0400 ; O=\,`, "a/b@C"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		for _, scheme := range []string{"world", "ip", "digest", "x509", "sasl", "etcd"} {
			validID(scheme, id)
		}
		c := &conn{srv: &Server{}}
		c.who.Store(c.srv.newIdentities(nil))
		fixed := c.fixupACL([]wire.ACL{{Perms: 31, Scheme: "digest", ID: id}})
		if fixed.acl != "" {
			entries, err := fixed.acl.Entries()
			require.NoError(t, err)
			require.LessOrEqual(t, len(masked(entries)[0].ID), 2*len(id))
		}
	})
}
