package zk

import (
	"crypto/md5"
	"encoding/hex"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// withSASL has SASL's users bob and super.
func withSASL(change func(*Security)) func(*Config) {
	return func(c *Config) {
		c.Security.SASL = true
		c.Security.Users = map[string]string{"bob": "bobsecret", "super": "adminsecret"}
		if change != nil {
			change(&c.Security)
		}
	}
}

var nonceOf = regexp.MustCompile(`nonce="([^"]*)"`)

// answerTo is a client's answer to a challenge.
func answerTo(challenge []byte, user, password string) []byte {
	const realm, cnonce, uri = "zk-sasl-md5", "cnonce", "zookeeper/zk-sasl-md5"
	nonce := string(nonceOf.FindSubmatch(challenge)[1])
	hash := func(s string) string {
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	inner := md5.Sum([]byte(user + ":" + realm + ":" + password))
	a1 := hash(string(inner[:]) + ":" + nonce + ":" + cnonce)
	response := hash(a1 + ":" + nonce + ":00000001:" + cnonce + ":auth:" + hash("AUTHENTICATE:"+uri))
	return []byte(`charset=utf-8,username="` + user + `",realm="` + realm + `",nonce="` + nonce + `",nc=00000001,cnonce="` + cnonce +
		`",digest-uri="` + uri + `",response=` + response + `,qop=auth`)
}

// sasl sends a token and reads the reply, which tells no zxid.
func (c *client) sasl(token []byte) (wire.ErrorCode, []byte) {
	c.Helper()
	xid := c.send(wire.OpSASL, &wire.SASLMessage{Token: token})
	r := c.recv()
	require.Equal(c, xid, r.Xid)
	require.Zero(c, r.Zxid)
	var m wire.SASLMessage
	r.into(c, &m)
	return r.Err, m.Token
}

// login authenticates a client and requires the outcome of the second step.
func (c *client) login(user, password string, want wire.ErrorCode) {
	c.Helper()
	code, challenge := c.sasl([]byte{})
	require.Equal(c, wire.OK, code)
	code, proof := c.sasl(answerTo(challenge, user, password))
	require.Equal(c, want, code)
	if want == wire.OK {
		require.Regexp(c, "^rspauth=", string(proof))
	} else {
		require.Nil(c, proof)
	}
}

func (c *client) whoAmI() map[string]string {
	c.Helper()
	var m wire.WhoAmIResponse
	c.ok(wire.OpWhoAmI, nil, &m)
	who := map[string]string{}
	for _, i := range m.ClientInfo {
		who[i.Scheme] = i.User
	}
	return who
}

// ZooKeeper 3.9 ZooKeeperServer.processSasl, as recorded from a 3.9.5: who fails is told
// so and cut off, and who succeeds is known by its name.
func TestSASL(t *testing.T) {
	s := startServer(t, withSASL(func(x *Security) { x.SASLSuper = []string{"bob"} }))
	c := s.connect()
	c.login("super", "adminsecret", wire.OK)
	require.Equal(t, map[string]string{"ip": "127.0.0.1", "sasl": "super"}, c.whoAmI())

	bob := s.connect()
	bob.login("bob", "bobsecret", wire.OK)
	require.Equal(t, "bob", bob.whoAmI()["sasl"])
	require.Contains(t, bob.whoAmI(), core.SchemeSuper)
	code, _ := bob.sasl([]byte{})
	require.Equal(t, wire.AuthFailed, code, "an exchange is good for one authentication")
	bob.gone()

	for _, wrong := range [][2]string{{"bob", "x"}, {"eve", "bobsecret"}, {"eve", ""}, {"", ""}} {
		c := s.connect()
		c.login(wrong[0], wrong[1], wire.AuthFailed)
		c.gone()
	}
	c = s.connect()
	_, _ = c.sasl([]byte{})
	code, _ = c.sasl([]byte{})
	require.Equal(t, wire.AuthFailed, code)
	c.gone()
}

// A packet without a token, or without even a length of one, ends the connection without
// a word.
func TestSASLWithoutToken(t *testing.T) {
	s := startServer(t, withSASL(nil))
	c := s.connect()
	c.send(wire.OpSASL, &wire.SASLMessage{})
	c.gone()
	c = s.connect()
	c.send(wire.OpSASL, nil)
	c.gone()
}

// What SASL proves counts for the requests behind it, sent without waiting: A3, a znode
// of CREATOR_ALL_ACL belongs to the user.
func TestSASLInOrder(t *testing.T) {
	s := startServer(t, withSASL(nil))
	c := s.connect()
	_, challenge := c.sasl([]byte{})
	creator := []wire.ACL{{Perms: wire.PermAll, Scheme: "auth"}}
	c.write(append(append(append([]byte{},
		c.request(wire.OpCreate, &wire.CreateRequest{Path: "/early", ACL: creator})...),
		c.request(wire.OpSASL, &wire.SASLMessage{Token: answerTo(challenge, "bob", "bobsecret")})...),
		c.request(wire.OpCreate, &wire.CreateRequest{Path: "/late", ACL: creator})...))
	require.Equal(t, wire.InvalidACL, c.recv().Err)
	require.Equal(t, wire.OK, c.recv().Err)
	require.Equal(t, wire.OK, c.recv().Err)

	var m wire.GetACLResponse
	c.ok(wire.OpGetACL, &wire.GetACLRequest{Path: "/late"}, &m)
	require.Equal(t, []wire.ACL{{Perms: wire.PermAll, Scheme: "sasl", ID: "bob"}}, m.ACL)
	require.Equal(t, wire.NoAuth, s.connect().call(wire.OpGetData, &wire.GetDataRequest{Path: "/late"}).Err)
}

// Without users the server takes every token, says nothing and knows nobody.
func TestSASLWithoutUsers(t *testing.T) {
	c := startServer(t).connect()
	for range 2 {
		code, token := c.sasl([]byte("x"))
		require.Equal(t, wire.OK, code)
		require.Nil(t, token)
	}
	require.Equal(t, map[string]string{"ip": "127.0.0.1"}, c.whoAmI())
}

// allowSaslFailedClients: who fails goes on as nobody, and cannot try again.
func TestSASLFailedClientsAllowed(t *testing.T) {
	s := startServer(t, withSASL(func(x *Security) { x.AllowSASLFailed = true }))
	c := s.connect()
	_, challenge := c.sasl([]byte{})
	for _, token := range [][]byte{answerTo(challenge, "bob", "x"), answerTo(challenge, "bob", "bobsecret"), {}} {
		code, reply := c.sasl(token)
		require.Equal(t, wire.OK, code)
		require.Nil(t, reply)
	}
	require.Equal(t, map[string]string{"ip": "127.0.0.1"}, c.whoAmI())
}

// SASLAuthenticationProvider.superPassword is the password of super, and of nobody else.
func TestSASLSuperPassword(t *testing.T) {
	s := startServer(t, withSASL(func(x *Security) { x.SASLSuperPassword = "other" }))
	s.connect().login("super", "other", wire.OK)
	s.connect().login("bob", "bobsecret", wire.OK)
	s.connect().login("super", "adminsecret", wire.AuthFailed)
}

// sessionRequireClientSASLAuth and enforce.auth.*: until a client has authenticated as
// it must, everything but auth and sasl is refused and closes the connection.
func TestAuthenticationEnforced(t *testing.T) {
	sasl := withSASL(func(x *Security) { x.RequireSASL, x.AllowSASLFailed = true, true })
	digest := withSASL(func(x *Security) { x.RequireAuth, x.AuthSchemes = true, []string{"x509", "digest"} })
	for name, option := range map[string]func(*Config){"sasl": sasl, "digest": digest} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, option)
			for op, body := range map[wire.OpCode]message{
				wire.OpPing: nil, wire.OpCloseSession: nil, wire.OpWhoAmI: nil, 77: nil,
				wire.OpGetData: &wire.GetDataRequest{Path: "/"},
				wire.OpDelete:  &wire.DeleteRequest{Path: "/x", Version: -1},
			} {
				c := s.connect()
				xid := c.send(op, body)
				require.Equal(t, wire.ReplyHeader{Xid: xid, Err: wire.SessionClosedRequireSASL}, c.recv().ReplyHeader, "%v", op)
				c.gone()
			}
		})
	}
	digestLogin := &wire.AuthPacket{Scheme: "digest", Auth: []byte("bob:secret")}

	s := startServer(t, sasl)
	c := s.connect()
	c.send(wire.OpAuth, digestLogin)
	require.Equal(t, wire.OK, c.recv().Err)
	c.login("bob", "bobsecret", wire.OK)
	c.ok(wire.OpPing, nil, nil)
	c.ok(wire.OpCloseSession, nil, nil)
	c = s.connect()
	c.login("bob", "x", wire.SessionClosedRequireSASL)
	c.gone()

	s = startServer(t, digest)
	c = s.connect()
	c.login("bob", "bobsecret", wire.OK)
	c.send(wire.OpPing, nil)
	require.Equal(t, wire.SessionClosedRequireSASL, c.recv().Err)
	c.gone()
	c = s.connect()
	c.send(wire.OpAuth, digestLogin)
	require.Equal(t, wire.OK, c.recv().Err)
	c.ok(wire.OpPing, nil, nil)
}

// The SASL user super is whom any entry of SASL's is about, and none of another scheme
// (ZooKeeper 3.9 SASLAuthenticationProvider.matches); its other powers are those of
// anyone.
func TestSASLSuperMatchesEveryUser(t *testing.T) {
	s := startServer(t, withSASL(nil))
	bob, super := s.connect(), s.connect()
	bob.login("bob", "bobsecret", wire.OK)
	super.login("super", "adminsecret", wire.OK)
	for path, acl := range map[string]wire.ACL{
		"/bob": {Perms: wire.PermAll, Scheme: "sasl", ID: "bob"}, "/digest": {Perms: wire.PermAll, Scheme: "digest", ID: "a:b"},
	} {
		bob.ok(wire.OpCreate, &wire.CreateRequest{Path: path, ACL: []wire.ACL{acl}}, new(wire.CreateResponse))
	}
	require.Equal(t, wire.OK, super.call(wire.OpGetData, &wire.GetDataRequest{Path: "/bob"}).Err)
	require.Equal(t, wire.NoAuth, super.call(wire.OpGetData, &wire.GetDataRequest{Path: "/digest"}).Err)
}
