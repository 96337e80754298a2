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
