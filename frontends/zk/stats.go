package zk

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
)

// stats counts what a server does, since it started or, what `srst` resets, since
// then.
type stats struct {
	received, sent atomic.Uint64
	outstanding    atomic.Int64
	connections    atomic.Int64
	latency        latencyStats
	replies        sizeStats
	// authFailed counts the refusals of what clients offered to prove who they are.
	authFailed atomic.Uint64
	oversizes  oversizes
	// failures keeps the log from telling of each that clients have.
	failures  sparing[failure]
	counters  [numCounters]atomic.Uint64
	summaries [numSummaries]summary
}

// reset is what `srst` does (ZooKeeper 3.9 ServerStats.reset). What Prometheus takes
// for a counter goes on.
func (s *stats) reset() {
	s.received.Store(0)
	s.sent.Store(0)
	s.latency.reset()
	s.replies.reset()
}

// arrived takes note of a packet of one who has no session.
func (s *stats) arrived(size int) {
	s.received.Add(1)
	s.counters[bytesReceived].Add(uint64(size))
}

func (s *stats) count(c counter) { s.counters[c].Add(1) }

// settle adds what a connection has answered by now.
func (s *stats) settle(t *tally, now time.Duration) {
	s.latency.merge(&t.reads, now)
	s.latency.merge(&t.writes, now)
	s.replies.merge(t)
	t.reads.observe(&s.summaries[readLatency], now)
	t.writes.observe(&s.summaries[updateLatency], now)
	s.counters[bytesReceived].Add(t.received)
	s.counters[responseBytes].Add(t.sent)
}

// tally is what a runner has answered since it last wrote.
type tally struct {
	reads, writes arrivals
	// op and xid are the last request's, xid that of the last that has one of its own,
	// negative if none did.
	op  *operation
	xid int32
	// received and sent are bytes; last, least and most the size of replies.
	received, sent    uint64
	last, least, most int
}

// add takes note of a request that was answered.
func (t *tally) add(q *request) {
	if t.op == nil {
		t.xid = -1
	}
	t.op = q.op
	if q.xid >= 0 {
		t.xid = q.xid
	}
	t.received += uint64(jute.FrameHeader + q.size)
	if q.pending != nil {
		t.writes.add(q.received)
	} else {
		t.reads.add(q.received)
	}
}

// replied takes note of the size of a reply.
func (t *tally) replied(size int) {
	if t.sent == 0 {
		t.least = size
	}
	t.sent += uint64(size)
	t.last, t.least, t.most = size, min(t.least, size), max(t.most, size)
}

// arrivals are the times at which requests came.
type arrivals struct {
	n                     int64
	sum, earliest, latest time.Duration
}

func (a *arrivals) add(received time.Duration) {
	if a.n == 0 {
		a.earliest, a.latest = received, received
	}
	a.n++
	a.sum += received
	a.earliest, a.latest = min(a.earliest, received), max(a.latest, received)
}

// observe adds the times that the requests took to a summary.
func (a *arrivals) observe(s *summary, now time.Duration) {
	a.each(now, func(d time.Duration, n int64) { s.observe(d, uint64(n)) })
}

// each calls fn with the times that the requests took, and how many took so long. Of more
// than two only the shortest and the longest are exact: the others count as their mean.
func (a *arrivals) each(now time.Duration, fn func(d time.Duration, n int64)) {
	if a.n == 0 {
		return
	}
	fn(now-a.earliest, 1)
	if a.n > 1 {
		fn(now-a.latest, 1)
	}
	if rest := a.n - 2; rest > 0 {
		sum := time.Duration(a.n)*now - a.sum - (now - a.earliest) - (now - a.latest)
		fn(sum/time.Duration(rest), rest)
	}
}

// connStats counts what a connection does (ZooKeeper 3.9 ServerCnxn).
type connStats struct {
	received, sent atomic.Uint64

	mu sync.Mutex
	connFigures
}

