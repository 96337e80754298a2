package storage

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/cockroachkvs"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// Options sets up a DB. The zero value works: the real file system and the
// defaults below.
type Options struct {
	// FS is the file system; nil is the operating system's.
	FS FS
	// CacheBytes is what the cache of table blocks may take, 0 for 128 MiB, besides
	// what memtables could take and do not. It is Go heap in a program without cgo.
	CacheBytes int64
	// MemTableBytes is the size at which a memtable is flushed; 0 is 64 MiB. Up
	// to four exist at a time, the last three on their way to disk, before writes
	// stall. They are Go heap in a program without cgo.
	MemTableBytes int64
	// Logger gets the engine's events: stalls and trouble at Warn, flushes and
	// compactions at Debug. nil discards them.
	Logger *slog.Logger
	// OnFatal is called at most once, when the engine can no longer keep its
	// promises: a failed write to the disk, or corruption found. The process must
	// end; the DB must not be used or closed any more. It may be called with the
	// engine's locks held, so it must return at once and never call the DB. nil
	// panics instead.
	OnFatal func(error)
	// Settled, if not nil, puts compactions off until it is closed: whoever opens an engine
	// may have much to do before it serves, to which they would take half of a small
	// machine. They begin after a few seconds at the latest.
	Settled <-chan struct{}
	// ReadOnly opens an existing directory without changing a byte of it.
	ReadOnly bool
}

const (
	defaultCacheBytes    = 128 << 20
	defaultMemTableBytes = 64 << 20
	memTables            = 4
)

// Budget is the heap that a DB opened with o may take, for the process's
// memory limit. What is not heap must not be in that limit: the runtime does not see
// it, and would give its room away once more.
func (o Options) Budget() int64 {
	if !engineOnHeap {
		return 0
	}
	return o.cached()
}

// cached is what the engine may take for table blocks and memtables.
func (o Options) cached() int64 {
	o = o.withDefaults()
	return o.CacheBytes + memTables*o.MemTableBytes
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = DefaultFS
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = defaultMemTableBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// compactSublevels is at how many overlapping runs compacting L0 counts as twice as urgent
// as the engine begins with: it begins at half of it.
const compactSublevels = 8

// StallSublevels is at how many overlapping runs in L0 the engine stalls writes; see
// Metrics.
const StallSublevels = 40

// pebbleOptions turns o, which has its defaults, into Pebble's options. Pebble's
// own defaults suit a small library database: an 8 MiB cache, 4 MiB memtables, no
// filters, writes that stall at twelve runs in L0.
func (o Options) pebbleOptions(r *reporter, compactions *scheduler) *pebble.Options {
	p := &pebble.Options{
		FS:         o.FS,
		ReadOnly:   o.ReadOnly,
		DisableWAL: true,
		// Pinned: a newer Pebble must not raise the format of the files by itself.
		FormatMajorVersion: pebble.FormatValueSeparation,

		// The schema of package keys: it stores versions in a column of their own,
		// moves old ones out of the way of scans, and lets filters know a key without
		// its version.
		Comparer:                &cockroachkvs.Comparer,
		KeySchema:               cockroachkvs.KeySchema.Name,
		KeySchemas:              sstable.MakeKeySchemas(&cockroachkvs.KeySchema),
		BlockPropertyCollectors: cockroachkvs.BlockPropertyCollectors,

		// Pebble takes the memtables' memory out of its cache: with no more than
		// CacheBytes for both, nothing would be cached once two memtables exist.
		CacheSize: o.cached(),
		// A large memtable absorbs rewrites of the same keys before they reach the
		// disk, and a stall must wait for a disk that is really too slow.
		MemTableSize:                uint64(o.MemTableBytes),
		MemTableStopWritesThreshold: memTables,
		// Measured: half as many compactions out of L0 as with Pebble's 4 rewrite about
		// half as much of what is below it. A read merges two runs more, which filters
		// spare most lookups.
		L0CompactionThreshold: compactSublevels,
		L0StopWritesThreshold: StallSublevels,
		LBaseMaxBytes:         256 << 20,
		BytesPerSync:          1 << 20,
		// A second compaction only when the first cannot keep up: on a small
		// machine it competes with the requests themselves.
		CompactionConcurrencyRange: func() (int, int) { return 1, max(2, runtime.GOMAXPROCS(0)/2) },

		Logger:        r,
		EventListener: r.listener(),
	}
	p.Experimental.CompactionScheduler = compactions
	// Not a second one for the sake of deleted rows: beside the collection of history there
	// are always many. The room comes back a little later.
	p.Experimental.CompactionGarbageFractionForMaxConcurrency = func() float64 { return 0 }
	p.TargetFileSizes[0] = 4 << 20 // and twice that for each level below
	for i := range p.Levels {
		p.Levels[i] = pebble.LevelOptions{
			BlockSize:      16 << 10,
			IndexBlockSize: 64 << 10,
			FilterPolicy:   bloom.FilterPolicy(10),
		}
	}
	return p
}

// reporter is Pebble's way out: log lines to slog, and the first fatal error to
// the owner.
type reporter struct {
	log     *slog.Logger
	onFatal func(error)
	once    sync.Once
	// first has room for that error, for who opens the engine.
	first chan error
	// hang never returns; a test has its own.
	hang func()
}

func newReporter(o *Options) *reporter {
	return &reporter{log: o.Logger, onFatal: o.OnFatal, first: make(chan error, 1), hang: func() { select {} }}
}

func (r *reporter) fatal(err error) {
	r.once.Do(func() {
		if r.onFatal == nil {
			panic(fmt.Sprintf("storage: %v", err))
		}
		r.onFatal(err)
		if r.first != nil {
			r.first <- err
		}
	})
}

// Infof implements pebble.Logger.
func (r *reporter) Infof(format string, args ...any) { r.logf(slog.LevelDebug, format, args) }

// Errorf implements pebble.Logger.
func (r *reporter) Errorf(format string, args ...any) { r.logf(slog.LevelWarn, format, args) }

// Fatalf implements pebble.Logger. Pebble relies on its not returning, and may
// hold locks; so the goroutine stays here until the owner ends the process.
func (r *reporter) Fatalf(format string, args ...any) {
	r.fatal(fmt.Errorf("engine: "+format, args...))
	r.hang()
}

func (r *reporter) logf(level slog.Level, format string, args []any) {
	if r.log.Enabled(context.Background(), level) {
		r.log.Log(context.Background(), level, "engine: "+fmt.Sprintf(format, args...))
	}
}

// listener picks the events that somebody must know of.
func (r *reporter) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { r.fatal(fmt.Errorf("engine: %w", err)) },
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			r.fatal(fmt.Errorf("engine: corrupt file %s: %w%s", info.Path, info.Details, restoreMember))
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			r.log.Warn("engine stalls writes", "reason", info.Reason)
		},
		WriteStallEnd: func() { r.log.Warn("engine takes writes again") },
		DiskSlow: func(info pebble.DiskSlowInfo) {
			r.log.Warn("disk is slow", "operation", info.OpType.String(), "path", info.Path, "took", info.Duration)
		},
		FlushEnd:      func(info pebble.FlushInfo) { r.Infof("%s", info) },
		CompactionEnd: func(info pebble.CompactionInfo) { r.Infof("%s", info) },
	}
}
