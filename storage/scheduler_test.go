package storage

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"
)

// compactor is an engine with compactions to do.
type compactor struct {
	mu               sync.Mutex
	allowed, waiting int
	granted          []pebble.CompactionGrantHandle
	ended            int // so many of those granted are done
}

func (c *compactor) GetAllowedWithoutPermission() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.allowed
}

func (c *compactor) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting > 0, pebble.WaitingCompaction{}
}

func (c *compactor) Schedule(h pebble.CompactionGrantHandle) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == 0 {
		return false
	}
	c.waiting--
	c.granted = append(c.granted, h)
	return true
}

func (c *compactor) allow(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.allowed = n
}

// done ends the compaction that was granted first and is not done.
func (c *compactor) done() {
	c.mu.Lock()
	first := c.granted[c.ended]
	c.ended++
	c.mu.Unlock()
	first.Done()
}

// begun is how many have been granted.
func (c *compactor) begun() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.granted)
}

// Nothing is compacted before the engine is open; then what waited is, as much at a time as
// is allowed, the next when one is done or more are allowed; and nothing after the end.
func TestScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := &compactor{allowed: 1, waiting: 5}
		s := newScheduler()
		s.Register(2, engine)
		tried, _ := s.TrySchedule()
		require.False(t, tried, "the engine is not open yet")

		s.begin(nil)
		synctest.Wait()
		require.Equal(t, 1, engine.begun())
		tried, _ = s.TrySchedule()
		require.False(t, tried, "one at a time")
		engine.done()
		synctest.Wait()
		require.Equal(t, 2, engine.begun())
		engine.allow(2)
		s.UpdateGetAllowedWithoutPermission()
		synctest.Wait()
		require.Equal(t, 3, engine.begun())
		engine.allow(3)
		tried, handle := s.TrySchedule()
		require.True(t, tried, "the engine asks for one more")
		handle.Done()
		synctest.Wait()
		require.Equal(t, 4, engine.begun())

		s.Unregister()
		engine.done()
		synctest.Wait()
		require.Equal(t, 4, engine.begun())
		tried, _ = s.TrySchedule()
		require.False(t, tried)
	})
}

// A compaction rests for as long as it has worked, unless it does not keep up or the engine
// is being closed.
func TestCompactionsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := &compactor{allowed: 1}
		s := newScheduler()
		s.Register(1, engine)
		s.begin(nil)
		synctest.Wait()
		granted, handle := s.TrySchedule()
		require.True(t, granted)
		handle.Started()
		rested := func(work time.Duration) time.Duration {
			time.Sleep(work) //nolint:forbidigo // on the bubble's clock
			before := time.Now()
			handle.CumulativeStats(pebble.CompactionGrantHandleStats{})
			return time.Since(before)
		}
		require.Zero(t, rested(compactionSlice-1))
		require.Equal(t, compactionSlice, rested(1))
		require.Zero(t, rested(compactionSlice/2), "it counts from the rest on")
		require.Equal(t, longestRest, rested(time.Second), "it waited more than it worked")
		engine.allow(2)
		require.Zero(t, rested(time.Second), "it does not keep up")
		engine.allow(1)
		require.Equal(t, compactionSlice, rested(compactionSlice))
		s.Unregister()
		require.Zero(t, rested(time.Second), "the engine is closed")
		handle.Done()
	})
}

// An engine that never opened has nobody to wait for.
func TestSchedulerOfAnEngineThatFailed(t *testing.T) {
	s := newScheduler()
	s.Register(2, &compactor{allowed: 1})
	s.Unregister()
	tried, _ := s.TrySchedule()
	require.False(t, tried)
}

// A store in disorder opens before anything is compacted, and is compacted then.
func TestOpenDoesNotWaitForCompactions(t *testing.T) {
	dir := t.TempDir()
	o := Options{MemTableBytes: 1 << 20}.withDefaults()
	write := func(db *DB) {
		b := db.NewSizedBatch(1 << 10)
		b.Set([]byte{'k', 0}, make([]byte, 1<<10))
		require.NoError(t, b.Commit())
		require.NoError(t, b.Close())
		require.NoError(t, db.Flush())
	}
	idle, err := pebble.Open(dir, o.pebbleOptions(newReporter(&o), newScheduler())) // which nobody lets begin
	require.NoError(t, err)
	db := &DB{engine: idle, fs: o.FS, dir: dir}
	for range 20 { // runs of L0, one above the other
		write(db)
	}
	require.Zero(t, idle.Metrics().Compact.Count)
	require.NoError(t, idle.Close())
	require.NoError(t, bear(o.FS, dir))

	db, err = Open(dir, o)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return db.engine.Metrics().Compact.Count > 0 }, 10*time.Second, time.Millisecond)
	require.NoError(t, db.Close())
}

// What is open waits for its owner, but not for ever, and not for one that closes it.
func TestSchedulerWaitsForItsOwner(t *testing.T) {
	for name, end := range map[string]func(settled chan struct{}){
		"settles":       func(settled chan struct{}) { close(settled) },
		"never settles": func(chan struct{}) { time.Sleep(longestPut) }, //nolint:forbidigo // on the bubble's clock
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := &compactor{allowed: 1, waiting: 1}
				s := newScheduler()
				s.Register(1, engine)
				settled := make(chan struct{})
				s.begin(settled)
				time.Sleep(longestPut - 1) //nolint:forbidigo // on the bubble's clock
				synctest.Wait()
				require.Zero(t, engine.begun())
				tried, _ := s.TrySchedule()
				require.False(t, tried)
				end(settled)
				synctest.Wait()
				require.Equal(t, 1, engine.begun())
				s.Unregister()
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		engine := &compactor{allowed: 1, waiting: 1}
		s := newScheduler()
		s.Register(1, engine)
		s.begin(make(chan struct{}))
		s.Unregister() // which waits for what begin has started
		require.Zero(t, engine.begun())
	})
}
