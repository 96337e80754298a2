package zk

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

func (c *client) addWatch(path string, mode wire.AddWatchMode) {
	c.Helper()
	// The body is required: without it a Java client closes the connection.
	c.ok(wire.OpAddWatch, &wire.AddWatchRequest{Path: path, Mode: mode}, new(wire.ErrorResponse))
}

// told requires that just these events have come: all of what is acknowledged by now comes
// before the reply to a read.
func (c *client) told(want ...wire.WatcherEvent) {
	c.Helper()
	xid := c.send(wire.OpExists, &wire.ExistsRequest{Path: "/"})
	var got []wire.WatcherEvent
	for r := c.recv(); r.Xid != xid; r = c.recv() {
		require.Positive(c, r.Zxid)
		got = append(got, r.event(c))
	}
	require.Equal(c, want, got)
}

func created(path string) wire.WatcherEvent  { return event(wire.EventNodeCreated, path) }
func deleted(path string) wire.WatcherEvent  { return event(wire.EventNodeDeleted, path) }
func changed(path string) wire.WatcherEvent  { return event(wire.EventNodeDataChanged, path) }
func children(path string) wire.WatcherEvent { return event(wire.EventNodeChildrenChanged, path) }

// W1: the table of what each kind of watch is told.
func TestW1WhatEachKindIsTold(t *testing.T) {
	s := startServer(t)
	other := s.connect()
	other.create("/p", "", wire.Persistent)
	recursive, persistent, both, root := s.connect(), s.connect(), s.connect(), s.connect()
	recursive.addWatch("/p", wire.AddPersistentRecursive)
	persistent.addWatch("/p", wire.AddPersistent)
	both.addWatch("/p", wire.AddPersistent)
	both.addWatch("/p", wire.AddPersistentRecursive)
	both.addWatch("/", wire.AddPersistentRecursive)
	both.get("/p", true)
	both.children("/p", true)
	root.addWatch("/", wire.AddPersistent)

	other.create("/p/x", "", wire.Persistent)
	recursive.told(created("/p/x"))
	persistent.told(children("/p"))
	both.told(created("/p/x"), children("/p"))
	root.told()

	other.set("/p", "1")
	recursive.told(changed("/p"))
	persistent.told(changed("/p"))
	both.told(changed("/p"))

	other.create("/p/x/y", "", wire.Persistent)
	other.set("/p/x", "1")
	recursive.told(created("/p/x/y"), changed("/p/x"))
	persistent.told()

	other.create("/pp", "", wire.Persistent) // begins as /p does
	recursive.told()
	root.told(children("/"))

	other.remove("/p/x/y")
	other.remove("/p/x")
	recursive.told(deleted("/p/x/y"), deleted("/p/x"))
	persistent.told(children("/p"))

	both.told(created("/p/x/y"), changed("/p/x"), created("/pp"), deleted("/p/x/y"), deleted("/p/x"), children("/p"))
	both.get("/p", true)
	both.children("/p", true)
	other.remove("/p")
	recursive.told(deleted("/p"))
	persistent.told(deleted("/p"))
	both.told(deleted("/p")) // one, of five watches
	root.told(children("/"))

	other.create("/p", "", wire.Persistent) // they have stayed
	recursive.told(created("/p"))
	persistent.told(created("/p"))
	require.Equal(t, watchSummary{connections: 4, paths: 2, watches: 5}, s.face.watches.summary())
	require.Equal(t, 1+2+3+2, s.face.watches.watches())
	require.Equal(t, []string{"/", "/p"}, s.face.watches.watchedData(&s.face.sessions.conns[core.LeaseID(both.session.SessionID)].sub))
}

// W2: addWatch adds a mode to what is watched, however often, and needs no znode.
func TestW2AddWatchAdds(t *testing.T) {
	s := startServer(t)
	c, other := s.connect(), s.connect()
	c.exists("/a", true)
	for range 2 {
		c.addWatch("/a", wire.AddPersistent)
		c.addWatch("/a", wire.AddPersistentRecursive)
	}
	for _, kind := range []wire.WatcherType{wire.WatcherData, wire.WatcherPersistent, wire.WatcherPersistentRecursive} {
		c.ok(wire.OpCheckWatches, &wire.CheckWatchesRequest{Path: "/a", Type: kind}, nil)
	}
	require.Equal(t, wire.NoWatcher, c.call(wire.OpCheckWatches, &wire.CheckWatchesRequest{Path: "/a", Type: wire.WatcherChildren}).Err)
	other.create("/a", "", wire.Persistent)
	c.told(created("/a"))
	require.Equal(t, wire.NoWatcher, c.call(wire.OpCheckWatches, &wire.CheckWatchesRequest{Path: "/a", Type: wire.WatcherData}).Err)
	for _, mode := range []wire.AddWatchMode{-1, 2, 1 << 30} {
		require.Equal(t, wire.MarshallingError, c.call(wire.OpAddWatch, &wire.AddWatchRequest{Path: "/a", Mode: mode}).Err)
	}
}

