package zk

import (
	"sync"
	"time"
)

const (
	// sparingPause is how long the log has nothing to say of what it has said.
	sparingPause = time.Minute
	// maxSpared bounds what is remembered of that.
	maxSpared = 1000
)

// sparing keeps the log from saying the same again and again, of whatever K tells apart.
// It is safe for concurrent use; the zero value is ready.
type sparing[K comparable] struct {
	mu   sync.Mutex
	told map[K]spared
	// forgotten counts the lines left out of what is not in told any more, or never was.
	forgotten int
}

// spared is when something was last said, on the server's clock, and how often it was
// left out since.
type spared struct {
	at   time.Duration
	left int
}

// due says whether it is time for another line about k, and how many were left out since
// the last one; those included for which there was no place to remember them.
func (s *sparing[K]) due(k K, now time.Duration) (left int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known := s.told[k]
	if known && now-last.at < sparingPause {
		last.left++
		s.told[k] = last
		return 0, false
	}
	if !known && len(s.told) >= maxSpared && !s.forget(now) {
		s.forgotten++
		return 0, false
	}
	if s.told == nil {
		s.told = map[K]spared{}
	}
	s.told[k] = spared{at: now}
	left, s.forgotten = last.left+s.forgotten, 0
	return left, true
}

// forget makes room, if anything is old enough to be forgotten.
func (s *sparing[K]) forget(now time.Duration) bool {
	for k, last := range s.told {
		if now-last.at >= sparingPause {
			s.forgotten += last.left
			delete(s.told, k)
		}
	}
	return len(s.told) < maxSpared
}
