package kv

import (
	"slices"
	"strings"
	"sync"

	"github.com/triglot/triglot/core"
)

// maxRanks bounds what is remembered: each is two keys long, and found by a binary search.
// Of keys that are longer than maxRankBytes together nothing is, so it takes a few MiB.
const (
	maxRanks     = 1024
	maxRankBytes = 4 << 10
)

// Counts remembers how many keys there are from some keys on, up to the end of a list: so
// a page need not count what was counted before, be it for the page in front of it or for
// another reader. It is exact, since a revision does not change; and as long as no key is
// made or deleted, all revisions have the same. The zero value is ready; it is safe for
// concurrent use.
type Counts struct {
	mu    sync.Mutex
	lists map[listKey][]rank // by key
	// oldest are the ranks in the order of their arrival.
	oldest []rankKey
}

// listKey is all lists that end somewhere, as of a revision.
type listKey struct {
	end string
	rev core.Rev
}

// rank is how many keys there are from one on, be it there or not.
type rank struct {
	key string
	n   int64
}

type rankKey struct {
	list listKey
	key  string
}

// nearest returns the first key at or behind from, of those whose rank is known.
func (c *Counts) nearest(from string, end []byte, rev core.Rev) (rank, bool) {
	if c == nil {
		return rank{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ranks := c.lists[listKey{string(end), rev}]
	i, _ := find(ranks, from)
	if i == len(ranks) {
		return rank{}, false
	}
	return ranks[i], true
}

func find(ranks []rank, key string) (int, bool) {
	return slices.BinarySearchFunc(ranks, key, func(r rank, key string) int { return strings.Compare(r.key, key) })
}

// note remembers that there are n keys from key on, up to end.
func (c *Counts) note(key string, end []byte, rev core.Rev, n int64) {
	if c == nil || len(key)+len(end) > maxRankBytes {
		return
	}
	k := rankKey{listKey{string(end), rev}, key}
	c.mu.Lock()
	defer c.mu.Unlock()
	ranks := c.lists[k.list]
	i, known := find(ranks, key)
	if known {
		return
	}
	if c.lists == nil {
		c.lists = map[listKey][]rank{}
	}
	c.lists[k.list] = slices.Insert(ranks, i, rank{key, n})
	if c.oldest = append(c.oldest, k); len(c.oldest) > maxRanks {
		c.forget(c.oldest[0])
		c.oldest = c.oldest[:copy(c.oldest, c.oldest[1:])]
	}
}

func (c *Counts) forget(k rankKey) {
	ranks := c.lists[k.list]
	if i, ok := find(ranks, k.key); ok {
		ranks = slices.Delete(ranks, i, i+1)
	}
	if c.lists[k.list] = ranks; len(ranks) == 0 {
		delete(c.lists, k.list)
	}
}
