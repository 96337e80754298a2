package zk

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

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
	for synctest.Wait(); w.next(); synctest.Wait() {
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
			do.pending.res.Rev, do.pending.err = core.Rev(len(w.revs)), core.NoNode
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

func (s modelStore) View(context.Context, core.Principal, core.Consistency) (core.View, error) {
	s.w.yield(s.name)
	return &modelView{w: s.w, name: s.name, rev: core.Rev(len(s.w.revs))}, nil
}

// Lane is the store's: each connection has one of its own.
func (s modelStore) Lane() core.Lane { return s }

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
	v.looked = true // if only at the revision
	return v.rev
}

func (v *modelView) Znodes() core.ZnodeView { return modelZnodes{v: v} }

// modelZnodes is the znodes of a modelView.
type modelZnodes struct {
	core.ZnodeView
	v *modelView
}

func (z modelZnodes) Znode(string, core.Perms) (core.Znode, error) {
	v := z.v
	v.looked = true
	found, exists := v.w.znode(v.rev)
	if !exists {
		return found, core.NoNode
	}
	return found, nil
}

func (z modelZnodes) Children(_ context.Context, path string) (core.Names, core.Znode, error) {
	found, err := z.Znode(path, 0)
	return core.Names{}, found, err
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
			q.pending = m.conn.srv.cfg.Store.Lane().Submit(core.Principal{}, q.cmd)
		}
	}
	for _, q := range queue {
		if q == nil {
			m.conn.run.release() // as at the end of a batch
			continue
		}
		if q.write() && q.pending == nil { // it was held back: see conn.makeRoom
			q.pending = m.conn.srv.cfg.Store.Lane().Submit(core.Principal{}, q.cmd)
		}
		if m.conn.answerRequest(q) != nil {
			return // which is found out as being stuck
		}
	}
	m.done = true
}
