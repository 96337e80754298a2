package mvcc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// Collector removes the history that a compaction gave up. It walks r, so its
// work follows the changes and not the size of the store, in chunks, each an
// engine batch of its own that also says how far the run has come. A crash takes
// it back to the end of a chunk that the engine has kept; the next call goes on
// from there.
//
// Of each key it leaves the newest version up to the compacted revision, unless
// that is a tombstone older than it: a tombstone of exactly that revision stays,
// with all r rows of it, because a watch may still begin there. The next run
// removes them.
//
// Collect is for one goroutine; the other methods are safe for concurrent use.
type Collector struct {
	db      *storage.DB
	options CollectorOptions

	collected, freed, removed atomic.Int64
}

// CollectorOptions sets the pace of a Collector. The zero value works.
type CollectorOptions struct {
	// ChunkRows is how many r rows are handled in one batch; zero is 40.
	ChunkRows int
	// Share is the part of the time that it works; it rests now and then for
	// the remainder. Zero is 0.25; 1 is without a rest.
	Share float64
	// Pause, if positive, is how long it rests after each chunk, whatever Share says.
	Pause time.Duration
	// BeforeChunk, if set, is called when a chunk is about to be committed, OnChunk
	// when it has been, with the time that it took.
	BeforeChunk func()
	OnChunk     func(took time.Duration)
}

// defaultChunkRows is short: the engine makes batches visible in the order in which they
// come, so a batch of puts waits for a chunk that was committed before it, and on a small
// machine for a processor until the chunk has been gathered. Most of the time goes to the
// deletions' places in the memtable, each somewhere else: 40 rows take a fifth of a
// millisecond, 100 half of one; 1000 can be felt in the puts' p99.
const defaultChunkRows = 40

// NewCollector makes a Collector of db, which knows from the m table how far
// history has been collected.
func NewCollector(db *storage.DB, o CollectorOptions) (*Collector, error) {
	if o.ChunkRows <= 0 {
		o.ChunkRows = defaultChunkRows
	}
	if o.Share <= 0 || o.Share > 1 {
		o.Share = 0.25
	}
	c := &Collector{db: db, options: o}
	collected, err := counter(db, keys.MetaCollected)
	if err != nil {
		return nil, err
	}
	freed, err := counter(db, keys.MetaDataFreed)
	if err != nil {
		return nil, err
	}
	c.collected.Store(collected)
	c.freed.Store(freed)
	return c, nil
}

// Collected is the revision up to which history is gone; zero if nothing ever
// was. It is durable after the next flush.
func (c *Collector) Collected() core.Rev { return core.Rev(c.collected.Load()) }

// Freed is the logical size of all versions ever removed, in the terms of
// Writer.Written.
func (c *Collector) Freed() int64 { return c.freed.Load() }

// Removed is how many versions this Collector has removed.
func (c *Collector) Removed() int64 { return c.removed.Load() }

// Collect removes the history before to. It must be called only once the
// compaction to that revision is in the published view: every view from then on
// refuses to read below it, and the older views have their snapshots.
func (c *Collector) Collect(ctx context.Context, to core.Rev) error {
	p, err := c.load()
	if err != nil {
		return err
	}
	// A run that was cut short must be ended as it was begun: which tombstones it
	// has kept depends on its end.
	if p.running && p.to < to {
		if err := c.run(ctx, p); err != nil {
			return err
		}
		p = progress{}
	}
	if to <= c.Collected() {
		return nil
	}
	if !p.running {
		p = progress{running: true, to: to, rev: c.Collected()}
	}
	return c.run(ctx, p)
}

// progress is how far a run to revision to has come: the r row that is next.
type progress struct {
	running bool
	to, rev core.Rev
	sub     uint32
}

// load reads the progress of a run that was cut short.
func (c *Collector) load() (progress, error) {
	b, err := c.db.Get(keys.AppendMeta(nil, keys.MetaCollecting))
	if err != nil || b == nil {
		return progress{}, err
	}
	if len(b) != 8+8+4 {
		return progress{}, fmt.Errorf("mvcc: row %q has %d bytes, not 20", keys.MetaCollecting, len(b))
	}
	return progress{
		running: true,
		to:      core.Rev(binary.BigEndian.Uint64(b)),
		rev:     core.Rev(binary.BigEndian.Uint64(b[8:])),
		sub:     binary.BigEndian.Uint32(b[16:]),
	}, nil
}

