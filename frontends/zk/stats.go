package zk

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// stats counts what a server does, since it started.
type stats struct {
	received, sent atomic.Uint64
	outstanding    atomic.Int64
	connections    atomic.Int64
	rejected       atomic.Uint64
	latency        latencyStats
}

// connStats counts what a connection does.
type connStats struct {
	received, sent atomic.Uint64
}

// latencyStats is the shortest, the longest and the mean time that requests took.
type latencyStats struct {
	mu       sync.Mutex
	n        int64
	sum      time.Duration
	min, max time.Duration
}

// merge adds requests that were answered at now, and empties l.
func (s *latencyStats) merge(l *latencies, now time.Duration) {
	if l.n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 {
		s.min = now - l.latest
	}
	s.n += l.n
	s.sum += time.Duration(l.n)*now - l.sum
	s.min, s.max = min(s.min, now-l.latest), max(s.max, now-l.earliest)
	*l = latencies{}
}

// milliseconds gives the figures as ZooKeeper does: whole milliseconds, the mean to
// four digits.
func (s *latencyStats) milliseconds() (least int64, mean float64, most int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n > 0 {
		mean = math.Round(float64(s.sum)/float64(s.n)/float64(time.Millisecond)*1e4) / 1e4
	}
	return s.min.Milliseconds(), mean, s.max.Milliseconds()
}
