package zk

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// A6: addWatch asks for no right, and each event goes to who may read the znode, or for
// its children the parent, as it is then. A watch that fires once is gone even so.
// (Compared with a ZooKeeper 3.9.5: compat-tests/zkoracle, aclevents.)
func TestA6EventsAreForWhoMayRead(t *testing.T) {
	s := startServer(t)
	owner, c := s.connect(), s.connect()
	owner.auth("digest", "u:p")
	mine := allow(wire.PermAll, "digest", digestOf)
	c.addWatch("/", wire.AddPersistentRecursive)
	c.addWatch("/m", wire.AddPersistent)
	require.Equal(t, wire.NoNode, c.exists("/m", true))
	require.Equal(t, wire.OK, owner.createWith("/m", mine))
	require.Equal(t, wire.OK, owner.createWith("/m/open", open))
	owner.set("/m", "1")
	require.Equal(t, wire.OK, owner.createWith("/m/closed", mine))
	c.told(created("/m/open"))
	require.Equal(t, wire.NoWatcher, c.call(wire.OpCheckWatches, &wire.CheckWatchesRequest{Path: "/m", Type: wire.WatcherData}).Err)

	require.Equal(t, wire.OK, owner.setACL("/m", -1, open))
	owner.set("/m", "2")
	c.told(changed("/m"))
	c.get("/m", true)
	c.children("/m", true)
	require.Equal(t, wire.OK, owner.setACL("/m", -1, mine))
	owner.set("/m", "3")
	owner.remove("/m/open")
	c.told(deleted("/m/open")) // not that the children of /m changed
	for _, kind := range []wire.WatcherType{wire.WatcherData, wire.WatcherChildren} {
		require.Equal(t, wire.NoWatcher, c.call(wire.OpCheckWatches, &wire.CheckWatchesRequest{Path: "/m", Type: kind}).Err)
	}

	c.auth("digest", "u:p") // who it is at the time of the event counts
	owner.set("/m", "4")
	owner.remove("/m/closed")
	owner.remove("/m")
	c.told(changed("/m"), deleted("/m/closed"), children("/m"), deleted("/m"))
}

// What was missed is told without a look at ACLs (A6).
func TestA6ReplaysAreNotJudged(t *testing.T) {
	s := startServer(t)
	owner, c := s.connect(), s.connect()
	owner.auth("digest", "u:p")
	require.Equal(t, wire.OK, owner.createWith("/m", allow(wire.PermAll, "digest", digestOf)))
	c.send(wire.OpSetWatches, &wire.SetWatches{DataWatches: []string{"/m"}, ExistWatches: []string{"/m"}, ChildWatches: []string{"/m"}})
	for _, want := range []wire.WatcherEvent{changed("/m"), created("/m"), children("/m")} {
		require.Equal(t, want, c.recv().event(t))
	}
	require.Equal(t, wire.OK, c.recv().Err)
}

// While etcd's authentication is on, events go to who may read the key, even of what is
// open to the world.
func TestEventsNeedEtcdsPermission(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	c.create("/mine", "", wire.Persistent)
	c.create("/other", "", wire.Persistent)
	c.addWatch("/", wire.AddPersistentRecursive)
	s.enableAuth("/zk/mine", "/zk/minf")
	s.do(&core.Put{Key: []byte("/zk/other")}, &core.Put{Key: []byte("/zk/mine")}, &core.Put{Key: []byte("/zk/mine/x")})
	c.told(changed("/mine"), created("/mine/x"))
	s.do(&core.AuthDisable{})
	s.do(&core.Put{Key: []byte("/zk/other")})
	c.told(changed("/other"))
}

// One whose password was never looked at is not told of anything, and none of the others
// waits until it is: it is closed, and sets its watches anew.
func TestEventsDoNotWaitForPasswords(t *testing.T) {
	s := startServer(t)
	c, other := s.connect(), s.connect()
	c.auth("digest", core.RootUser+":secret")
	c.addWatch("/", wire.AddPersistentRecursive)
	other.addWatch("/", wire.AddPersistentRecursive)
	hash, err := s.node.Auth().HashPassword(s.ctx(), "secret")
	require.NoError(t, err)
	s.do(
		&core.UserAdd{Name: core.RootUser, Hash: hash},
		&core.UserGrantRole{User: core.RootUser, Role: core.RootRole},
		&core.AuthEnable{},
	)
	s.do(&core.Put{Key: []byte("/zk/a")})
	c.gone()
	require.Equal(t, wire.NoAuth, other.exists("/", false)) // nobody, who is told nothing

	c = s.connect()
	c.auth("digest", core.RootUser+":secret")
	c.addWatch("/", wire.AddPersistentRecursive)
	s.do(&core.Put{Key: []byte("/zk/b")})
	c.told(created("/b"))
}

// aclStore is a store with the lists 2, for the scheme "test" and the id "in", and 3,
// for nobody.
type aclStore struct {
	core.Store
	looks int
}

func (s *aclStore) View(_ context.Context, who core.Principal, _ core.Consistency) (core.View, error) {
	s.looks++
	return aclView{who: who}, nil
}

type aclView struct {
	core.View
	core.ZnodeView
	who core.Principal
}

func (v aclView) Znodes() core.ZnodeView { return v }
func (aclView) Close()                   {}
func (v aclView) Allows(acl core.ZnodeACL, need core.Perms) bool {
	return need == core.PermRead && acl == 2 && v.who.IDs.Has("test", "in")
}

// The judge looks a list up once for each who watches, whatever the number of events and
// of connections; and not at all for the open one.
func TestJudgeLooksOnce(t *testing.T) {
	store := &aclStore{}
	table, subs := newWatchTable(), herd(100)
	table.judge.store = store
	sinks := make([]sink, len(subs))
	in := core.Principal{IDs: core.Identities("").With("test", "in")}
	for i, s := range subs {
		if s.out.w = &sinks[i]; i%2 == 0 {
			s.who = func() core.Principal { return in }
		}
		watchNow(table, s, watchPersistent, "/a", 1)
	}
	change := func(rev core.Rev, acl core.ZnodeACL) []*core.Revision {
		return []*core.Revision{{Rev: rev, Steps: []core.ZnodeStep{{Event: core.ZnodeDataChanged, Path: "/a", ACL: acl}}}}
	}
	size := len(appendEvent(nil, 1, wire.EventNodeDataChanged, "/a"))
	table.Revisions(change(2, core.ACLOpen), 2)
	require.Zero(t, store.looks)
	for rev := core.Rev(3); rev < 6; rev++ {
		table.Revisions(change(rev, 2), rev)
		require.Equal(t, 2, store.looks)
	}
	table.Revisions(change(6, 3), 6)
	require.Equal(t, 4, store.looks)
	for i := range sinks {
		want := size
		if i%2 == 0 {
			want = 4 * size
		}
		require.Len(t, sinks[i].bytes, want)
	}
}
