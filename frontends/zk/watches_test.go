package zk

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

func event(kind wire.EventType, path string) wire.WatcherEvent {
	return wire.WatcherEvent{Type: kind, State: wire.StateSyncConnected, Path: path}
}

// W1: what fires, once, in which order and with which zxid.
func TestWatchesFire(t *testing.T) {
	s := startServer(t)
	c, other := s.connect(), s.connect()
	other.create("/p", "", wire.Persistent)
	require.Equal(t, wire.NoNode, c.exists("/p/c", true))
	c.children("/p", true)
	other.create("/p/c", "", wire.Persistent)
	zxid := other.ok(wire.OpGetData, &wire.GetDataRequest{Path: "/p/c"}, new(wire.GetDataResponse)).Zxid
	r := c.recv()
	require.Equal(t, zxid, r.Zxid)
	require.Equal(t, event(wire.EventNodeCreated, "/p/c"), r.event(t))
	r = c.recv()
	require.Equal(t, zxid, r.Zxid)
	require.Equal(t, event(wire.EventNodeChildrenChanged, "/p"), r.event(t))

	c.get("/p/c", true)
	c.get("/p/c", true)
	other.set("/p/c", "1")
	other.set("/p/c", "2")
	require.Equal(t, event(wire.EventNodeDataChanged, "/p/c"), c.recv().event(t))
	data, _ := c.get("/p/c", true) // the next to come is the reply: there is no second event
	require.Equal(t, "2", data)

	c.children("/p/c", true)
	c.children("/p", true)
	other.remove("/p/c")
	require.Equal(t, event(wire.EventNodeDeleted, "/p/c"), c.recv().event(t), "one for both kinds of watch")
	require.Equal(t, event(wire.EventNodeChildrenChanged, "/p"), c.recv().event(t))
	require.Equal(t, wire.NoNode, c.exists("/p/c", false))
	require.Zero(t, s.face.watches.watches())
}

// A client's own write fires its watches before the reply (Z5).
func TestOwnWriteFiresFirst(t *testing.T) {
	c := startServer(t).connect()
	c.create("/a", "", wire.Persistent)
	c.get("/a", true)
	c.send(wire.OpSetData, &wire.SetDataRequest{Path: "/a", Version: -1})
	e, r := c.recv(), c.recv()
	require.Equal(t, event(wire.EventNodeDataChanged, "/a"), e.event(t))
	require.Equal(t, r.Zxid, e.Zxid)
}

// W3: the events of a multi carry its zxid, in order.
func TestWatchesOfAMulti(t *testing.T) {
	s := startServer(t)
	c, other := s.connect(), s.connect()
	for _, path := range []string{"/a", "/b", "/a/x"} {
		c.exists(path, true)
	}
	c.children("/", true)
	r := other.ok(wire.OpMulti, &wire.MultiRequest{Ops: []wire.MultiOp{
		{Op: wire.OpCreate, Path: "/b", ACL: wire.OpenACLUnsafe},
		{Op: wire.OpCreate, Path: "/a", ACL: wire.OpenACLUnsafe},
		{Op: wire.OpCreate, Path: "/a/x", ACL: wire.OpenACLUnsafe},
	}}, new(wire.MultiResponse))
	for _, want := range []wire.WatcherEvent{
		event(wire.EventNodeCreated, "/b"), event(wire.EventNodeChildrenChanged, "/"),
		event(wire.EventNodeCreated, "/a"), event(wire.EventNodeCreated, "/a/x"),
	} {
		e := c.recv()
		require.Equal(t, want, e.event(t))
		require.Equal(t, r.Zxid, e.Zxid)
	}
}

// W2: no watch is set on what is not there, but by exists.
func TestFailedReadSetsNoWatch(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	require.Equal(t, wire.NoNode, c.call(wire.OpGetData, &wire.GetDataRequest{Path: "/a", Watch: true}).Err)
	require.Equal(t, wire.NoNode, c.call(wire.OpGetChildren, &wire.GetChildrenRequest{Path: "/a", Watch: true}).Err)
	require.Zero(t, s.face.watches.watches())
	c.create("/a", "", wire.Persistent)
	c.ok(wire.OpPing, nil, nil)
}

