package zk

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
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
			return decoded(t, c, xid, wire.OpSetWatches, &wire.SetWatches{
				RelativeZxid: since,
				DataWatches:  []string{"/a"}, ExistWatches: []string{}, ChildWatches: []string{"/a"},
			})
		}
	}
	get, getWatch := read(wire.OpGetData, false), read(wire.OpGetData, true)
	existsWatch, childrenWatch := read(wire.OpExists, true), read(wire.OpGetChildren2, true)
	for _, scenario := range []struct {
		name string
		// others are the revisions that someone else writes, in order.
		others []string
		conns  [][]step
	}{
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
	} {
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

// step makes the next request of a connection; nil is the end of a batch, behind
// which views are newer.
type step func(c *conn, xid int32) *request

func decoded(t *testing.T, c *conn, xid int32, op wire.OpCode, m message) *request {
	q := new(request)
	require.NoError(t, q.decode(requestFrame(xid, op, m)[jute.FrameHeader:], &c.body))
	require.Equal(t, wire.OK, q.failed)
	return q
}

// schedule enumerates all sequences of choices.
type schedule struct {
	choices, widths []int
	at              int
}

// choose makes the next choice among n.
func (s *schedule) choose(n int) int {
	if s.at == len(s.choices) {
		s.choices, s.widths = append(s.choices, 0), append(s.widths, n)
	}
	s.at++
	return s.choices[s.at-1]
}

// advance goes to the next sequence; it reports false after the last.
func (s *schedule) advance() bool {
	s.at = 0
	for i := len(s.choices) - 1; i >= 0; i-- {
		if s.choices[i]+1 < s.widths[i] {
			s.choices[i]++
			s.choices, s.widths = s.choices[:i+1], s.widths[:i+1]
			return true
		}
	}
	return false
}

// write is a revision to be.
type write struct {
	verb    string
	pending *modelPending // of a connection's own
}

// world is one run of the model: a store of the znode /a, which exists from
// revision 2 on.
type world struct {
	testing.TB
	schedule *schedule
	table    *watchTable
	server   *Server

	// revs are the revisions published: index i is revision i+1.
	revs       []*core.Revision
	verbs      []string
	dispatched int
	listeners  int

	mu     sync.Mutex
	parked map[string]chan struct{}
	// queued are the writes to be published, of the others and of each connection.
	queued map[string][]write
	// names are all of the above in a fixed order.
	names []string
}

func newWorld(t testing.TB, s *schedule, others []string) *world {
	w := &world{
		TB: t, schedule: s, table: newWatchTable(),
		parked: map[string]chan struct{}{}, queued: map[string][]write{}, names: []string{"others"},
	}
	w.append("")
	w.append("create")
	w.dispatched = len(w.revs)
	for _, verb := range others {
		w.queued["others"] = append(w.queued["others"], write{verb: verb})
	}
	w.server = &Server{watches: w.table, following: modelFollowing{w, ""}}
	w.server.ctx, w.server.cancel = context.WithCancel(t.Context())
	return w
}

// append makes a revision and publishes it.
func (w *world) append(verb string) core.Rev {
	rev := &core.Revision{Rev: core.Rev(len(w.revs) + 1)}
	switch verb {
	case "set":
		rev.Steps = []core.ZnodeStep{{Event: core.ZnodeDataChanged, Path: "/a"}}
	case "create":
		rev.Steps = []core.ZnodeStep{{Event: core.ZnodeCreated, Path: "/a"}}
	case "delete":
		rev.Steps = []core.ZnodeStep{{Event: core.ZnodeDeleted, Path: "/a"}}
	case "child":
		rev.Steps = []core.ZnodeStep{{Event: core.ZnodeCreated, Path: "/a/c"}}
	}
	w.revs, w.verbs = append(w.revs, rev), append(w.verbs, verb)
	return rev.Rev
}

// znode is /a as of a revision; it reports false if there is none.
func (w *world) znode(rev core.Rev) (z core.Znode, exists bool) {
	for i, verb := range w.verbs[:rev] {
		switch at := core.Rev(i + 1); verb {
		case "create":
			z, exists = core.Znode{Stat: core.Stat{Mzxid: at, Pzxid: at}}, true
		case "delete":
			exists = false
		case "set":
			z.Mzxid = at
		case "child":
			z.Pzxid = at
		}
	}
	return z, exists
}

// yield waits until the schedule goes on with a connection.
func (w *world) yield(name string) {
	turn := make(chan struct{})
	w.mu.Lock()
	w.parked[name] = turn
	w.mu.Unlock()
	<-turn
}

// run runs the connections' requests to the end, by the schedule.
func (w *world) run(programs [][]step) {
	conns := make([]*modelConn, len(programs))
	var running sync.WaitGroup
	for i, program := range programs {
		conns[i] = w.connect(fmt.Sprintf("conn %d", i))
		running.Go(func() { conns[i].run(program) })
	}
	for synctest.Wait(); w.next(); synctest.Wait() { //nolint:revive // the steps are in the condition
	}
	for _, c := range conns {
		require.True(w, c.done, "stuck: %v", w.schedule.choices)
	}
	running.Wait()
	w.server.cancel()
	for _, c := range conns {
		c.conn.run.release()
		check(w, c)
	}
}

// next does one of the things that can happen next.
func (w *world) next() bool {
	var moves []func()
	for _, name := range w.names {
		if turn := w.parked[name]; turn != nil {
			moves = append(moves, func() { delete(w.parked, name); close(turn) })
		}
		if queue := w.queued[name]; len(queue) > 0 {
			moves = append(moves, func() { w.queued[name] = queue[1:]; w.publish(queue[0]) })
		}
	}
	if undispatched := len(w.revs) - w.dispatched; undispatched > 0 && w.listeners > 0 {
		moves = append(moves, func() { w.dispatch(len(w.revs)) })
		if undispatched > 1 {
			moves = append(moves, func() { w.dispatch(w.dispatched + 1) })
		}
	}
	if len(moves) == 0 {
		return false
	}
	moves[w.schedule.choose(len(moves))]()
	return true
}

// publish applies a write. What cannot be done fails.
func (w *world) publish(do write) {
	if _, exists := w.znode(core.Rev(len(w.revs))); exists == (do.verb == "create") {
		if do.pending != nil {
			do.pending.err = core.NoNode
			close(do.pending.done)
		}
		return
	}
	rev := w.append(do.verb)
	if do.pending != nil {
		do.pending.res = core.Result{Rev: rev, Outcome: &core.ZnodeOutcome{Ops: make([]core.ZnodeOpOutcome, 1)}}
		close(do.pending.done)
	}
}

func (w *world) dispatch(upTo int) {
	w.table.Revisions(w.revs[w.dispatched:upTo], core.Rev(upTo))
	w.dispatched = upTo
}

// modelFollowing is a connection's end of the hub.
type modelFollowing struct {
	w    *world
	name string
}

func (f modelFollowing) Listen() core.Rev {
	f.w.yield(f.name)
	if f.w.listeners > 0 {
		f.w.dispatch(len(f.w.revs)) // as the hub does
	}
	f.w.listeners++
	f.w.dispatched = len(f.w.revs)
	rev := core.Rev(f.w.dispatched)
	f.w.yield(f.name)
	return rev
}

func (modelFollowing) Unlisten() {}
func (modelFollowing) Close()    {}

// modelStore is the store as one connection sees it.
type modelStore struct {
	core.Store
	w    *world
	name string
}

func (s modelStore) View(context.Context, core.Consistency) (core.View, error) {
	s.w.yield(s.name)
	return &modelView{w: s.w, name: s.name, rev: core.Rev(len(s.w.revs))}, nil
}

func (s modelStore) Submit(_ core.Principal, cmd core.Command) core.Pending {
	p := &modelPending{done: make(chan struct{})}
	verb := "set"
	if cmd.(*core.ZnodeWrite).Ops[0].Path != "/a" {
		verb = "elsewhere"
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.queued[s.name] = append(s.w.queued[s.name], write{verb, p})
	return p
}

type modelPending struct {
	done chan struct{}
	res  core.Result
	err  error
}

func (p *modelPending) Wait(context.Context) (core.Result, error) { <-p.done; return p.res, p.err }
func (p *modelPending) Done() bool                                { return false }

type modelView struct {
	core.View
	w      *world
	name   string
	rev    core.Rev
	looked bool
}

// Rev lets others go on between looking, waiting for the events and replying.
func (v *modelView) Rev() core.Rev {
	if v.looked {
		v.w.yield(v.name)
	}
	return v.rev
}

func (v *modelView) Znode(string) (core.Znode, error) {
	v.looked = true
	z, exists := v.w.znode(v.rev)
	if !exists {
		return z, core.NoNode
	}
	return z, nil
}

func (v *modelView) Children(_ context.Context, path string) ([]string, core.Znode, error) {
	z, err := v.Znode(path)
	return nil, z, err
}

func (v *modelView) Close() {}

// modelConn is a real connection without a socket, and what its client was sent.
type modelConn struct {
	name string
	conn *conn
	sent sink
	// requests are by xid.
	requests map[int32]*request
	done     bool
}

type sink struct{ bytes []byte }

func (s *sink) Write(b []byte) (int, error) { s.bytes = append(s.bytes, b...); return len(b), nil }
func (s *sink) Close() error                { return nil }

func (w *world) connect(name string) *modelConn {
	server := &Server{
		cfg:     Config{Store: modelStore{w: w, name: name}},
		watches: w.table, following: modelFollowing{w, name},
		ctx: w.server.ctx,
	}
	m := &modelConn{name: name, conn: server.newConn(nil), requests: map[int32]*request{}}
	m.conn.out.w = &m.sent
	m.conn.sub.kick = func() {} // what was appended is looked at in the end
	w.names = append(w.names, name)
	return m
}

// run answers requests one after the other, as the runner does.
func (m *modelConn) run(program []step) {
	queue := make([]*request, len(program))
	for i, step := range program {
		if step == nil {
			continue
		}
		q := step(m.conn, int32(i+1))
		queue[i], m.requests[q.xid] = q, q
		if w, ok := q.cmd.(*core.ZnodeWrite); ok && w.Ops[0].Path != "/a" {
			q.pending = m.conn.srv.cfg.Store.Submit(core.Principal{}, q.cmd)
		}
	}
	for _, q := range queue {
		if q == nil {
			m.conn.run.release() // as at the end of a batch
			continue
		}
		if q.write() && q.pending == nil { // it was held back: see conn.makeRoom
			q.pending = m.conn.srv.cfg.Store.Submit(core.Principal{}, q.cmd)
		}
		if m.conn.answerRequest(q) != nil {
			return // which is found out as being stuck
		}
	}
	m.done = true
}

// checker goes through what a client was sent.
type checker struct {
	*world
	m *modelConn
	// set is, of each kind of watch that the client knows to be set, the revision
	// from which on the next change must be told.
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

// kinds are the watches that a change of /a hits.
func kinds(verb string) watchKind {
	switch verb {
	case "set", "create":
		return watchData
	case "delete":
		return watchAny
	case "child":
		return watchChild
	}
	return 0
}

// hit is the first revision in (since, upTo] that hits a watch, zero if none does.
func (k *checker) hit(kind watchKind, since, upTo core.Rev) core.Rev {
	for rev := since + 1; rev <= upTo; rev++ {
		if kinds(k.verbs[rev-1])&kind != 0 {
			return rev
		}
	}
	return 0
}

func (k *checker) event(h wire.ReplyHeader, r *jute.Reader) {
	var e wire.WatcherEvent
	e.Decode(r)
	require.Equal(k, "/a", e.Path)
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
	for _, kind := range []watchKind{watchData, watchChild} {
		if since, set := k.set[kind]; set && kinds(k.verbs[rev-1])&kind != 0 {
			require.Equal(k, k.hit(kind, since, rev), rev, "an event is lost: %s", k)
			delete(k.set, kind)
			fired = true
		}
	}
	require.True(k, fired, "an event for a watch that is not set: %s", k)
}

func (k *checker) reply(q *request, h wire.ReplyHeader) {
	rev := core.Rev(h.Zxid)
	require.GreaterOrEqual(k, rev, k.replied, "replies go back: %s", k)
	if q.pending == nil {
		require.GreaterOrEqual(k, rev, k.told, "a read does not show what was told before: %s", k)
	}
	k.replied = rev
	for kind, since := range k.set {
		require.Zero(k, k.hit(kind, since, rev), "the event is not before the reply that shows the change: %s", k)
	}
	if q.op == &opSetWatches {
		k.rewatched(q.body.(*wire.SetWatches), rev)
		return
	}
	if q.watch && (h.Err == wire.OK || q.op.missing) {
		k.set[q.op.watches] = rev
	}
}

// rewatched is the reply to setWatches: what has not been replayed is set.
func (k *checker) rewatched(m *wire.SetWatches, rev core.Rev) {
	since := core.Rev(m.RelativeZxid)
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
