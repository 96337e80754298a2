package zk

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// TestOrderModel runs the code of connections and of the table of watches in every
// order in which these can come to pass: the connections' steps, the publishing of
// the revisions that they and others write, and the dispatching of revisions, one
// by one or together. What a connection's client was sent is then checked by what
// ZooKeeper promises (Z4, Z5); see checker.
//
// The steps of a connection are what it does between two calls of the store: a
// call does not return until the schedule lets it.
func TestOrderModel(t *testing.T) {
	for _, scenario := range orderScenarios(t) {
		t.Run(scenario.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s schedule
				runs := 0
				for more := true; more; more = s.advance() {
					w := newWorld(t, &s, scenario.others)
					w.run(scenario.conns)
					runs++
				}
				t.Logf("%d interleavings", runs)
				require.Greater(t, runs, 10)
			})
		})
	}
}

type orderScenario struct {
	name string
	// others are the revisions that someone else writes, in order.
	others []string
	conns  [][]step
}

func orderScenarios(t *testing.T) []orderScenario {
	read := func(op wire.OpCode, watch bool) step {
		return func(c *conn, xid int32) *request {
			return decoded(t, c, xid, op, &wire.ReadRequest{Path: "/a", Watch: watch})
		}
	}
	set := func(c *conn, xid int32) *request {
		return decoded(t, c, xid, wire.OpSetData, &wire.SetDataRequest{Path: "/a", Version: -1})
	}
	// elsewhere writes another znode. It is on its way before the first step.
	elsewhere := func(c *conn, xid int32) *request {
		return decoded(t, c, xid, wire.OpSetData, &wire.SetDataRequest{Path: "/b", Version: -1})
	}
	rewatch := func(since int64) step {
		return func(c *conn, xid int32) *request {
			return decoded(t, c, xid, wire.OpSetWatches2, &wire.SetWatches2{
				SetWatches: wire.SetWatches{
					RelativeZxid: since,
					DataWatches:  []string{"/a"}, ExistWatches: []string{}, ChildWatches: []string{"/a"},
				},
				PersistentWatches: []string{"/a"}, PersistentRecursiveWatches: []string{},
			})
		}
	}
	add := func(path string, mode wire.AddWatchMode) step {
		return func(c *conn, xid int32) *request {
			return decoded(t, c, xid, wire.OpAddWatch, &wire.AddWatchRequest{Path: path, Mode: mode})
		}
	}
	unwatch := func(c *conn, xid int32) *request {
		return decoded(t, c, xid, wire.OpRemoveWatches, &wire.RemoveWatchesRequest{Path: "/a", Type: wire.WatcherPersistent})
	}
	get, getWatch := read(wire.OpGetData, false), read(wire.OpGetData, true)
	existsWatch, childrenWatch := read(wire.OpExists, true), read(wire.OpGetChildren2, true)
	persistent, recursive := add("/a", wire.AddPersistent), add("/", wire.AddPersistentRecursive)
	return []orderScenario{
		{"a read that watches", []string{"set", "set"}, [][]step{{getWatch, nil, get}}},
		{"in one batch with others", []string{"set", "set"}, [][]step{{get, getWatch, get}}},
		{"a znode that comes and goes", []string{"delete", "create"}, [][]step{{existsWatch, nil, get}}},
		{"a znode that is not there", []string{"delete", "create", "set"}, [][]step{{getWatch}}},
		{"the watch is set twice", []string{"set", "set"}, [][]step{{getWatch, nil, getWatch}}},
		{"two kinds of watch", []string{"child", "delete"}, [][]step{{childrenWatch, nil, getWatch}}},
		{"its own write", []string{"set"}, [][]step{{getWatch, set, get}}},
		{"its own write fails", []string{"delete"}, [][]step{{getWatch, set}}},
		{"watches set again", []string{"set", "child"}, [][]step{{rewatch(2), nil, get}}},
		{"watches set again, the znode gone", []string{"set", "delete"}, [][]step{{rewatch(2)}}},
		{"writes on their way", []string{"set"}, [][]step{{elsewhere, get, elsewhere, getWatch, elsewhere}}},
		{"another watches", []string{"set"}, [][]step{{getWatch}, {getWatch}}},
		{"another writes and watches", nil, [][]step{{getWatch, get}, {set}}},
		{"another writes and watches later", nil, [][]step{{getWatch}, {set, nil, getWatch}}},

		{"a persistent watch", []string{"set", "child"}, [][]step{{persistent, nil, get}}},
		{"a persistent watch of what goes", []string{"delete", "create"}, [][]step{{persistent, get}}},
		{"a recursive watch", []string{"child", "set"}, [][]step{{recursive, nil, get}}},
		{"a persistent watch added again", []string{"set", "set"}, [][]step{{persistent, persistent}}},
		{"a persistent watch beside one that fires once", []string{"set", "set"}, [][]step{{persistent, getWatch}}},
		{"a recursive watch beside one that fires once", []string{"set", "delete"}, [][]step{{recursive, getWatch}}},
		{"all kinds of watch", []string{"child"}, [][]step{{persistent, recursive, childrenWatch}}},
		{"a persistent watch behind one that fires once", []string{"set", "set"}, [][]step{{getWatch, persistent}}},
		{"a persistent watch is removed", []string{"set", "set"}, [][]step{{persistent, unwatch, get}}},
		{"its own write and a recursive watch", []string{"set"}, [][]step{{recursive, set, get}}},
		{"another has a persistent watch", []string{"set"}, [][]step{{persistent}, {recursive}}},
	}
}