// W4: removeWatches takes away one mode.
func TestW4RemoveWatchesTakesOneMode(t *testing.T) {
	s := startServer(t)
	c, other := s.connect(), s.connect()
	other.create("/a", "", wire.Persistent)
	remove := func(kind wire.WatcherType) wire.ErrorCode {
		return c.call(wire.OpRemoveWatches, &wire.RemoveWatchesRequest{Path: "/a", Type: kind}).Err
	}
	all := func() {
		c.get("/a", true)
		c.children("/a", true)
		c.addWatch("/a", wire.AddPersistent)
		c.addWatch("/a", wire.AddPersistentRecursive)
	}
	kinds := []wire.WatcherType{wire.WatcherChildren, wire.WatcherData, wire.WatcherPersistent, wire.WatcherPersistentRecursive}
	for i, kind := range kinds {
		all()
		require.Equal(t, wire.OK, remove(kind))
		require.Equal(t, wire.NoWatcher, remove(kind))
		for j, other := range kinds {
			want := wire.OK
			if i == j {
				want = wire.NoWatcher
			}
			require.Equal(t, want, c.call(wire.OpCheckWatches, &wire.CheckWatchesRequest{Path: "/a", Type: other}).Err)
		}
		require.Equal(t, wire.OK, remove(wire.WatcherAny))
		require.Equal(t, wire.NoWatcher, remove(wire.WatcherAny))
		require.Zero(t, s.face.watches.watches())
	}
	other.set("/a", "1")
	other.create("/a/b", "", wire.Persistent)
	c.told()
}

// A watch is gone, or there, for a write that is sent behind the request and before its
// reply.
func TestWatchesChangeInTheOrderOfRequests(t *testing.T) {
	c := startServer(t).connect()
	c.create("/a", "", wire.Persistent)
	var batch []byte
	create := func(path string) {
		batch = append(batch, c.request(wire.OpCreate, &wire.CreateRequest{Path: path, ACL: wire.OpenACLUnsafe})...)
	}
	batch = append(batch, c.request(wire.OpAddWatch, &wire.AddWatchRequest{Path: "/a", Mode: wire.AddPersistentRecursive})...)
	create("/a/b")
	create("/a/b/c")
	batch = append(batch, c.request(wire.OpRemoveWatches, &wire.RemoveWatchesRequest{Path: "/a", Type: wire.WatcherPersistentRecursive})...)
	create("/a/b/c/d")
	c.write(batch)
	var got []string
	for range 7 {
		if r := c.recv(); r.Xid == wire.XidEvent {
			got = append(got, r.event(t).Path)
		}
	}
	require.Equal(t, []string{"/a/b", "/a/b/c"}, got)
	c.ok(wire.OpPing, nil, nil)
}

// W3: many watches are set again in several requests, as Java's client does, and each is
// set or has fired.
func TestW3ManyWatchesAreSetAgain(t *testing.T) {
	const n = 3*watchChunk + 7
	s := startServer(t)
	other := s.connect()
	since := other.ok(wire.OpSync, &wire.SyncRequest{}, new(wire.SyncResponse)).Zxid
	var missed, quiet []string
	for i := range n {
		path := fmt.Sprintf("/n%04d", i)
		if quiet = append(quiet, path); i%5 == 0 {
			missed = append(missed, path)
			other.create(path, "", wire.Persistent)
		}
	}
	c := s.connect()
	first := &wire.SetWatches2{
		SetWatches:        wire.SetWatches{RelativeZxid: since, ExistWatches: quiet[:n/2], DataWatches: []string{"/gone"}, ChildWatches: []string{}},
		PersistentWatches: []string{}, PersistentRecursiveWatches: []string{},
	}
	second := &wire.SetWatches2{
		SetWatches:        wire.SetWatches{RelativeZxid: since, ExistWatches: quiet[n/2:], DataWatches: []string{}, ChildWatches: []string{}},
		PersistentWatches: []string{"/"}, PersistentRecursiveWatches: []string{"/n0001"},
	}
	c.write(append(requestFrame(wire.XidSetWatches, wire.OpSetWatches2, first), requestFrame(wire.XidSetWatches, wire.OpSetWatches2, second)...))
	var replayed []string
	for replies := 0; replies < 2; {
		r := c.recv()
		if r.Xid == wire.XidSetWatches {
			require.Equal(t, wire.OK, r.Err)
			require.Empty(t, r.body)
			replies++
			continue
		}
		require.Equal(t, int64(-1), r.Zxid)
		replayed = append(replayed, r.event(t).Path)
	}
	require.Equal(t, append([]string{"/gone"}, missed...), replayed)
	require.Equal(t, n-len(missed)+2, s.face.watches.watches()) // that of "/" counts twice, the second of /n0001 not
	other.create("/n0001", "", wire.Persistent)
	other.create("/n0001/x", "", wire.Persistent)
	c.told(created("/n0001"), children("/"), created("/n0001/x"))
	require.NoError(t, c.nc.Close())
	require.Eventually(t, func() bool { return s.face.watches.watches() == 0 }, patience, time.Millisecond)
}