// connFigures is what `cons` tells of a connection besides its counters.
type connFigures struct {
	// established is when the connection was made.
	established time.Time
	// last is the last request that was answered; its op is nil if there is none.
	last answeredRequest
	// n requests took sum, the shortest min and the longest max.
	n             int64
	sum, min, max time.Duration
}

// answeredRequest is what is known of a request that was answered.
type answeredRequest struct {
	op   *operation
	cxid int64 // negative if it has none of its own
	zxid core.Rev
	// at is when it was answered, on the server's clock, and took how long that took.
	at, took time.Duration
}

// settle adds what the connection has answered by now; zxid is the last it was told.
func (s *connStats) settle(t *tally, zxid core.Rev, now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := answeredRequest{op: t.op, cxid: int64(t.xid), zxid: zxid, at: now}
	if s.last.op != nil && last.cxid < 0 {
		last.cxid = s.last.cxid
	}
	for _, a := range []*arrivals{&t.reads, &t.writes} {
		if a.n == 0 {
			continue
		}
		if s.n == 0 {
			s.min = now - a.latest
		}
		s.n += a.n
		s.sum += time.Duration(a.n)*now - a.sum
		s.min, s.max = min(s.min, now-a.latest), max(s.max, now-a.earliest)
		last.took = now - a.latest
	}
	s.last = last
}

// figures are the present ones.
func (s *connStats) figures() connFigures {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connFigures
}

// reset is what `crst` does.
func (s *connStats) reset() {
	s.received.Store(0)
	s.sent.Store(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connFigures = connFigures{established: s.established}
}

// mean is the mean time that a request took.
func (f *connFigures) mean() time.Duration {
	if f.n == 0 {
		return 0
	}
	return f.sum / time.Duration(f.n)
}

// latencyStats is the shortest, the longest and the mean time that requests took.
type latencyStats struct {
	mu sync.Mutex
	n  int64
	// sum is in whole milliseconds of each, as ZooKeeper counts: the mean is between the
	// shortest and the longest time as they are shown (AvgMinMaxCounter).
	sum      int64
	min, max time.Duration
}

func (s *latencyStats) merge(a *arrivals, now time.Duration) {
	if a.n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 {
		s.min = now - a.latest
	}
	s.n += a.n
	a.each(now, func(d time.Duration, n int64) { s.sum += n * d.Milliseconds() })
	s.min, s.max = min(s.min, now-a.latest), max(s.max, now-a.earliest)
}

func (s *latencyStats) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n, s.sum, s.min, s.max = 0, 0, 0, 0
}

// milliseconds gives the figures as ZooKeeper does: whole milliseconds, the mean to
// four digits.
func (s *latencyStats) milliseconds() (least int64, mean float64, most int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n > 0 {
		mean = fourDigits(float64(s.sum) / float64(s.n))
	}
	return s.min.Milliseconds(), mean, s.max.Milliseconds()
}

func fourDigits(f float64) float64 { return math.Round(f*1e4) / 1e4 }

// sizeStats is the last, the least and the largest size of a reply in bytes
// (ZooKeeper 3.9 BufferStats).
type sizeStats struct {
	mu                sync.Mutex
	any               bool
	last, least, most int
}

func (s *sizeStats) merge(t *tally) {
	if t.sent == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.any {
		s.any, s.least, s.most = true, t.least, t.most
	}
	s.last, s.least, s.most = t.last, min(s.least, t.least), max(s.most, t.most)
}

func (s *sizeStats) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.any = false
}

// sizes are -1 if there was no reply.
func (s *sizeStats) sizes() (last, least, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.any {
		return -1, -1, -1
	}
	return s.last, s.least, s.most
}

// opOpenSession is what `cons` shows as the last operation of one who only connected.
var opOpenSession = operation{name: "openSession"}

// opened takes note of the session that the connection was given.
func (s *connStats) opened(zxid core.Rev, now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = answeredRequest{op: &opOpenSession, zxid: zxid, at: now}
}
