package storage

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// scheduler says when the engine may compact: as soon as it is open and its owner has
// settled, as many compactions side by side as the engine finds right. Pebble's own lets
// one begin a tenth of a second after Open was called, and Open then waits until it has
// ended: seconds, after a crash under load. And Pebble's own lets each run without a rest:
// on a machine of two processors requests then wait for it, see compactionSlice.
//
// begin starts a goroutine, which Unregister ends and waits for. Pebble calls Register
// before all else and once, and the other methods from any goroutine, TrySchedule with the
// engine's lock held: so mu is never held while the engine is called, but for a question
// that takes no lock.
type scheduler struct {
	db pebble.DBForCompaction // constant after Register

	mu           sync.Mutex
	begun, ended bool
	running      int // compactions that were granted and are not done

	again   chan struct{} // capacity 1: look whether one may be granted
	end     chan struct{} // closed by Unregister
	granter sync.WaitGroup
}

var _ pebble.CompactionScheduler = (*scheduler)(nil)

// grantInterval is how often the engine is asked anew how many compactions it finds right:
// flushes raise that, and tell nobody. It is Pebble's own.
const grantInterval = 100 * time.Millisecond

func newScheduler() *scheduler {
	return &scheduler{again: make(chan struct{}, 1), end: make(chan struct{})}
}

// longestPut is how long compactions are put off for an owner that has not settled: what it
// writes meanwhile must not come near the runs in L0 at which writes stall.
const longestPut = 5 * time.Second

// begin lets the engine, which is open now, compact once settled is closed; nil is at once.
func (s *scheduler) begin(settled <-chan struct{}) {
	s.granter.Go(func() {
		if settled != nil && !s.await(settled) {
			return
		}
		s.mu.Lock()
		s.begun = true
		s.mu.Unlock()
		s.grant()
	})
}

// await waits until the owner has settled, or should have. It fails after Unregister.
func (s *scheduler) await(settled <-chan struct{}) bool {
	limit := time.NewTimer(longestPut)
	defer limit.Stop()
	select {
	case <-settled:
	case <-limit.C:
	case <-s.end:
		return false
	}
	return true
}

// Register implements pebble.CompactionScheduler.
func (s *scheduler) Register(_ int, db pebble.DBForCompaction) { s.db = db }

// Unregister implements pebble.CompactionScheduler.
func (s *scheduler) Unregister() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	close(s.end)
	s.granter.Wait()
}

// TrySchedule implements pebble.CompactionScheduler.
func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if s.reserve() {
		return true, &permit{s: s}
	}
	return false, nil
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler.
func (s *scheduler) UpdateGetAllowedWithoutPermission() { s.look() }

// reserve counts one more compaction as running, if there may be one.
func (s *scheduler) reserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun || s.ended || s.running >= s.db.GetAllowedWithoutPermission() {
		return false
	}
	s.running++
	return true
}

// release takes that back.
func (s *scheduler) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
}

func (s *scheduler) look() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// grant grants what the engine waits for, until Unregister.
func (s *scheduler) grant() {
	ticker := time.NewTicker(grantInterval)
	defer ticker.Stop()
	for {
		for s.reserve() {
			if waiting, _ := s.db.GetWaitingCompaction(); !waiting || !s.db.Schedule(&permit{s: s}) {
				s.release()
				break
			}
		}
		select {
		case <-s.again:
		case <-ticker.C:
		case <-s.end:
			return
		}
	}
}

// hasEnded reports whether the engine is being closed; it must not be asked anything then.
func (s *scheduler) hasEnded() bool {
	select {
	case <-s.end:
		return true
	default:
		return false
	}
}

// rest waits, not beyond Unregister.
func (s *scheduler) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.end:
	}
}