func TestCheckAndRemoveWatches(t *testing.T) {
	s := startServer(t)
	c, other := s.connect(), s.connect()
	other.create("/a", "", wire.Persistent)
	check := func(kind wire.WatcherType) wire.ErrorCode {
		return c.call(wire.OpCheckWatches, &wire.CheckWatchesRequest{Path: "/a", Type: kind}).Err
	}
	remove := func(kind wire.WatcherType) wire.ErrorCode {
		return c.call(wire.OpRemoveWatches, &wire.RemoveWatchesRequest{Path: "/a", Type: kind}).Err
	}
	for _, kind := range []wire.WatcherType{1, 2, 3, 4, 5} {
		require.Equal(t, wire.NoWatcher, check(kind))
		require.Equal(t, wire.NoWatcher, remove(kind))
	}
	for _, kind := range []wire.WatcherType{0, 6, -1} {
		require.Equal(t, wire.MarshallingError, check(kind))
		require.Equal(t, wire.MarshallingError, remove(kind))
	}
	c.get("/a", true)
	require.Equal(t, wire.OK, check(wire.WatcherData))
	require.Equal(t, wire.OK, check(wire.WatcherAny))
	require.Equal(t, wire.NoWatcher, check(wire.WatcherChildren))
	c.children("/a", true)
	require.Equal(t, wire.OK, remove(wire.WatcherData))
	require.Equal(t, wire.NoWatcher, check(wire.WatcherData))
	require.Equal(t, wire.OK, check(wire.WatcherChildren))
	other.set("/a", "x")
	c.ok(wire.OpSync, &wire.SyncRequest{Path: "/"}, new(wire.SyncResponse)) // no event before it
	require.Equal(t, wire.OK, remove(wire.WatcherAny))
	require.Equal(t, wire.NoWatcher, remove(wire.WatcherAny))
	require.Zero(t, s.face.watches.watches())
}

// W3: what was missed is replayed, with zxid −1 and before the reply.
func TestSetWatchesReplays(t *testing.T) {
	s := startServer(t)
	other := s.connect()
	for _, path := range []string{"/changed", "/same", "/parent", "/quiet"} {
		other.create(path, "", wire.Persistent)
	}
	since := other.ok(wire.OpExists, &wire.ExistsRequest{Path: "/"}, new(wire.ExistsResponse)).Zxid
	other.set("/changed", "x")
	other.create("/parent/c", "", wire.Persistent)
	other.create("/new", "", wire.Persistent)

	c := s.connect()
	xid := c.send(wire.OpSetWatches, &wire.SetWatches{
		RelativeZxid: since,
		DataWatches:  []string{"/changed", "/same", "/gone"},
		ExistWatches: []string{"/new", "/never"},
		ChildWatches: []string{"/parent", "/quiet", "/gone"},
	})
	for _, want := range []wire.WatcherEvent{
		event(wire.EventNodeDataChanged, "/changed"), event(wire.EventNodeDeleted, "/gone"), event(wire.EventNodeCreated, "/new"),
		event(wire.EventNodeChildrenChanged, "/parent"), event(wire.EventNodeDeleted, "/gone"),
	} {
		r := c.recv()
		require.Equal(t, want, r.event(t))
		require.Equal(t, int64(-1), r.Zxid)
	}
	r := c.recv()
	require.Equal(t, xid, r.Xid)
	require.Equal(t, wire.OK, r.Err)
	require.Equal(t, 3, s.face.watches.watches())
	other.set("/same", "x")
	other.create("/never", "", wire.Persistent)
	other.create("/quiet/c", "", wire.Persistent)
	for _, want := range []wire.WatcherEvent{
		event(wire.EventNodeDataChanged, "/same"), event(wire.EventNodeCreated, "/never"), event(wire.EventNodeChildrenChanged, "/quiet"),
	} {
		require.Equal(t, want, c.recv().event(t))
	}
}

// X1, X2: what an etcd client writes fires, too.
func TestWritesOfOthersFire(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	require.Equal(t, wire.NoNode, c.exists("/a", true))
	put := func(value string) core.Rev {
		res, err := s.node.Do(s.ctx(), core.Principal{}, &core.Put{Key: []byte("/zk/a"), Value: []byte(value)})
		require.NoError(t, err)
		return res.Rev
	}
	rev := put("one")
	r := c.recv()
	require.Equal(t, event(wire.EventNodeCreated, "/a"), r.event(t))
	require.Equal(t, int64(rev), r.Zxid)
	data, stat := c.get("/a", true)
	require.Equal(t, "one", data)
	require.Equal(t, int64(rev), stat.Czxid)
	rev = put("two")
	r = c.recv()
	require.Equal(t, event(wire.EventNodeDataChanged, "/a"), r.event(t))
	require.Equal(t, int64(rev), r.Zxid)
}

// What the hub cannot tell closes those who watch, and nobody else.
func TestLostEventsCloseWatchers(t *testing.T) {
	s := startServer(t)
	c, other := s.connect(), s.connect()
	c.exists("/a", true)
	s.face.watches.Lost(0)
	c.gone()
	other.ok(wire.OpPing, nil, nil)
}

// A client that leaves more events unread than may be queued is closed alone.
func TestTooManyEvents(t *testing.T) {
	table := newWatchTable()
	var slow, fine sink
	subscribe := func(w *sink) *subscriber {
		return &subscriber{out: &outbox{w: w}, kick: func() {}}
	}
	a, b := subscribe(&slow), subscribe(&fine)
	path := "/" + string(make([]byte, 30<<10))
	for rev := core.Rev(1); a.out.reason() == nil; rev++ {
		require.Less(t, rev, core.Rev(20<<10))
		for _, s := range []*subscriber{a, b} {
			watchNow(table, s, watchData, path, rev)
		}
		table.Revisions([]*core.Revision{{Rev: rev, Steps: []core.ZnodeStep{{Event: core.ZnodeDataChanged, Path: path}}}}, rev)
		_, err := b.out.flush()
		require.NoError(t, err)
	}
	require.ErrorIs(t, a.out.reason(), errSlowClient)
	require.NoError(t, b.out.reason())
}