func (p *progress) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.to))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.rev))
	return binary.BigEndian.AppendUint32(dst, p.sub)
}

// run works through r to the end of p.
func (c *Collector) run(ctx context.Context, p progress) error {
	var worked time.Duration // since the last rest
	for {
		begin := time.Now()
		done, err := c.chunk(&p)
		took := time.Since(begin)
		if c.options.OnChunk != nil {
			c.options.OnChunk(took)
		}
		if err != nil || done {
			return err
		}
		if worked += min(took, c.longest()); worked < restless && c.options.Pause <= 0 && ctx.Err() == nil {
			runtime.Gosched()
			continue
		}
		if err := c.rest(ctx, worked); err != nil {
			return err
		}
		worked = 0
	}
}

// restless is how long it works chunk after chunk: the system's rests take a millisecond at
// least, which would be too much after each.
const restless = 500 * time.Microsecond

// longest is how much of the time that a chunk took counts as worked: on a busy machine it
// waits more than it works, and a rest in proportion to that would have the history grow
// faster than it is collected. A row takes five microseconds, on a slower machine twice that.
func (c *Collector) longest() time.Duration {
	return time.Duration(c.options.ChunkRows) * 10 * time.Microsecond
}

// rest waits for as long as was asked for, or in proportion to the time that was
// worked.
func (c *Collector) rest(ctx context.Context, worked time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	pause := c.options.Pause
	if pause <= 0 {
		pause = time.Duration(float64(worked) * (1 - c.options.Share) / c.options.Share)
	}
	if pause == 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// chunk handles the next rows of r in one batch and reports whether they were
// the last.
func (c *Collector) chunk(p *progress) (done bool, err error) {
	b := c.db.NewBatch()
	defer func() { err = errors.Join(err, b.Close()) }()
	freed, done, err := c.gather(b, p)
	if err != nil {
		return false, err
	}
	total := c.freed.Load() + freed
	if freed != 0 {
		b.Set(keys.AppendMeta(nil, keys.MetaDataFreed), binary.BigEndian.AppendUint64(nil, uint64(total)))
	}
	if done {
		b.DeleteRange(keys.ChangeBounds(c.Collected(), p.to))
		b.Set(keys.AppendMeta(nil, keys.MetaCollected), binary.BigEndian.AppendUint64(nil, uint64(p.to)))
		b.Delete(keys.AppendMeta(nil, keys.MetaCollecting))
	} else {
		b.Set(keys.AppendMeta(nil, keys.MetaCollecting), p.append(nil))
	}
	if c.options.BeforeChunk != nil {
		c.options.BeforeChunk()
	}
	if err := b.Commit(); err != nil {
		return false, err
	}
	c.freed.Store(total)
	if done {
		c.collected.Store(int64(p.to))
	}
	return done, nil
}

// gather puts the deletions of the next rows into b and moves p behind them. It
// returns the logical size that they free.
func (c *Collector) gather(b *storage.Batch, p *progress) (freed int64, done bool, err error) {
	_, upper := keys.ChangeBounds(0, p.to+1)
	it, err := c.db.NewIter(keys.AppendChange(nil, p.rev, p.sub), upper)
	if err != nil {
		return 0, false, err
	}
	var scratch []byte
	drop := func(key []byte, rev core.Rev, rowLen int) {
		scratch = keys.AppendVersion(scratch[:0], key, rev)
		b.DeleteSized(scratch, rowLen)
		freed += logicalSize(len(key), rowLen)
		c.removed.Add(1)
	}
	ok := it.First()
	for rows := 0; ok && rows < c.options.ChunkRows; rows++ {
		rev, ch, err := readChange(it)
		if err != nil {
			return 0, false, errors.Join(err, it.Close())
		}
		// What the first revision superseded went with the run before.
		if ch.prevRev != 0 && rev > c.Collected() {
			drop(ch.key, ch.prevRev, ch.prevLen)
		}
		if ch.deleted && rev < p.to {
			drop(ch.key, rev, ch.len)
		}
		ok = it.Next()
	}
	if ok {
		p.rev, p.sub, _ = keys.DecodeChange(it.Key())
	}
	return freed, !ok, it.Close()
}
