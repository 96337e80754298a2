package node

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core/failpoint"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/mvcc"
)

// engine is the state as it is on disk, opened. It is replaced as a whole when this
// member takes over a state that another has sent; the old one stays open until nobody
// reads it any more.
type engine struct {
	db *storage.DB
	// machine is the apply goroutine's, but for what it says is safe.
	machine *state.Machine
	// collector is nil until the member runs.
	collector *mvcc.Collector

	// holds counts those who may use db: the disk, while it is the present one, and who
	// has asked for it. Views are not among them, machine counts those.
	holds atomic.Int64
}

// engine is the present one. Only the apply goroutine, which replaces it, may use its
// db without a hold.
func (d *disk) engine() *engine { return d.present.Load() }

// setEngine makes e the present one, and returns the one before.
func (d *disk) setEngine(e *engine) *engine {
	e.holds.Store(1)
	return d.present.Swap(e)
}

// holdEngine returns the present engine, whose db stays open until it is released.
func (d *disk) holdEngine() *engine {
	for {
		e := d.present.Load()
		if n := e.holds.Load(); n > 0 && e.holds.CompareAndSwap(n, n+1) {
			return e
		}
	}
}

// release gives up one hold.
func (e *engine) release() { e.holds.Add(-1) }

// idle reports whether nobody uses the engine, nor can any more.
func (e *engine) idle() bool { return e.holds.Load() == 0 && e.machine.OpenViews() == 0 }

// retired are the engines that have been replaced and may still be read.
type retired struct {
	mu  sync.Mutex
	all []*engine
}

// retire has an engine that has been replaced closed, and its files removed, once nobody
// uses it any more.
func (d *disk) retire(e *engine) {
	e.release()
	d.retired.mu.Lock()
	defer d.retired.mu.Unlock()
	d.retired.all = append(d.retired.all, e)
}

// closeRetired closes the replaced engines that nobody uses any more.
func (d *disk) closeRetired() error {
	d.retired.mu.Lock()
	defer d.retired.mu.Unlock()
	var errs []error
	d.retired.all = slices.DeleteFunc(d.retired.all, func(e *engine) bool {
		if !e.idle() {
			return false
		}
		errs = append(errs, e.machine.Close(), e.db.Close(), d.dir.removeDir(e.db.Dir()))
		return true
	})
	return errors.Join(errs...)
}

// openViews is how many views are held of all engines that are open.
func (d *disk) openViews() int64 {
	d.retired.mu.Lock()
	defer d.retired.mu.Unlock()
	n := d.engine().machine.OpenViews()
	for _, e := range d.retired.all {
		n += e.machine.OpenViews()
	}
	return n
}

// newCollector makes the collector of an engine.
func (n *Node) newCollector(db *storage.DB) (*mvcc.Collector, error) {
	return mvcc.NewCollector(db, mvcc.CollectorOptions{
		ChunkRows: n.cfg.Collector.BatchRows,
		Pause:     n.cfg.Collector.Pause,
		OnChunk: func(took time.Duration) {
			failpoint.Hit(failpoint.CompactAfterCommitBatch)
			n.metrics.compactionPause.Observe(float64(took.Milliseconds()))
		},
		BeforeChunk: func() { failpoint.Hit(failpoint.CompactBeforeCommitBatch) },
	})
}
