package consensus

import (
	"math/bits"
	"sync/atomic"
)

// role is a part of a driver's work that one goroutine at a time does, in order; or a set
// of such parts.
type role uint8

// The roles. Who has several takes the first: the disk takes longest, and callers wait for
// what is applied.
const (
	// appending is the only caller of Log.Append and Reset.
	appending role = 1 << iota
	// applying is the only caller of Applier and OnLeadership.
	applying
	// stepping owns the replica, and is the only caller of Config.Send and Fetch.
	stepping

	roles = 3
)

// crew is the goroutines of a driver. They share the roles: which of them does what
// changes from moment to moment.
//
// Each role is a token. While there is nothing to do in it the token lies in the role's
// queue (queue, mailbox), and who puts something there takes it out. Whoever has a token
// either does the work, a pass at a time, or hands the token on. A worker that comes from
// one role with another's token goes on with that: so one goroutine takes a lone write
// through all of its stages, with nobody to be woken in between, which costs more than the
// stages themselves. When there is work in several roles it keeps one of them and hands on
// the others, so that they run side by side.
//
// There are as many workers as roles. As one in a pass has exactly one token, there is
// always a worker for a token that is handed on, however long the disk or the state
// machine holds up the others.
type crew struct {
	// passes are what is done in each role. A pass returns the tokens that its worker has
	// afterwards: its own if there is more to do, and those that it took out.
	passes [roles]func() role
	// tokens is what is handed on, zero to a worker that is to end. It has room for all
	// there can be.
	tokens chan role
	// handed counts the tokens that were handed on.
	handed atomic.Uint64
}

func newCrew(appending, applying, stepping func() role) *crew {
	return &crew{passes: [roles]func() role{appending, applying, stepping}, tokens: make(chan role, 2*roles)}
}

// hire hands tokens on. It never blocks.
func (c *crew) hire(held role) {
	for held != 0 {
		r := held.first()
		held &^= r
		c.handed.Add(1)
		c.tokens <- r
	}
}

// first is the role of several that is taken first.
func (r role) first() role { return r & -r }

// work is a worker.
func (c *crew) work() {
	for held := <-c.tokens; held != 0; held = <-c.tokens {
		for held != 0 {
			r := held.first()
			c.hire(held &^ r)
			held = c.passes[bits.TrailingZeros8(uint8(r))]()
		}
	}
}

// end has the workers end as soon as each has done its pass.
func (c *crew) end() {
	for range roles {
		c.tokens <- 0
	}
}
