package zk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// do has commands executed on behalf of root.
func (s *server) do(cmds ...core.Command) {
	s.Helper()
	for _, cmd := range cmds {
		_, err := s.node.Do(s.ctx(), core.Principal{User: core.RootUser, AuthRev: s.node.Auth().Status().Rev}, cmd)
		require.NoError(s, err, "%+v", cmd)
	}
}

// While etcd's authentication is on, a client may do what the user zookeeper may.
func TestClientsAreTheUserZooKeeper(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	c.ok(wire.OpCreate, &wire.CreateRequest{Path: "/open", ACL: wire.OpenACLUnsafe, Data: []byte("1")}, new(wire.CreateResponse))
	c.ok(wire.OpGetData, &wire.ReadRequest{Path: "/open", Watch: true}, new(wire.GetDataResponse))

	s.do(
		&core.UserAdd{Name: core.RootUser, Hash: []byte("h")},
		&core.UserGrantRole{User: core.RootUser, Role: core.RootRole},
		&core.AuthEnable{},
	)
	refused := func(op wire.OpCode, body message) {
		t.Helper()
		require.Equal(t, wire.NoAuth, c.call(op, body).Err)
	}
	set := &wire.SetDataRequest{Path: "/open", Data: []byte("2"), Version: -1}
	get := &wire.ReadRequest{Path: "/open"}
	refused(wire.OpSetData, set)
	refused(wire.OpGetData, get)
	refused(wire.OpExists, &wire.ReadRequest{Path: "/nowhere", Watch: true})
	refused(wire.OpGetChildren, &wire.ReadRequest{Path: "/"})
	refused(wire.OpMulti, &wire.MultiRequest{Ops: []wire.MultiOp{{Op: wire.OpCheck, Path: "/open", Version: -1}}})
	c.ok(wire.OpPing, nil, nil)
	c.ok(wire.OpSync, &wire.SyncRequest{Path: "/open"}, new(wire.SyncResponse))
	s.connect().ok(wire.OpCloseSession, nil, nil)

	everything := core.Permission{Type: core.PermitReadWrite, Interval: core.Interval{Key: []byte("/zk/"), End: []byte("/zk0")}}
	s.do(
		&core.UserAdd{Name: core.ZooKeeperUser, NoPassword: true},
		&core.RoleAdd{Name: "r"},
		&core.UserGrantRole{User: core.ZooKeeperUser, Role: "r"},
		&core.RoleGrantPermission{Role: "r", Permission: everything},
	)
	c.ok(wire.OpCreate, &wire.CreateRequest{Path: "/nowhere", ACL: wire.OpenACLUnsafe}, new(wire.CreateResponse))
	c.ok(wire.OpGetChildren, &wire.ReadRequest{Path: "/"}, new(wire.GetChildrenResponse))

	// The watch on /open was set when it was allowed, and fires; that on /nowhere was not.
	c.send(wire.OpSetData, set)
	require.Equal(t, "/open", c.recv().event(t).Path)
	require.Equal(t, wire.OK, c.recv().Err)

	s.do(&core.UserDelete{Name: core.ZooKeeperUser})
	refused(wire.OpGetData, get)
	s.do(&core.AuthDisable{})
	c.ok(wire.OpGetData, get, new(wire.GetDataResponse))
}

// While etcd's authentication is on, a client is the etcd user whose name and password
// it gave as a digest, and that user to ACLs of the scheme "etcd"; root is super. What
// does not prove a user leaves it who it was (design 8).
func TestDigestsAreEtcdUsers(t *testing.T) {
	s := startServer(t)
	hashes := map[string]string{ // by bcrypt at its least cost
		"rootpw": "$2a$04$Jfejz14xebmBnmUY8oABc.5CUs8BHQeHltz0hqnvzte0x6BndenGy",
		"pw":     "$2a$04$XQ7836357yD/OqjSflw2kuLQH1khg8u8DXCH1vXFvO6eKQC.4Ok7G",
		"other":  "$2a$04$RFJJXOrGaP6ILwL0OmG.4eNgIOS2CHMA4Ud7M62rIr4VIxYPwPxby",
	}
	hash := func(password string) []byte { return []byte(hashes[password]) }
	s.do(
		&core.UserAdd{Name: core.RootUser, Hash: hash("rootpw")},
		&core.UserGrantRole{User: core.RootUser, Role: core.RootRole},
		&core.UserAdd{Name: "alice", Hash: hash("pw")},
		&core.RoleAdd{Name: "r"},
		&core.UserGrantRole{User: "alice", Role: "r"},
		&core.RoleGrantPermission{Role: "r", Permission: core.Permission{
			Type: core.PermitReadWrite, Interval: core.Interval{Key: []byte("/zk/"), End: []byte("/zk0")},
		}},
		&core.AuthEnable{},
	)
	c := s.connect()
	refused := func(c *client, path string) {
		t.Helper()
		require.Equal(t, wire.NoAuth, c.createWith(path, open))
	}
	refused(c, "/a")
	c.auth("digest", "alice:wrong")
	refused(c, "/a")
	c.auth("digest", "alice:pw")
	require.Equal(t, wire.OK, c.createWith("/a", allow(31, "etcd", "alice")))
	c.set("/a", "1")
	require.Equal(t, []wire.ClientInfo{{Scheme: "ip", User: "127.0.0.1"}, {Scheme: "digest", User: "alice"}, {Scheme: "digest", User: "alice"}}, c.clientInfo())

	root := s.connect()
	root.auth("digest", "root:rootpw")
	require.Equal(t, wire.OK, root.createWith("/r", allow(31, "digest", "x:y")))
	root.get("/a", false)
	root.get("/r", false)
	require.Equal(t, wire.NoAuth, c.call(wire.OpGetData, &wire.ReadRequest{Path: "/r"}).Err)

	s.do(&core.UserChangePassword{Name: "alice", Hash: hash("other")})
	refused(c, "/b")
	c.auth("digest", "alice:other")
	require.Equal(t, wire.OK, c.createWith("/b", open))
	s.do(&core.AuthDisable{})
	require.Equal(t, wire.NoAuth, s.connect().call(wire.OpGetData, &wire.ReadRequest{Path: "/a"}).Err, "nobody is an etcd user now")
}
