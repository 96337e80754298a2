package mvcc

import (
	"math/bits"
	"sync"

	"github.com/triglot/triglot/core"
)

// Caches are what stands between the engine and its Writer and Readers, who share
// them. One that is nil holds nothing.
type Caches struct {
	// Versions is of the d table, Rows of the n and the A table.
	Versions, Rows *Cache
}

// Cache holds the newest version of the keys in use, bounded in bytes. It is
// safe for concurrent use. An entry is a *core.KV; a tombstone says that the key
// does not exist since its ModRev, and stands for an absence, too, with the
// revision at which the absence was seen. Rows that have no versions are cached as
// if they had, see cachedRow.
//
// What makes it right is one invariant: an entry is the newest version of its key
// in the last batch that the Writer committed. So it answers a read at any
// revision from its ModRev on, and says nothing about earlier ones. Two rules
// keep it true:
//
//   - The Writer replaces the entries of what it wrote before the new view is
//     published. Until then, readers of older views pass over what is newer.
//   - A reader may add what it found in the engine only if no batch after its
//     view has written to the key's part of its shard; otherwise its row may be an
//     old one by now. The shard remembers the last index that wrote to each part.
type Cache struct {
	shards []shard
}

// shard is a part of the keys: a table, and a clock over its slots that evicts what was
// not used since the hand last came by.
type shard struct {
	// mu guards all below.
	mu      sync.Mutex
	entries table[*core.KV]
	hand    int
	bytes   int64
	limit   int64
	// written is the index of the last batch that wrote to a key of each part.
	written      [shardParts]uint64
	hits, misses uint64
}

const (
	maxShards     = 256
	minShardBytes = 1 << 20
	// shardParts is into how many parts the keys of a shard fall that are told apart by
	// when they were written: so many that a batch of hundreds of keys leaves most of
	// them alone, and so few that they take little beside minShardBytes.
	shardParts = 256
	// golden is the golden section of 1<<goldenBits.
	golden, goldenBits = 633, 10
	// slotOverhead is what an entry takes besides its KV: a slot of 16 bytes in a table
	// that is between three eighths and three quarters full.
	slotOverhead = 32
)

// NewCache makes a cache of about so many bytes; zero or less holds nothing.
func NewCache(bytes int64) *Cache {
	n := min(max(1, bytes/minShardBytes), maxShards)
	n = 1 << (bits.Len64(uint64(n)) - 1)
	c := &Cache{shards: make([]shard, n)}
	for i := range c.shards {
		c.shards[i].limit = max(0, bytes) / n
	}
	return c
}

// CacheStats describes a Cache.
type CacheStats struct {
	// Hits and Misses count lookups, Entries and Bytes what is held.
	Hits, Misses   uint64
	Entries, Bytes int64
}

// Stats adds up the shards, one after the other.
func (c *Cache) Stats() CacheStats {
	var s CacheStats
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		s.Hits += sh.hits
		s.Misses += sh.misses
		s.Entries += int64(sh.entries.count)
		s.Bytes += sh.bytes
		sh.mu.Unlock()
	}
	return s
}

// Clear empties the cache, for a state that has been replaced as a whole as of
// index: readers of older views can add nothing any more.
func (c *Cache) Clear(index uint64) {
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		sh.entries.reset(0)
		sh.hand, sh.bytes = 0, 0
		for j := range sh.written {
			sh.written[j] = max(sh.written[j], index)
		}
		sh.mu.Unlock()
	}
}

func (c *Cache) shard(hash uint64) *shard { return &c.shards[hash&uint64(len(c.shards)-1)] }

// partOf is the part of its shard that a key belongs to.
func partOf(hash uint64) uint64 { return hash >> 8 % shardParts } // above the bits of maxShards

// get returns the version of key, whose hash is given, as of revision at, a tombstone if
// the key did not exist then, and nil if the cache cannot tell.
func (c *Cache) get(hash uint64, key []byte, at core.Rev) *core.KV {
	if c == nil {
		return nil
	}
	sh := c.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i := sh.find(hash, key, nil); i >= 0 {
		if s := &sh.entries.slots[i]; s.entry.ModRev <= at {
			s.used = true
			sh.hits++
			return s.entry
		}
	}
	sh.misses++
	return nil
}

// has reports whether there is an entry of key, of whatever revision.
func (c *Cache) has(hash uint64, key []byte) bool {
	if c == nil {
		return false
	}
	sh := c.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.find(hash, key, nil) >= 0
}

// fill adds kv, read from the engine by a reader of the view at index: the newest
// version there of its key, whose hash is given. It reports whether the cache has the key
// now, of whatever revision.
func (c *Cache) fill(hash uint64, kv *core.KV, index uint64) bool {
	if c == nil {
		return false
	}
	sh := c.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.find(hash, kv.Key, nil) >= 0 {
		return true // another reader was faster; what is there is as new or newer
	}
	if sh.written[partOf(hash)] > index {
		return false
	}
	return sh.put(hash, kv, -1)
}

// write replaces or adds what the batch of index wrote: kv is the newest version
// of its key, whose hash is given, and prev what the entry most likely is, or nil. Only the
// Writer calls it.
func (c *Cache) write(hash uint64, kv, prev *core.KV, index uint64) {
	if c == nil {
		return
	}
	sh := c.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.written[partOf(hash)] = index
	sh.put(hash, kv, sh.find(hash, kv.Key, prev))
}

// find is the place of key's entry, -1 if there is none. If it is guess, which may be nil,
// its key, which has most often left the processor's caches, is not looked at. REQUIRES: mu.
func (sh *shard) find(hash uint64, key []byte, guess *core.KV) int {
	i := sh.entries.first(tagOf(hash))
	for i >= 0 {
		if e := sh.entries.slots[i].entry; e == guess || string(e.Key) == string(key) {
			break
		}
		i = sh.entries.after(i)
	}
	return i
}

// put makes kv its key's entry, which is at place i, or nowhere, unless it is too big.
// REQUIRES: mu.
func (sh *shard) put(hash uint64, kv *core.KV, i int) (kept bool) {
	size := entrySize(kv)
	switch {
	case size > sh.limit/4:
		if i >= 0 { // too big to keep, and what is there is old
			sh.remove(i)
		}
		return false
	case i >= 0:
		s := &sh.entries.slots[i]
		sh.bytes += size - entrySize(s.entry)
		s.entry = kv
	default:
		sh.entries.add(tagOf(hash), kv)
		sh.bytes += size
	}
	for sh.bytes > sh.limit {
		sh.evict()
	}
	return true
}

// evict removes one entry. REQUIRES: mu, and there is one.
//
// The hand goes from slot to slot by about the golden section of all, and so to each in a
// round, for that is odd and their number a power of two. From one to the next it would
// leave the slots behind it empty and those before it full, and with twice the mean in
// them no search would end for thousands.
func (sh *shard) evict() {
	n := len(sh.entries.slots)
	step := n*golden>>goldenBits | 1
	for {
		sh.hand = (sh.hand + step) & (n - 1)
		switch s := &sh.entries.slots[sh.hand]; {
		case s.entry == nil:
		case s.used:
			s.used = false
		default:
			sh.remove(sh.hand)
			return
		}
	}
}

// remove takes an entry out. REQUIRES: mu.
func (sh *shard) remove(i int) {
	sh.bytes -= entrySize(sh.entries.slots[i].entry)
	sh.entries.remove(i)
}

func entrySize(kv *core.KV) int64 { return int64(kv.Size() + slotOverhead) }