// Z5, X8: a recursive watcher is told of everything that an etcd client deletes, once,
// the deepest first, and of the parents that come and go without a key (X7).
func TestX8RecursiveWatchOfAnEtcdClient(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	c.addWatch("/a", wire.AddPersistentRecursive)
	do := func(cmd core.Command) core.Rev {
		res, err := s.node.Do(s.ctx(), core.Principal{}, cmd)
		require.NoError(t, err)
		return res.Rev
	}
	for _, path := range []string{"/a/b/c", "/a/b/d", "/a/e"} {
		do(&core.Put{Key: []byte("/zk" + path)})
	}
	c.told(created("/a"), created("/a/b"), created("/a/b/c"), created("/a/b/d"), created("/a/e"))
	rev := do(&core.DeleteRange{Interval: core.Interval{Key: []byte("/zk/a"), End: []byte("/zk/b")}})
	var got []wire.WatcherEvent
	for range 5 {
		r := c.recv()
		require.Equal(t, int64(rev), r.Zxid)
		got = append(got, r.event(t))
	}
	depth := func(e wire.WatcherEvent) int { return -strings.Count(e.Path, "/") }
	require.True(t, slices.IsSortedFunc(got, func(a, b wire.WatcherEvent) int { return depth(a) - depth(b) }), "%v", got)
	require.ElementsMatch(t, []wire.WatcherEvent{deleted("/a/b/c"), deleted("/a/b/d"), deleted("/a/b"), deleted("/a/e"), deleted("/a")}, got)
	c.told()
}

// N6: a session's ephemerals go, and those who watch them are told, before the reply to
// its closeSession; the connection itself is told, too.
func TestN6CloseSessionTellsFirst(t *testing.T) {
	s := startServer(t)
	c, other := s.connect(), s.connect()
	c.create("/p", "", wire.Persistent)
	c.create("/p/e", "", wire.Ephemeral)
	c.addWatch("/p/e", wire.AddPersistent)
	other.addWatch("/p", wire.AddPersistentRecursive)
	c.send(wire.OpCloseSession, nil)
	e, r := c.recv(), c.recv()
	require.Equal(t, deleted("/p/e"), e.event(t))
	require.Equal(t, e.Zxid, r.Zxid)
	c.gone()
	other.told(deleted("/p/e"))
}

// A path that is longer than any znode's is not kept.
func TestLongPathsAreNotKept(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	long := "/" + strings.Repeat("x", maxWatchedPath)
	c.exists(long, true)
	c.addWatch(long, wire.AddPersistent)
	require.Equal(t, wire.NoWatcher, c.call(wire.OpCheckWatches, &wire.CheckWatchesRequest{Path: long, Type: wire.WatcherAny}).Err)
	require.Zero(t, s.face.watches.watches())
	c.addWatch(long[:maxWatchedPath], wire.AddPersistent)
	require.Equal(t, 2, s.face.watches.watches())
}

// busyStore is a store that changes /a whenever one looks at it.
type busyStore struct {
	core.Store
	table *watchTable
	rev   core.Rev
	looks int
}

func (s *busyStore) View(context.Context, core.Principal, core.Consistency) (core.View, error) {
	return busyView{s: s, rev: s.rev}, nil
}

func (s *busyStore) Lane() core.Lane { return nil }

type busyView struct {
	core.View
	core.ZnodeView
	s   *busyStore
	rev core.Rev
}

func (v busyView) Rev() core.Rev          { return v.rev }
func (v busyView) Znodes() core.ZnodeView { return v }
func (v busyView) Close()                 {}