// step makes the next request of a connection; nil is the end of a batch, behind
// which views are newer.
type step func(c *conn, xid int32) *request

func decoded(t *testing.T, c *conn, xid int32, op wire.OpCode, m message) *request {
	q := new(request)
	require.NoError(t, q.decode(c, requestFrame(xid, op, m)[jute.FrameHeader:], &c.body))
	require.Equal(t, wire.OK, q.failed)
	return q
}

// checker goes through what a client was sent.
type checker struct {
	*world
	m *modelConn
	// set is, of each kind of watch that the client knows to be set, the revision
	// behind which the next change must be told.
	set map[watchKind]core.Rev
	// seen is the latest revision that a reply or an event has shown.
	replied, told core.Rev
	replays       map[wire.EventType]bool
}

// check requires of what was sent to a connection: that no event is lost, none is
// before the reply that set its watch or behind one that shows the change, and
// that no reply shows less than what precedes it.
func check(w *world, m *modelConn) {
	_, err := m.conn.out.flush()
	require.NoError(w, err)
	k := &checker{world: w, m: m, set: map[watchKind]core.Rev{}}
	in := frames{r: strings.NewReader(string(m.sent.bytes)), max: 1 << 20}
	replies := 0
	for {
		frame, err := in.next()
		if err != nil {
			break
		}
		r := jute.NewReader(frame)
		var h wire.ReplyHeader
		h.Decode(&r)
		if h.Xid == wire.XidEvent {
			k.event(h, &r)
			continue
		}
		replies++
		k.reply(m.requests[h.Xid], h)
	}
	require.Equal(w, len(m.requests), replies)
	for kind, since := range k.set {
		require.Zero(w, k.hit(kind, since, core.Rev(len(w.revs))), "an event is lost: %s", k)
	}
}

func (k *checker) String() string {
	return fmt.Sprintf("%s, schedule %v, revisions %v, sent %x", k.m.name, k.schedule.choices, k.verbs, k.m.sent.bytes)
}

