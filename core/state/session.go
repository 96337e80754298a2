package state

import (
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/lease"
)

// checkTimeout refuses a session's timeout that would make it live for ever, or
// that its row cannot hold: it keeps whole milliseconds.
func checkTimeout(d time.Duration) error {
	if d < time.Millisecond {
		return core.InvalidArgument
	}
	return nil
}

func (m *Machine) openSession(c *core.SessionOpen) (core.Outcome, error) {
	if c.ID <= 0 { // a session's id is positive, unlike a lease's
		return nil, core.InvalidArgument
	}
	if err := checkTimeout(c.Timeout); err != nil {
		return nil, err
	}
	s := lease.Lease{TTL: c.Timeout, Granted: m.pos.index + 1, Epoch: 1, Secret: c.Secret}
	if err := m.leases.Grant(c.ID, s); err != nil {
		return nil, err
	}
	return m.owned(core.SessionRef{ID: c.ID, Epoch: s.Epoch}, c.Timeout), nil
}

func (m *Machine) attachSession(c *core.SessionAttach) (core.Outcome, error) {
	if err := checkTimeout(c.Timeout); err != nil {
		return nil, err
	}
	// To attach counts as a grant: an expiry of which the leader thought before it
	// must not end the session now.
	epoch, err := m.leases.AttachSession(c.ID, lease.Lease{TTL: c.Timeout, Granted: m.pos.index + 1, Secret: c.Secret})
	if err != nil {
		return nil, err
	}
	return m.owned(core.SessionRef{ID: c.ID, Epoch: epoch}, c.Timeout), nil
}

// owned tells those who follow the state of a session's owner.
func (m *Machine) owned(ref core.SessionRef, timeout time.Duration) core.Outcome {
	m.delta.Leases = append(m.delta.Leases, LeaseChange{ID: ref.ID, TTL: timeout, Epoch: ref.Epoch})
	return core.SessionOutcome{Session: ref}
}

func (m *Machine) closeSession(c *core.SessionClose) error {
	if err := m.leases.CheckSession(c.Session); err != nil {
		return err
	}
	return m.revoke(c.Session.ID)
}
