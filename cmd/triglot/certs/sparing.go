package certs

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

// rejection is what a line is about: why clients at an address were refused.
type rejection struct{ address, reason string }

// sparing keeps the log from saying the same of every client. It is safe for concurrent
// use; the zero value is ready. (The ZooKeeper face has one like it: it imports nothing
// from here.)
type sparing struct {
	mu   sync.Mutex
	told map[rejection]spared
	// forgotten counts the lines left out of what is not in told any more, or never was.
	forgotten int
}

// spared is when something was last said, and how often it was left out since.
type spared struct {
	at   time.Time
	left int
}

// due says whether it is time for another line about r, and how many were left out since
// the last one; those included for which there was no place to remember them.
func (s *sparing) due(r rejection, now time.Time) (left int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known := s.told[r]
	if known && now.Sub(last.at) < sparingPause {
		last.left++
		s.told[r] = last
		return 0, false
	}
	if !known && len(s.told) >= maxSpared && !s.forget(now) {
		s.forgotten++
		return 0, false
	}
	if s.told == nil {
		s.told = make(map[rejection]spared)
	}
	s.told[r] = spared{at: now}
	left, s.forgotten = last.left+s.forgotten, 0
	return left, true
}

// forget makes room, if anything is old enough to be forgotten.
func (s *sparing) forget(now time.Time) bool {
	for r, last := range s.told {
		if now.Sub(last.at) >= sparingPause {
			s.forgotten += last.left
			delete(s.told, r)
		}
	}
	return len(s.told) < maxSpared
}
