package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/triglot/triglot/core"
)

// AutoCompaction says how history is given up without being asked. The zero
// value never does.
type AutoCompaction struct {
	// Period keeps the history of so much time. Revisions keeps so many
	// revisions. At most one of them is positive.
	Period    time.Duration
	Revisions int64
}

func (a AutoCompaction) validate() error {
	switch {
	case a.Period < 0 || a.Revisions < 0:
		return fmt.Errorf("the retention of history is negative: %v, %d revisions", a.Period, a.Revisions)
	case a.Period > 0 && a.Revisions > 0:
		return fmt.Errorf("history is kept by time (%v) or by revisions (%d), not by both", a.Period, a.Revisions)
	}
	return nil
}

const (
	// revisionInterval is how often the retention by revisions is applied
	// (etcd server/etcdserver/api/v3compactor: 5 minutes).
	revisionInterval = 5 * time.Minute
	// samplesPerPeriod is how finely the revision is sampled for the retention by
	// time. History is compacted once a period or an hour, whichever is shorter, so
	// up to that much more than the period is kept, as in etcd.
	samplesPerPeriod = 10
	// maxCompactInterval bounds the time between two compactions of a long
	// retention (etcd: 1 hour).
	maxCompactInterval = time.Hour
)

// sample is the revision that was current at a time.
type sample struct {
	at  time.Time
	rev core.Rev
}

// compactor decides when to compact, and to what. It has no clock: tick is told
// the time.
type compactor struct {
	keep    AutoCompaction
	samples []sample // oldest first
	// last is when, done to what history was last compacted.
	last time.Time
	done core.Rev
}

// interval is how often tick wants to be called; zero is never.
func (c *compactor) interval() time.Duration {
	switch {
	case c.keep.Period > 0:
		return max(min(c.keep.Period, maxCompactInterval)/samplesPerPeriod, time.Millisecond)
	case c.keep.Revisions > 0:
		return revisionInterval
	}
	return 0
}

// tick notes that rev is current and returns the revision to compact to now, if
// any.
func (c *compactor) tick(now time.Time, rev core.Rev) (core.Rev, bool) {
	if c.keep.Revisions > 0 {
		to := rev - core.Rev(c.keep.Revisions)
		return to, to > c.done
	}
	c.samples = append(c.samples, sample{now, rev})
	if c.last.IsZero() {
		c.last = now
	}
	if now.Sub(c.last) < min(c.keep.Period, maxCompactInterval) {
		return 0, false
	}
	old := 0
	for old < len(c.samples) && now.Sub(c.samples[old].at) >= c.keep.Period {
		old++
	}
	if old == 0 {
		return 0, false
	}
	// The newest of the old ones says all that they do.
	c.samples = slices.Delete(c.samples, 0, old-1)
	to := c.samples[0].rev
	return to, to > c.done
}

// succeeded notes that history was compacted to a revision: the next time is a
// period later. Until then every tick tries again.
func (c *compactor) succeeded(now time.Time, to core.Rev) {
	c.last, c.done = now, to
}
