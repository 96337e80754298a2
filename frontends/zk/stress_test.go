package zk

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/wire"
)

// TestOrderUnderStress has clients write, read and watch a few znodes, many
// requests at a time, and checks what each is sent as TestOrderModel does.
func TestOrderUnderStress(t *testing.T) {
	const clients, window = 6, 20
	const requests = 1500
	s := startServer(t, func(c *Config) { c.Limits.Tick = time.Minute }) // those who are done wait for the others
	setup := s.connect()
	for i := range 3 {
		setup.create(stressPath(i), "", wire.Persistent)
	}
	watchers := make([]*stressClient, clients)
	var running sync.WaitGroup
	for i := range watchers {
		watchers[i] = &stressClient{client: s.connect(), set: map[string]int64{}}
		running.Go(func() { watchers[i].run(requests, window) })
	}
	running.Wait()
	// Whatever is set and has missed nothing fires now; then there is no more.
	final := map[string]int64{}
	for i := range 3 {
		final[stressPath(i)] = setup.set(stressPath(i), "").Mzxid
	}
	for _, w := range watchers {
		require.False(t, t.Failed())
		for path, zxid := range w.set {
			require.Less(t, zxid, final[path])
		}
		for len(w.set) > 0 {
			w.check(w.recv(), nil)
		}
		w.ok(wire.OpPing, nil, nil)
	}
	require.Zero(t, s.face.watches.watches())
}

// TestRecursiveOrderUnderStress has clients watch everything for good while they write and
// read. All revisions are changes that they are told of: so they are told of each, in
// order, and a read shows just what has been told.
func TestRecursiveOrderUnderStress(t *testing.T) {
	const clients, requests, window = 6, 600, 20
	s := startServer(t, func(c *Config) { c.Limits.Tick = time.Minute })
	setup := s.connect()
	for i := range 3 {
		setup.create(stressPath(i), "", wire.Persistent)
	}
	all := make([]*client, clients)
	told := make([]int64, clients)
	for i := range all {
		all[i] = s.connect()
		m := &wire.AddWatchRequest{Path: "/", Mode: wire.AddPersistentRecursive}
		told[i] = all[i].ok(wire.OpAddWatch, m, new(wire.ErrorResponse)).Zxid
	}
	var running sync.WaitGroup
	for i, c := range all {
		running.Go(func() { told[i] = runRecursive(c, requests, window, told[i]) })
	}
	running.Wait()
	require.False(t, t.Failed())
	last := setup.set(stressPath(0), "").Mzxid
	for i, c := range all {
		for ; told[i] < last; told[i]++ {
			require.Equal(t, told[i]+1, c.recv().Zxid)
		}
		c.ok(wire.OpPing, nil, nil)
	}
}

// runRecursive runs a client, and returns the last zxid that it was told.
func runRecursive(c *client, requests, window int, told int64) int64 {
	random := rand.New(rand.NewPCG(uint64(c.session.SessionID), 1)) //nolint:gosec // a test
	var sent []wire.OpCode
	for done := 0; done < requests; {
		var batch []byte
		for len(sent) < window {
			op, path := wire.OpGetData, stressPath(random.IntN(3))
			var m message = &wire.GetDataRequest{Path: path}
			if random.IntN(3) == 0 {
				op, m = wire.OpSetData, &wire.SetDataRequest{Path: path, Version: -1}
			}
			batch = append(batch, c.request(op, m)...)
			sent = append(sent, op)
		}
		c.write(batch)
		for len(sent) > 0 {
			r := c.recv()
			switch {
			case r.Xid == wire.XidEvent:
				require.Equal(c, told+1, r.Zxid, "an event is lost, or comes twice")
				told++
				continue
			case sent[0] == wire.OpGetData:
				require.Equal(c, told, r.Zxid, "a read shows what was told, and no more")
			default:
				require.LessOrEqual(c, r.Zxid, told, "the event of a write comes before its reply")
			}
			require.Equal(c, wire.OK, r.Err)
			sent = sent[1:]
			done++
		}
	}
	return told
}

func stressPath(i int) string { return fmt.Sprintf("/k%d", i) }

// stressClient is a client that knows what it may be sent.
type stressClient struct {
	*client
	// set is the watches that are set, with the zxid of the state that the client
	// knows.
	set map[string]int64
	// replied and told are the zxids of the last reply and of the last event.
	replied, told int64
	events        int
}

type stressRequest struct {
	op   wire.OpCode
	path string
}

func (w *stressClient) run(requests, window int) {
	var sent []stressRequest
	random := rand.New(rand.NewPCG(uint64(w.session.SessionID), 0)) //nolint:gosec // a test
	for done := 0; done < requests; {
		var batch []byte
		for len(sent) < window {
			q := stressRequest{wire.OpGetData, stressPath(random.IntN(3))}
			var m message = &wire.GetDataRequest{Path: q.path, Watch: true}
			if random.IntN(3) == 0 {
				q.op, m = wire.OpSetData, &wire.SetDataRequest{Path: q.path, Version: -1}
			}
			batch = append(batch, w.request(q.op, m)...)
			sent = append(sent, q)
		}
		w.write(batch)
		for range 1 + random.IntN(window) {
			r := w.recv()
			if r.Xid == wire.XidEvent {
				w.check(r, nil)
				continue
			}
			w.check(r, &sent[0])
			sent = sent[1:]
			done++
		}
	}
	for len(sent) > 0 {
		r := w.recv()
		if r.Xid == wire.XidEvent {
			w.check(r, nil)
			continue
		}
		w.check(r, &sent[0])
		sent = sent[1:]
	}
}

// check checks an event, or the reply to q.
func (w *stressClient) check(r reply, q *stressRequest) {
	if q == nil {
		e := r.event(w)
		require.Equal(w, wire.EventNodeDataChanged, e.Type)
		since, set := w.set[e.Path]
		require.True(w, set, "an event before the reply that sets its watch, or a second one")
		require.Greater(w, r.Zxid, since)
		require.Greater(w, r.Zxid, w.replied, "an event behind a reply that shows it")
		require.GreaterOrEqual(w, r.Zxid, w.told)
		delete(w.set, e.Path)
		w.told = r.Zxid
		w.events++
		return
	}
	require.Equal(w, wire.OK, r.Err)
	require.GreaterOrEqual(w, r.Zxid, w.replied, "replies go back")
	w.replied = r.Zxid
	if q.op == wire.OpSetData {
		_, set := w.set[q.path]
		require.False(w, set, "the event of its own write is not before the reply")
		return
	}
	require.GreaterOrEqual(w, r.Zxid, w.told, "a read does not show what was told")
	var m wire.GetDataResponse
	r.into(w, &m)
	if since, set := w.set[q.path]; set {
		require.Equal(w, since, m.Stat.Mzxid, "a reply shows a change whose event is not before it")
	}
	w.set[q.path] = m.Stat.Mzxid
}
