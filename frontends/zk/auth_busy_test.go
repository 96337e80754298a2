package zk

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// busyAuth cannot tell who anybody is, while there is an error to say why.
type busyAuth struct {
	core.Auth
	err error
}

func (a *busyAuth) Status() core.AuthStatus { return core.AuthStatus{Enabled: true, Rev: 1} }

func (a *busyAuth) Resolve(context.Context, core.Credentials) (core.Principal, error) {
	return core.Principal{}, a.err
}

// One of whom it cannot be said now who it is has not been found to be nobody: that would
// be NoAuth, after which clients do not try again.
func TestWhoIsNotKnownIsNotNobody(t *testing.T) {
	auth := &busyAuth{}
	s := startServer(t, func(c *Config) { c.Auth = auth })
	c := s.connect()
	auth.err = core.TooManyRequests
	require.Equal(t, wire.ThrottledOp, c.exists("/", false))
	require.Equal(t, wire.ThrottledOp, c.call(wire.OpSync, &wire.SyncRequest{Path: "/"}).Err)
	auth.err = core.Deadline
	c.send(wire.OpGetData, &wire.ReadRequest{Path: "/"})
	c.gone()
	w := s.connect()
	w.send(wire.OpSetData, &wire.SetDataRequest{Path: "/", Version: -1})
	w.gone()
}

// While etcd's authentication hides a znode its watch is set again even so, and those
// beside it; each event is judged for itself.
func TestHiddenWatchesAreSetAgain(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	c.create("/mine", "", wire.Persistent)
	c.create("/other", "", wire.Persistent)
	s.enableAuth("/zk/mine", "/zk/minf")
	c.call(wire.OpSetWatches, &wire.SetWatches{
		RelativeZxid: 1 << 40, ExistWatches: []string{}, DataWatches: []string{"/other", "/mine"}, ChildWatches: []string{"/other", "/mine"},
	})
	require.Equal(t, 4, s.face.watches.watches())
	s.do(&core.Put{Key: []byte("/zk/other")}, &core.Put{Key: []byte("/zk/mine")})
	c.told(changed("/mine"))
	s.do(&core.AuthDisable{}, &core.Put{Key: []byte("/zk/other/x")})
	c.told(children("/other"))
}

// enableAuth turns authentication on, with a right of all ZooKeeper clients to some keys.
func (s *server) enableAuth(from, to string) {
	s.do(
		&core.UserAdd{Name: core.RootUser, Hash: []byte("h")},
		&core.UserGrantRole{User: core.RootUser, Role: core.RootRole},
		&core.UserAdd{Name: core.ZooKeeperUser, NoPassword: true},
		&core.RoleAdd{Name: "r"},
		&core.UserGrantRole{User: core.ZooKeeperUser, Role: "r"},
		&core.RoleGrantPermission{Role: "r", Permission: core.Permission{
			Type: core.PermitReadWrite, Interval: core.Interval{Key: []byte(from), End: []byte(to)},
		}},
		&core.AuthEnable{},
	)
}