// watchNow sets a watch behind an empty reply.
func watchNow(t *watchTable, s *subscriber, kind watchKind, path string, rev core.Rev) {
	regs := []registration{{path: path, kind: kind, keep: true}}
	t.arm(s, regs)
	t.settle(s, rev, nil, regs)
}

// modelKey is a watch of a naive model.
type modelKey struct {
	subscriber int
	kind       watchKind
	path       string
}

// The books of the table agree with each other and with a naive model, whatever is
// done to it.
func TestWatchTableKeepsItsBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := &books{table: newWatchTable(), model: map[modelKey]bool{}, paths: []string{"/", "/a", "/a/b", "/c"}}
		for range 3 {
			b.subs = append(b.subs, &subscriber{out: &outbox{w: &sink{}}, kick: func() {}})
		}
		t.Repeat(map[string]func(*rapid.T){"watch": b.watch, "remove": b.remove, "change": b.change, "drop": b.drop, "": b.check})
	})
}

// books is a table and a naive model of it.
type books struct {
	table *watchTable
	subs  []*subscriber
	paths []string
	model map[modelKey]bool
	rev   core.Rev
}

func (b *books) draw(t *rapid.T) modelKey {
	return modelKey{
		rapid.IntRange(0, len(b.subs)-1).Draw(t, "subscriber"),
		watchKind(rapid.IntRange(0, watchKinds-1).Draw(t, "kind")),
		rapid.SampledFrom(b.paths).Draw(t, "path"),
	}
}

func (b *books) watch(t *rapid.T) {
	key := b.draw(t)
	keep := rapid.Bool().Draw(t, "keep")
	regs := []registration{{path: key.path, kind: key.kind, keep: keep}}
	if rapid.Bool().Draw(t, "twice") {
		regs = append(regs, regs[0])
	}
	s := b.subs[key.subscriber]
	b.table.arm(s, regs)
	if !rapid.Bool().Draw(t, "settle") {
		b.table.withdraw(s, regs)
		return
	}
	b.table.settle(s, b.rev, nil, regs)
	b.model[key] = b.model[key] || keep
}

func (b *books) remove(t *rapid.T) {
	key := b.draw(t)
	s, one := b.subs[key.subscriber], []watchKind{key.kind}
	require.Equal(t, b.model[key], b.table.has(s, key.path, one))
	require.Equal(t, b.model[key], b.table.remove(s, key.path, one))
	delete(b.model, key)
}

func (b *books) change(t *rapid.T) {
	step := core.ZnodeStep{
		Event: core.ZnodeEvent(rapid.IntRange(0, 2).Draw(t, "event")), Path: rapid.SampledFrom(b.paths).Draw(t, "path"),
	}
	b.rev++
	b.table.Revisions([]*core.Revision{{Rev: b.rev, Steps: []core.ZnodeStep{step}}}, b.rev)
	for i := range b.subs {
		delete(b.model, modelKey{i, watchData, step.Path})
		if step.Event == core.ZnodeDeleted {
			delete(b.model, modelKey{i, watchChild, step.Path})
		}
		if step.Event != core.ZnodeDataChanged && step.Path != "/" {
			delete(b.model, modelKey{i, watchChild, parent(step.Path)})
		}
	}
}

func (b *books) drop(t *rapid.T) {
	i := rapid.IntRange(0, len(b.subs)-1).Draw(t, "subscriber")
	b.table.drop(b.subs[i])
	b.subs[i] = &subscriber{out: &outbox{w: &sink{}}, kick: func() {}}
	for key := range b.model {
		if key.subscriber == i {
			delete(b.model, key)
		}
	}
}

func (b *books) check(t *rapid.T) {
	var want watchSummary
	count, all, watched := 0, 0, map[string]bool{}
	for i, s := range b.subs {
		var paths []string
		for _, path := range b.paths {
			var set [watchKinds]bool
			for kind := range set {
				set[kind] = b.model[modelKey{i, watchKind(kind), path}]
				require.Equal(t, set[kind], s.set(watchKind(kind), path))
				if set[kind] {
					all++
				}
			}
			if set[watchData] || set[watchPersistent] || set[watchRecursive] {
				count++
				paths = append(paths, path)
				watched[path] = true
			}
			if set[watchChild] || set[watchPersistent] {
				count++
			}
		}
		if len(paths) > 0 {
			want.connections++
			want.watches += len(paths)
		}
		require.ElementsMatch(t, paths, b.table.watchedData(s))
	}
	want.paths = len(watched)
	require.Equal(t, want, b.table.summary())
	require.Equal(t, count, b.table.count)
	for kind, lists := range b.table.lists {
		for path, list := range lists {
			require.NotEmpty(t, list.watches, path)
			for i, w := range list.watches {
				require.Equal(t, i, w.pos)
				require.Same(t, w, w.sub.watched[kind][path])
			}
			all -= len(list.watches)
		}
	}
	require.Zero(t, all)
}
