package consensus

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// simSession is a client that holds a session, as ZooKeeper's do: it has one connection
// at a time, speaks every third of its timeout, and gives the connection up after two
// thirds without an answer.
type simSession struct {
	s       *sim
	id      core.LeaseID // zero: it has none
	timeout time.Duration
	dead    bool
	done    bool // it has no use for its session, or that has ended

	// at is the member that it is connected to, or tries to be; open says that it is, and
	// attempt counts.
	at      *simNode
	open    bool
	attempt int
	// served says that it had an answer in its session.
	served bool

	// spoke is when it last sent something, heard when it last had an answer, or began
	// to try; passed is when the front end last passed a touch on, and kept when it kept
	// one back after that.
	spoke, heard, passed, kept time.Time
	// taken is when the newest touch was heard of those that a leader in contact has, or
	// of which a command tells all leaders.
	taken time.Time
	saw   uint64 // the newest view
}

func (s *sim) newSession() *simSession {
	return &simSession{s: s, timeout: 2*simElection + time.Duration(s.rng.IntN(20))*simTick}
}

func (c *simSession) retired() bool { return c.dead || c.done }

// run is what a client does in a round.
func (c *simSession) run(faults bool) {
	if faults && c.s.chance(0.3) {
		c.dead = true
		c.s.counts["died"]++
		return
	}
	if c.at == nil || c.s.now.Sub(c.spoke) >= c.timeout/3-simTick || c.s.now.Sub(c.heard) >= 2*c.timeout/3 {
		c.act(faults)
	}
}

// act is something that a client does: it connects, speaks, or gives up.
func (c *simSession) act(faults bool) {
	switch {
	case c.at == nil:
		c.connect()
	case c.s.now.Sub(c.heard) >= 2*c.timeout/3:
		c.s.counts["gaveUp"]++
		c.leave()
	case c.open && faults && c.s.chance(0.5):
		c.propose("close", nil)
		c.over()
	case c.open && faults && c.s.chance(1):
		c.s.counts["moved"]++
		c.leave()
	case c.open:
		c.speak()
	}
}

// connect tries some member, which takes it only while it is in contact, and has seen
// what the client has (ZooKeeper's Z6).
func (c *simSession) connect() {
	n := c.s.any()
	switch {
	case !n.runs():
		return
	case !n.inContact():
		c.s.counts["turnedAway"]++
		return
	case n.applied < c.saw:
		c.s.counts["tooOld"]++
		return
	}
	c.at, c.open, c.heard = n, false, c.s.now
	c.attempt++
	attempt, verb := c.attempt, "attach"
	if c.id == 0 {
		verb = "grant"
		c.id = c.s.newLease(c)
	}
	c.propose(verb, func(err error) {
		if c.attempt == attempt && !c.retired() {
			c.connected(err)
		}
	})
}

func (c *simSession) propose(verb string, then func(error)) {
	s := c.s
	c.at.submitThen(&Proposal{}, fmt.Sprintf("lease %s %d %d %d %d 1", verb, s.proposed, s.now.UnixNano(), c.id, c.timeout), then)
}

// connected is the answer to an attempt.
func (c *simSession) connected(err error) {
	n := c.at
	if err != nil || !n.runs() || !n.inContact() {
		c.leave()
		return
	}
	if _, ok := n.leases[c.id]; !ok {
		c.over()
		return
	}
	c.s.counts["connected"]++
	c.open, c.passed, c.kept = true, time.Time{}, time.Time{}
	c.speak()
}

// leave ends the connection, or the attempt. A client that had no answer in its session
// does not know whether there is one.
func (c *simSession) leave() {
	c.done = c.done || c.id != 0 && !c.served
	c.at, c.open = nil, false
	c.attempt++
}

// over is what a client does that is told that its session has ended.
func (c *simSession) over() {
	c.done = true
	c.leave()
}

// speak sends something to the member, which answers from what it shows: never less
// than the client has seen, and nothing in a session that has expired on any member.
func (c *simSession) speak() {
	s, n := c.s, c.at
	c.spoke = s.now
	if !n.runs() {
		return
	}
	if !n.inContact() {
		c.leave() // as frontends/zk does, before it reads a request
		return
	}
	require.False(s.t, s.expired[c.id], "seed %d: member %d serves session %d, which has expired", s.seed, n.id, c.id)
	require.GreaterOrEqual(s.t, n.applied, c.saw, "seed %d: member %d shows less than was seen", s.seed, n.id)
	c.heard, c.saw, c.served = s.now, n.applied, true
	s.counts["spoken"]++
	c.kept = s.now
	if s.now.Sub(c.passed) >= core.TouchInterval {
		c.passed = s.now
		n.touch(c)
	}
}

// take notes that a leader in contact has a touch that was passed on at a time. What the
// front end has kept back since then is good, too.
func (c *simSession) take(passed time.Time) {
	if passed.Equal(c.passed) {
		passed = c.kept
	}
	c.granted(passed)
}

func (c *simSession) granted(at time.Time) {
	if at.After(c.taken) {
		c.taken = at
	}
}

// expired: the leader found it overdue no sooner than the session's timeout after the
// last touch that it had; and a client that is alive has been told before, by the member
// that it was connected to, that it is connected no more.
func (c *simSession) expired(decided time.Time) {
	s := c.s
	require.False(s.t, decided.Before(c.taken.Add(c.timeout)), "seed %d: session %d of %v expired %v after its client was heard",
		s.seed, c.id, c.timeout, decided.Sub(c.taken))
	if c.dead {
		return
	}
	s.counts["expiredAlive"]++
	require.False(s.t, c.open && c.at.runs(), "seed %d: session %d of %v expired, and its client, last heard %v ago, is connected to %v",
		s.seed, c.id, c.timeout, s.now.Sub(c.heard), c.at)
}

func (c *simSession) ended(on *simNode) {
	if c.at == on && c.open {
		c.over()
	}
}

// interrupt closes the connections of all sessions on this member.
func (n *simNode) interrupt() {
	for _, c := range n.s.sessions {
		if c.at == n {
			n.s.counts["closed"]++
			c.leave()
		}
	}
}
