package storage

import "time"

// Metrics is a moment's account of the engine.
type Metrics struct {
	// DiskBytes is what the files take, MemTableBytes the heap of unflushed data.
	DiskBytes, MemTableBytes uint64
	// MemTables is how many there are: the last is being filled. Those of a young
	// store are small.
	MemTables int64
	// MemTableLimit is how large MemTableBytes may get: writes stall that need more.
	MemTableLimit uint64
	// L0Sublevels is how many overlapping runs a read may have to merge; writes
	// stall at StallSublevels. CompactionDebt is the work, in bytes, to bring it down.
	L0Sublevels    int32
	CompactionDebt uint64
	// Flushes and Compactions count since Open; CompactionTime is their duration.
	Flushes, Compactions int64
	CompactionTime       time.Duration
	// CacheBytes is the block cache's size, CacheHits and CacheMisses count reads
	// of blocks.
	CacheBytes, CacheHits, CacheMisses int64
	// Snapshots and Iterators are those open now.
	Snapshots int
	Iterators int64
}

// Metrics describes the engine now. It takes a lock that writes take too: ask a
// few times a second at most.
func (d *DB) Metrics() Metrics {
	m := d.engine.Metrics()
	return Metrics{
		DiskBytes:      m.DiskSpaceUsage(),
		MemTableBytes:  m.MemTable.Size,
		MemTables:      m.MemTable.Count,
		MemTableLimit:  d.memTableLimit,
		L0Sublevels:    m.Levels[0].Sublevels,
		CompactionDebt: m.Compact.EstimatedDebt,
		Flushes:        m.Flush.Count,
		Compactions:    m.Compact.Count,
		CompactionTime: m.Compact.Duration,
		CacheBytes:     m.BlockCache.Size,
		CacheHits:      m.BlockCache.Hits,
		CacheMisses:    m.BlockCache.Misses,
		Snapshots:      m.Snapshots.Count,
		Iterators:      m.TableIters,
	}
}
