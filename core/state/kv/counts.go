package kv

import (
	"sync"

	"github.com/triglot/triglot/core"
)

// maxCounts bounds the lists that are paged through at the same time without
// being counted anew. An entry is two keys long.
const maxCounts = 256

// Counts remembers, for lists that are read page by page, how many keys they have, and
// how many are left after the page that was read last: the count of the next page, which
// asks for what begins just behind it. It is exact, since the past does not change. The
// zero value is ready; it is safe for concurrent use.
type Counts struct {
	mu     sync.Mutex
	known  map[countKey]int64
	oldest []countKey // in the order of their arrival
}

// countKey is a list, or the rest of one, as of a revision.
type countKey struct {
	key, end string
	rev      core.Rev
}

// Known returns the count of an interval at a revision, if it was counted before or a
// page before it left it.
func (c *Counts) Known(in core.Interval, rev core.Rev) (int64, bool) {
	if c == nil {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.known[countKey{string(in.Key), string(in.End), rev}]
	return n, ok
}

// counted notes that an interval has n keys at a revision.
func (c *Counts) counted(in core.Interval, rev core.Rev, n int64) {
	c.note(countKey{string(in.Key), string(in.End), rev}, n)
}

// leave notes that n keys follow the key last in an interval at a revision.
func (c *Counts) leave(in core.Interval, last []byte, rev core.Rev, n int64) {
	c.note(countKey{string(last) + "\x00", string(in.End), rev}, n)
}

func (c *Counts) note(k countKey, n int64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[countKey]int64{}
	}
	if _, ok := c.known[k]; ok {
		return
	}
	if len(c.oldest) == maxCounts {
		delete(c.known, c.oldest[0])
		c.oldest = c.oldest[:copy(c.oldest, c.oldest[1:])]
	}
	c.known[k] = n
	c.oldest = append(c.oldest, k)
}
