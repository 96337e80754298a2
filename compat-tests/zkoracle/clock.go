package zkoracle

import (
	"fmt"
	"slices"
	"time"
)

// timeTolerance is how far a time that a server tells may be from ours.
const timeTolerance = 5 * time.Minute

// clock names the zxids of one server by what they belong to, so that the names
// are the same on every server that does the same. A server may spend zxids on
// what changes nothing (ZooKeeper does, for failed writes and for sessions);
// these have no name, and are shown as the last write before them.
type clock struct {
	known []int64          // named zxids, sorted
	names map[int64]string // of known
	times map[int64]int64  // the time of a zxid, in ms, as first told
	count int              // of writes
	gaps  map[string]int   // how many names were given after a write, that are no write's
	// last is the zxid of the last write if it was answered by the last request that
	// could have taken a zxid; else 0.
	last int64
}

func newClock() *clock {
	return &clock{names: make(map[int64]string), times: make(map[int64]int64), gaps: make(map[string]int)}
}

// learn gives a zxid its name.
func (c *clock) learn(z int64, name string) {
	c.names[z] = name
	at, _ := slices.BinarySearch(c.known, z)
	c.known = slices.Insert(c.known, at, z)
}

// wrote names the zxid of a write that was just answered. It says so if the zxid is
// not what it must be: a new one, and the very next one if there was nothing but
// this write since the last (T/test/StatTest).
func (c *clock) wrote(z int64) string {
	c.count++
	name := fmt.Sprintf("z%d", c.count)
	if n := len(c.known); n > 0 && z <= c.known[n-1] {
		return fmt.Sprintf("%s (NOT NEW: as %s)", name, c.floor(z))
	}
	c.learn(z, name)
	last := c.last
	c.last = z
	if last != 0 && z != last+1 {
		return fmt.Sprintf("%s (%d AFTER THE LAST)", name, z-last)
	}
	return name
}

// disturbed says that a request which may take a zxid without writing was made.
func (c *clock) disturbed() { c.last = 0 }

// exact names the zxid of a change. One that no reply to a write has told, as
// after the end of a session, is named after the write before it.
func (c *clock) exact(z int64) string {
	if z <= 0 {
		return fmt.Sprint(z)
	}
	if name, ok := c.names[z]; ok {
		return name
	}
	before := c.floor(z)
	c.gaps[before]++
	name := fmt.Sprintf("%s.%d", before, c.gaps[before])
	c.learn(z, name)
	return name
}

// floor names the last change at or before z.
func (c *clock) floor(z int64) string {
	if z <= 0 {
		return fmt.Sprint(z)
	}
	at, found := slices.BinarySearch(c.known, z)
	if found {
		return c.names[z]
	}
	if at == 0 {
		return "z0"
	}
	return c.names[c.known[at-1]]
}

// zxid is the zxid of a name; z0 is 0.
func (c *clock) zxid(name string) (int64, bool) {
	if name == "z0" {
		return 0, true
	}
	for z, n := range c.names {
		if n == name {
			return z, true
		}
	}
	return 0, false
}

// latest is the last zxid that has a name, 0 if none.
func (c *clock) latest() int64 {
	if len(c.known) == 0 {
		return 0
	}
	return c.known[len(c.known)-1]
}

// wrongTime says what is wrong with the time ms of a zxid; empty if nothing is.
func (c *clock) wrongTime(z, ms int64) string {
	if z == 0 {
		if ms != 0 {
			return fmt.Sprintf("%d, not 0", ms)
		}
		return ""
	}
	first, known := c.times[z]
	if !known {
		c.times[z] = ms
		if d := time.Since(time.UnixMilli(ms)); d.Abs() > timeTolerance {
			return fmt.Sprintf("%s ago", d)
		}
		return ""
	}
	if first != ms {
		return fmt.Sprintf("%d ms after that of %s", ms-first, c.exact(z))
	}
	return ""
}
