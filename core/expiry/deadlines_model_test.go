package expiry

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

// TestModel compares Deadlines with a list of deadlines in real time, to all of
// which each gap is added.
func TestModel(t *testing.T) {
	for range 10 {
		rapid.Check(t, func(t *rapid.T) {
			m := &model{d: New(Options{MaxGap: modelGap, SpreadPerSecond: math.MaxInt, SessionSlack: modelSlack, CheckpointInterval: 7})}
			t.Repeat(map[string]func(*rapid.T){
				"pass": m.pass, "tick": m.tick, "lead": m.lead, "follow": m.follow,
				"grant": m.grant, "grant2": m.grant, "revoke": m.revoke,
				"renew": m.renew, "renew2": m.renew, "touch": m.touch, "due": m.due, "retry": m.retry,
				"checkpoint": m.checkpoint, "checkpoint2": m.checkpoint, "dueCheckpoints": m.dueCheckpoints, "": m.check,
			})
		})
	}
}

const (
	modelGap   = 10
	modelSlack = 3
)

// model is the naive list. Its times are small numbers, so that they collide.
type model struct {
	d           *Deadlines
	now, ticked time.Duration
	resumed     bool
	term        uint64
	leases      []*naive
	proposed    []core.LeaseID
}

type naive struct {
	id            core.LeaseID
	ttl, deadline time.Duration
	// left is what was written down that it has left, zero for all of it.
	left    time.Duration
	session bool
	pending bool
}

func newNaive(l Lease, from time.Duration) *naive {
	n := &naive{id: l.ID, ttl: l.TTL, session: l.Session, left: l.Remaining, deadline: from + l.TTL}
	if n.left > 0 {
		n.deadline = from + n.left
	}
	n.deadline += n.slack()
	return n
}

func (n *naive) slack() time.Duration {
	if n.session {
		return modelSlack
	}
	return 0
}

func (m *model) find(id core.LeaseID) *naive {
	for _, l := range m.leases {
		if l.id == id {
			return l
		}
	}
	return nil
}

// moment is now, or the last tick if there may be a gap since.
func (m *model) moment() time.Duration {
	if m.now-m.ticked > modelGap {
		return m.ticked
	}
	return m.now
}

func (m *model) pass(t *rapid.T) {
	m.now += time.Duration(rapid.SampledFrom([]int64{0, 1, 2, 5, 9, 11, 50}).Draw(t, "pass"))
}

func (m *model) tick(t *rapid.T) {
	gap := m.d.Tick(m.now)
	m.resumed = m.now-m.ticked > modelGap
	if m.resumed {
		require.Equal(t, m.now-m.ticked, gap)
		for _, l := range m.leases {
			l.deadline += gap
		}
	} else {
		require.Zero(t, gap)
	}
	m.ticked = m.now
}

func (m *model) lead(t *rapid.T) {
	m.term++
	grace := time.Duration(rapid.Int64Range(0, 20).Draw(t, "grace"))
	var leases []Lease
	m.leases, m.proposed = nil, nil
	for id := range core.LeaseID(rapid.IntRange(0, 6).Draw(t, "leases")) {
		l := Lease{ID: id, TTL: drawTTL(t), Session: rapid.Bool().Draw(t, "session")}
		if !l.Session {
			l.Remaining = drawLeft(t, l.TTL)
		}
		leases = append(leases, l)
		m.leases = append(m.leases, newNaive(l, m.now+grace))
	}
	m.d.Lead(m.now, m.term, leases, grace)
	m.ticked, m.resumed = m.now, false
}

func (m *model) follow(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "really") > 0 {
		t.Skip("it is dull")
	}
	m.term, m.leases, m.proposed = m.term+1, nil, nil
	m.d.Follow()
}

func (m *model) leading() bool { return m.d.term != 0 }

func drawTTL(t *rapid.T) time.Duration { return time.Duration(rapid.Int64Range(1, 40).Draw(t, "ttl")) }

// drawLeft is what a lease may have left at a checkpoint: most often all of it.
func drawLeft(t *rapid.T, ttl time.Duration) time.Duration {
	return max(0, time.Duration(rapid.Int64Range(-60, int64(ttl)-1).Draw(t, "left")))
}

func drawID(t *rapid.T) core.LeaseID {
	return core.LeaseID(rapid.Int64Range(-1, 8).Draw(t, "id"))
}