func (v busyView) Znode(string, core.Perms) (core.Znode, error) {
	v.s.looks++
	v.s.rev++
	v.s.table.Revisions(changeOf(v.s.rev, "/a"), v.s.rev)
	return core.Znode{}, nil
}

// One who is told of every change, and of one whenever it reads, is answered even so.
func TestReadsEndBesideAPersistentWatch(t *testing.T) {
	for _, watch := range []bool{false, true} {
		table := newWatchTable()
		store := &busyStore{table: table, rev: 1}
		table.listening(1)
		server := &Server{cfg: Config{Store: store}, watches: table, ctx: t.Context()}
		c := server.newConn(nil)
		sent := &sink{}
		c.out.w, c.sub.kick = sent, func() {}
		c.run.watching = true
		watchNow(table, &c.sub, watchPersistent, "/a", 1)
		q := decoded(t, c, 7, wire.OpGetData, &wire.ReadRequest{Path: "/a", Watch: watch})
		require.NoError(t, c.answerRequest(q))
		require.LessOrEqual(t, store.looks, 2)
		_, err := c.out.flush()
		require.NoError(t, err)
		var got []wire.ReplyHeader
		in := frames{r: strings.NewReader(string(sent.bytes)), max: 1 << 20}
		for frame, err := in.next(); err == nil; frame, err = in.next() {
			r := jute.NewReader(frame)
			var h wire.ReplyHeader
			if h.Decode(&r); len(frame) > 0 {
				got = append(got, h)
			}
		}
		want := []wire.ReplyHeader{{Xid: 7, Zxid: 1}, {Xid: wire.XidEvent, Zxid: 2}}
		if !watch { // which held nothing at first
			want = []wire.ReplyHeader{{Xid: wire.XidEvent, Zxid: 2}, {Xid: 7, Zxid: 2}, {Xid: wire.XidEvent, Zxid: 3}}
		}
		require.Equal(t, want, got)
	}
}

// What is held while a reply is made comes when there is none, too.
func TestWithdrawTellsWhatWasHeld(t *testing.T) {
	table, s := newWatchTable(), herd(1)[0]
	sent := &sink{}
	s.out.w = sent
	watchNow(table, s, watchPersistent, "/a", 1)
	regs := []registration{{path: "/a", kind: watchData}}
	table.arm(s, regs)
	table.Revisions(changeOf(2, "/a"), 2)
	require.Empty(t, sent.bytes)
	table.withdraw(s, regs)
	_, err := s.out.flush()
	require.NoError(t, err)
	require.Equal(t, appendEvent(nil, 2, wire.EventNodeDataChanged, "/a"), sent.bytes)
	require.False(t, table.has(s, "/a", []watchKind{watchData}))
}

// No more is held than may be queued.
func TestTooManyHeldEvents(t *testing.T) {
	table, s := newWatchTable(), herd(1)[0]
	path := "/" + strings.Repeat("x", 30<<10)
	watchNow(table, s, watchPersistent, path, 1)
	table.arm(s, nil)
	rev := core.Rev(1)
	for s.out.reason() == nil {
		rev++
		table.Revisions(changeOf(rev, path), rev)
		require.Less(t, rev, core.Rev(1000))
	}
	require.ErrorIs(t, s.out.reason(), errSlowClient)
}

// However many watches are set again, the table is locked for some at a time.
func TestRewatchComesInChunks(t *testing.T) {
	paths := func(list string, n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("/%s%d", list, i))
		}
		return all
	}
	for _, n := range [][5]int{{}, {0, 0, 1}, {1, 1, 1, 1, 1}, {watchChunk}, {watchChunk, 1}, {0, 2*watchChunk + 1, 0, 0, watchChunk}} {
		m := &wire.SetWatches2{
			SetWatches: wire.SetWatches{
				DataWatches: paths("d", n[0]), ExistWatches: paths("e", n[1]), ChildWatches: paths("c", n[2]),
			},
			PersistentWatches: paths("p", n[3]), PersistentRecursiveWatches: paths("r", n[4]),
		}
		var got []string
		var chunk rewatchChunk
		for w := newRewatch(m); !chunk.last; {
			w.next(&chunk)
			require.LessOrEqual(t, len(chunk.regs), watchChunk)
			require.Len(t, chunk.missed, len(chunk.regs))
			for _, r := range chunk.regs {
				got = append(got, r.path)
			}
		}
		require.Equal(t, slices.Concat(m.DataWatches, m.ExistWatches, m.ChildWatches, m.PersistentWatches, m.PersistentRecursiveWatches), got)
	}
}