// eventOf is what a watch of a kind is told of a change: all are of /a but a recursive
// one, which is of the root.
func eventOf(kind watchKind, verb string) (e wire.WatcherEvent, any bool) {
	switch {
	case verb == "set" && kind != watchChild:
		return event(wire.EventNodeDataChanged, "/a"), true
	case verb == "create" && kind != watchChild:
		return event(wire.EventNodeCreated, "/a"), true
	case verb == "delete":
		return event(wire.EventNodeDeleted, "/a"), true
	case verb == "child" && kind == watchRecursive:
		return event(wire.EventNodeCreated, "/a/c"), true
	case verb == "child" && kind != watchData:
		return event(wire.EventNodeChildrenChanged, "/a"), true
	}
	return e, false
}

// hit is the first revision in (since, upTo] that hits a watch, zero if none does.
func (k *checker) hit(kind watchKind, since, upTo core.Rev) core.Rev {
	for rev := since + 1; rev <= upTo; rev++ {
		if _, hit := eventOf(kind, k.verbs[rev-1]); hit {
			return rev
		}
	}
	return 0
}

func (k *checker) event(h wire.ReplyHeader, r *jute.Reader) {
	var e wire.WatcherEvent
	e.Decode(r)
	if h.Zxid == -1 {
		if k.replays == nil {
			k.replays = map[wire.EventType]bool{}
		}
		k.replays[e.Type] = true
		return
	}
	rev := core.Rev(h.Zxid)
	require.Greater(k, rev, k.replied, "an event is behind a reply that shows it: %s", k)
	require.GreaterOrEqual(k, rev, k.told, "events go back: %s", k)
	k.told = rev
	fired := false
	for kind, since := range k.set {
		if want, hit := eventOf(kind, k.verbs[rev-1]); !hit || want != e || rev <= since {
			continue
		}
		require.Equal(k, k.hit(kind, since, rev), rev, "an event is lost: %s", k)
		fired = true
		if kind.stays() {
			k.set[kind] = rev
		} else {
			delete(k.set, kind)
		}
	}
	require.True(k, fired, "an event for a watch that is not set, or a second one: %s", k)
}

func (k *checker) reply(q *request, h wire.ReplyHeader) {
	rev := core.Rev(h.Zxid)
	require.GreaterOrEqual(k, rev, k.replied, "replies go back: %s", k)
	if q.pending == nil && q.op != &opRemoveWatches {
		require.GreaterOrEqual(k, rev, k.told, "a read does not show what was told before: %s", k)
	}
	k.replied = rev
	if q.op == &opRemoveWatches {
		delete(k.set, watchPersistent)
	}
	for kind, since := range k.set {
		require.Zero(k, k.hit(kind, since, rev), "the event is not before the reply that shows the change: %s", k)
	}
	switch q.op {
	case &opSetWatches2:
		k.rewatched(q.body.(*rewatch), rev)
	case &opAddWatch:
		k.set[q.body.(watchKind)] = rev
	}
	if q.watch && (h.Err == wire.OK || q.op.missing) {
		k.set[q.op.watches] = rev
	}
}

// rewatched is the reply to setWatches: what has not been replayed is set.
func (k *checker) rewatched(m *rewatch, rev core.Rev) {
	since := m.since
	k.set[watchPersistent] = rev
	z, exists := k.znode(rev)
	want := map[wire.EventType]bool{}
	switch {
	case !exists:
		want[wire.EventNodeDeleted] = true
	case z.Mzxid > since:
		want[wire.EventNodeDataChanged] = true
	default:
		k.set[watchData] = rev
	}
	switch {
	case !exists:
	case z.Pzxid > since:
		want[wire.EventNodeChildrenChanged] = true
	default:
		k.set[watchChild] = rev
	}
	if len(want) == 0 {
		want = nil
	}
	require.Equal(k, want, k.replays, "%s", k)
}

func TestScheduleEnumeratesAll(t *testing.T) {
	var s schedule
	var all []string
	for more := true; more; more = s.advance() {
		a := s.choose(2)
		b := s.choose(a + 1)
		all = append(all, fmt.Sprint(a, b))
	}
	require.Equal(t, []string{"0 0", "1 0", "1 1"}, slices.Sorted(slices.Values(all)))
}
