package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/expiry"
)

// contactChecks is how many times in an election timeout a member looks whether it is
// still in contact: its connections are closed so much late at most.
const contactChecks = 16

// shortestElections is the shortest timeout of a session in election timeouts. The
// package comment of core/expiry has the arithmetic.
const shortestElections = 2

var (
	errNoContact = errors.New("this member is out of contact with the leader, or with the quorum, and may not know that the session has ended")
	errReplaced  = errors.New("this member's state was replaced by another member's")
)

// contact is this member's contact with those that could have a session end: the leader,
// who is in contact with a quorum. It belongs to whoever holds mu.
type contact struct {
	*expiry.Contact // whose Is anybody may call
	// now is the leases' clock, election the election timeout. They do not change.
	now      func() time.Duration
	election time.Duration

	mu        sync.Mutex // held while followers are called
	followers []*interrupted
}

type interrupted struct{ tell func(error) }

// init has the connections closed when contact is lost.
func (c *contact) init(l *leases, election time.Duration) {
	c.now, c.election = l.now, election
	alone := func() bool { return l.n.driver.SoleLeader() }
	c.Contact = expiry.NewContact(election, alone, func() { c.interrupt(errNoContact) })
}

// confirm says that there was contact at a time.
func (c *contact) confirm(at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Confirm(c.now(), at)
}

// check looks whether contact has been lost.
func (c *contact) check() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Look(c.now())
}

// interrupt has all connections closed. mu is held.
func (c *contact) interrupt(reason error) {
	for _, f := range c.followers {
		f.tell(reason)
	}
}

// errLearner is why a learner that is not there to serve clients serves no sessions.
var errLearner = core.Errorf(core.Unsupported, "a learner serves no sessions unless it is started with --observer")

// Contact implements core.Sessions. One that is alone is always in contact, once it is
// ready: before that it may not have all that was acknowledged.
func (s *sessions) Contact() error {
	if !s.leases.n.standing.ready.Load() {
		return core.NoLeader
	}
	return s.inContact()
}

// inContact is Contact of a member that may not be ready yet: the others depend on a leader's.
func (s *sessions) inContact() error {
	n := s.leases.n
	if n.standing.learner.Load() && !n.cfg.Members.Observer {
		return errLearner
	}
	if n.driver.SoleLeader() || s.contact.Is(n.leases.now()) {
		return nil
	}
	return core.NoLeader
}

// FollowInterruptions implements core.Sessions. When stop returns, fn is not called any
// more: so fn must not call stop, nor wait for one who does.
func (s *sessions) FollowInterruptions(fn func(error)) (stop func()) {
	c, f := &s.contact, &interrupted{tell: fn}
	c.mu.Lock()
	c.followers = append(c.followers, f)
	c.mu.Unlock()
	signal(s.leases.renewals.wake)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.followers = slices.DeleteFunc(c.followers, func(other *interrupted) bool { return other == f })
	}
}

// followed says whether anybody here depends on contact.
func (s *sessions) followed() bool {
	s.contact.mu.Lock()
	defer s.contact.mu.Unlock()
	return len(s.contact.followers) > 0
}

// interrupt closes the connections of all sessions, because the state was replaced by
// another member's: who followed it was not told what lies between.
func (s *sessions) interrupt() {
	s.contact.mu.Lock()
	defer s.contact.mu.Unlock()
	s.contact.interrupt(errReplaced)
}

// Shortest implements core.Sessions. Of one that is alone nobody can be cut off.
func (s *sessions) Shortest() time.Duration {
	n := s.leases.n
	if !n.clustered() || n.driver.SoleLeader() {
		return 0
	}
	return shortestElections * n.cfg.Timing.Election
}

// watchContact looks whether contact has been lost until ctx ends.
func (s *sessions) watchContact(ctx context.Context) {
	tick := time.NewTicker(s.contact.election / contactChecks)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		s.contact.check()
	}
}
