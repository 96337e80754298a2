package mvcc

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"unsafe"

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
//     view has written to the key's shard; otherwise its row may be an old one by
//     now. The shard remembers the last index that wrote to it.
type Cache struct {
	seed   maphash.Seed
	shards []shard
}

// shard is a part of the keys: a table and a clock that evicts what was not used
// since the hand last passed.
type shard struct {
	// mu guards all below.
	mu    sync.Mutex
	slots map[string]int // a key's place in the ring; the key is kv.Key itself
	ring  []slot
	hand  int
	bytes int64
	limit int64
	// written is the index of the last batch that wrote to a key of this shard.
	written      uint64
	hits, misses uint64
}

type slot struct {
	kv   *core.KV
	used bool
}

const (
	maxShards     = 256
	minShardBytes = 1 << 20
	// slotOverhead approximates what an entry takes besides its KV.
	slotOverhead = 64
)

// NewCache makes a cache of about so many bytes; zero or less holds nothing.
func NewCache(bytes int64) *Cache {
	n := min(max(1, bytes/minShardBytes), maxShards)
	n = 1 << (bits.Len64(uint64(n)) - 1)
	c := &Cache{seed: maphash.MakeSeed(), shards: make([]shard, n)}
	for i := range c.shards {
		c.shards[i].slots = make(map[string]int)
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
		s.Entries += int64(len(sh.ring))
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
		clear(sh.slots)
		clear(sh.ring)
		sh.ring, sh.hand, sh.bytes = sh.ring[:0], 0, 0
		sh.written = max(sh.written, index)
		sh.mu.Unlock()
	}
}

func (c *Cache) shard(key []byte) *shard {
	return &c.shards[maphash.Bytes(c.seed, key)&uint64(len(c.shards)-1)]
}

// get returns the version of key as of revision at, a tombstone if the key did
// not exist then, and nil if the cache cannot tell.
func (c *Cache) get(key []byte, at core.Rev) *core.KV {
	if c == nil {
		return nil
	}
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i, ok := sh.slots[string(key)]; ok {
		if s := &sh.ring[i]; s.kv.ModRev <= at {
			s.used = true
			sh.hits++
			return s.kv
		}
	}
	sh.misses++
	return nil
}

// fill adds kv, read from the engine by a reader of the view at index: the newest
// version there of its key.
func (c *Cache) fill(kv *core.KV, index uint64) {
	if c == nil {
		return
	}
	sh := c.shard(kv.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.written > index {
		return
	}
	if _, ok := sh.slots[string(kv.Key)]; ok {
		return // another reader was faster; what is there is as new or newer
	}
	sh.put(kv)
}

// write replaces or adds what the batch of index wrote: kv is the newest version
// of its key. Only the Writer calls it.
func (c *Cache) write(kv *core.KV, index uint64) {
	if c == nil {
		return
	}
	sh := c.shard(kv.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.written = index
	sh.put(kv)
}

// put makes kv its key's entry. REQUIRES: mu.
func (sh *shard) put(kv *core.KV) {
	size := entrySize(kv)
	i, ok := sh.slots[stringOf(kv.Key)]
	switch {
	case size > sh.limit/4:
		if ok { // too big to keep, and what is there is old
			sh.remove(i)
		}
		return
	case ok:
		sh.bytes += size - entrySize(sh.ring[i].kv)
		sh.ring[i].kv = kv
	default:
		i = len(sh.ring)
		sh.ring = append(sh.ring, slot{kv: kv})
		sh.bytes += size
	}
	// Assigned in both cases: the map's key must not keep the old KV alive.
	sh.slots[stringOf(kv.Key)] = i
	for sh.bytes > sh.limit {
		sh.evict()
	}
}

// evict removes one entry. REQUIRES: mu, and the ring is not empty.
func (sh *shard) evict() {
	for {
		if sh.hand >= len(sh.ring) {
			sh.hand = 0
		}
		s := &sh.ring[sh.hand]
		if !s.used {
			sh.remove(sh.hand)
			return
		}
		s.used = false
		sh.hand++
	}
}

// remove takes an entry out; the last one takes its place. REQUIRES: mu.
func (sh *shard) remove(i int) {
	kv, last := sh.ring[i].kv, len(sh.ring)-1
	delete(sh.slots, stringOf(kv.Key))
	sh.bytes -= entrySize(kv)
	if i != last {
		sh.ring[i] = sh.ring[last]
		sh.slots[stringOf(sh.ring[i].kv.Key)] = i
	}
	sh.ring[last] = slot{}
	sh.ring = sh.ring[:last]
}

func entrySize(kv *core.KV) int64 { return int64(kv.Size() + slotOverhead) }

// stringOf is b as a string without a copy. b must never change again; a KV's
// key does not.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
