package expiry

import (
	"sync/atomic"
	"time"
)

// Contact is how long a member may be sure that it knows of the end of its clients'
// sessions: for an election timeout after it last asked those that could have one end,
// and was confirmed. The package comment has the arithmetic. Its owner guards it, but for
// Is, which anybody may call.
type Contact struct {
	election time.Duration
	alone    func() bool
	lost     func()
	// until is when the last confirmation is an election timeout old, zero if there has
	// been none.
	until atomic.Int64
	// had says that there was contact when it was last looked at, or that nobody else was there.
	had bool
}

// NewContact returns a contact that nobody has confirmed yet. alone says that this member is the
// only one: then there is contact, too. lost closes the connections: their sessions may have
// ended, and this member has not applied it yet.
func NewContact(election time.Duration, alone func() bool, lost func()) *Contact {
	return &Contact{election: election, alone: alone, lost: lost}
}

// Is says whether there is contact, on a member that is not alone.
func (c *Contact) Is(now time.Duration) bool { return int64(now) < c.until.Load() }

// Confirm says that there was contact at a time. If it was lost before this, even
// unnoticed because the process was held up, the connections are closed first.
func (c *Contact) Confirm(now, at time.Duration) {
	c.Look(now)
	c.until.Store(int64(at + c.election))
	c.had = c.Is(now) || c.alone()
}

// Look has the connections closed, once, if contact has been lost.
func (c *Contact) Look(now time.Duration) {
	has := c.Is(now) || c.alone()
	if c.had && !has {
		c.lost()
	}
	c.had = has
}