func (m *model) grant(t *rapid.T) {
	l := Lease{ID: drawID(t), TTL: drawTTL(t), Session: rapid.Bool().Draw(t, "session")}
	m.d.Granted(m.now, l)
	if m.leading() {
		m.drop(l.ID)
		m.leases = append(m.leases, newNaive(l, m.moment()))
	}
}

func (m *model) drop(id core.LeaseID) {
	m.leases = slices.DeleteFunc(m.leases, func(l *naive) bool { return l.id == id })
}

func (m *model) revoke(t *rapid.T) {
	id := drawID(t)
	m.d.Revoked(id)
	m.drop(id)
}

func (m *model) renew(t *rapid.T) {
	id := drawID(t)
	ttl, answer := m.d.Renew(m.now, id)
	require.Equal(t, m.renewed(id, false), answer)
	if answer == Renewed {
		require.Equal(t, m.find(id).ttl, ttl)
	}
}

func (m *model) touch(t *rapid.T) {
	id := drawID(t)
	require.Equal(t, m.renewed(id, true), m.d.Touch(m.now, id))
}

func (m *model) renewed(id core.LeaseID, session bool) Renewal {
	l := m.find(id)
	switch {
	case !m.leading():
		return NotLeading
	case l == nil || l.session != session:
		return Unknown
	case l.pending || l.deadline <= m.moment():
		return Overdue
	case l.left > 0:
		return Checkpointed
	default:
		l.deadline = m.moment() + l.ttl + l.slack()
		return Renewed
	}
}

// checkpoint writes down what a lease has left. No deadline moves.
func (m *model) checkpoint(t *rapid.T) {
	c := core.LeaseRemaining{ID: drawID(t)}
	if l := m.find(c.ID); l != nil {
		if l.session {
			t.Skip("sessions have no checkpoints")
		}
		c.TTL = drawLeft(t, l.ttl)
		l.left = c.TTL
	}
	m.d.Checkpointed(m.now, c)
}

// dueCheckpoints finds none: what is left, in whole seconds, is all that the leases of
// the model ever have. Each is looked at again later, and none twice at a time.
func (m *model) dueCheckpoints(t *rapid.T) {
	require.Nil(t, m.d.DueCheckpoints(m.now, 10))
	scheduled := map[*lease]bool{}
	for _, c := range m.d.checkpoints {
		require.False(t, scheduled[c.lease])
		require.True(t, c.lease.scheduled)
		scheduled[c.lease] = true
	}
	for i := 1; i < len(m.d.checkpoints); i++ {
		require.GreaterOrEqual(t, m.d.checkpoints[i].at, m.d.checkpoints[i-1].at-modelGap)
	}
}

// sorted returns the leases in the order of their deadlines.
func (m *model) sorted() []*naive {
	s := slices.Clone(m.leases)
	slices.SortFunc(s, func(a, b *naive) int {
		if a.deadline != b.deadline {
			return int(a.deadline - b.deadline)
		}
		return int(a.id - b.id)
	})
	return s
}

func (m *model) due(t *rapid.T) {
	limit := rapid.IntRange(1, 4).Draw(t, "limit")
	var want []core.LeaseID
	for _, l := range m.sorted() {
		if !m.resumed && !l.pending && l.deadline <= m.moment() && len(want) < limit {
			want = append(want, l.id)
			l.pending = true
		}
	}
	got := m.d.Due(m.now, limit)
	if want == nil {
		require.Nil(t, got)
		return
	}
	require.Equal(t, want, got.IDs)
	require.Equal(t, m.d.term, got.Term)
	m.proposed = append(m.proposed, want...)
}

func (m *model) retry(*rapid.T) {
	m.d.Retry(m.proposed)
	for _, id := range m.proposed {
		if l := m.find(id); l != nil {
			l.pending = false
		}
	}
	m.proposed = nil
}

func (m *model) check(t *rapid.T) {
	require.Equal(t, len(m.leases), m.d.Len())
	for i, id := range ids(m.d) {
		l := m.sorted()[i]
		require.Equal(t, l.id, id)
		left, ok := m.d.Remaining(m.now, id)
		require.True(t, ok)
		require.Equal(t, l.deadline-l.slack()-m.moment(), left, "lease %d", id)
	}
	queued := 0
	for i, s := range m.d.queue {
		queued++
		require.Equal(t, i, s.lease.index)
		require.LessOrEqual(t, s.deadline, s.lease.deadline)
		require.False(t, i > 0 && s.before(m.d.queue[(i-1)/2]), "the queue is no heap")
	}
	for _, l := range m.leases {
		if l.pending {
			queued++
		}
	}
	require.Equal(t, len(m.leases), queued)
}
