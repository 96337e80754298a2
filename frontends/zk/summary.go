package zk

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// bucketBits is the precision of a summary: 2 to its power buckets for each doubling,
	// so that a quantile is right to an eighth.
	bucketBits = 2
	numBuckets = 64 << bucketBits
)

// summary counts times by their size, as ZooKeeper's summaries do, since it was made.
// It is safe for concurrent use; the zero value is ready.
type summary struct {
	n, sum, most atomic.Uint64 // times in microseconds
	// whole is the sum of the whole milliseconds of each.
	whole atomic.Uint64
	// least is the shortest time and one.
	least   atomic.Uint64
	buckets [numBuckets]atomic.Uint64
}

// observe adds n times.
func (s *summary) observe(d time.Duration, n uint64) {
	v := uint64(max(d, 0).Microseconds())
	s.buckets[bucketOf(v)].Add(n)
	s.n.Add(n)
	s.sum.Add(v * n)
	s.whole.Add(v / 1e3 * n)
	for old := s.most.Load(); old < v && !s.most.CompareAndSwap(old, v); old = s.most.Load() {
	}
	for old := s.least.Load(); (old == 0 || old > v+1) && !s.least.CompareAndSwap(old, v+1); old = s.least.Load() {
	}
}

// bucketOf is the bucket of a value: the position of its highest bit and the
// bucketBits below that.
func bucketOf(v uint64) int {
	high := bits.Len64(v)
	if high <= bucketBits {
		return int(v)
	}
	shift := high - bucketBits - 1
	return shift<<bucketBits + int(v>>shift)
}

// bucketTop is the largest value of a bucket.
func bucketTop(i int) uint64 {
	if i < 1<<bucketBits {
		return uint64(i)
	}
	shift := i>>bucketBits - 1
	return (uint64(i&(1<<bucketBits-1))+1<<bucketBits+1)<<shift - 1
}

// figures is a summary as of a moment. Times are in milliseconds, as all of
// ZooKeeper's.
type figures struct {
	n           uint64
	sum         float64
	least, most float64
	// whole is the sum of the whole milliseconds of each.
	whole     float64
	quantiles map[float64]float64 // by the part of the times that are at most so long
}

// quantiles are those that are shown somewhere.
var quantiles = []float64{0.5, 0.9, 0.95, 0.99, 0.999}

func (s *summary) figures() figures {
	f := figures{
		n: s.n.Load(), sum: float64(s.sum.Load()) / 1e3, whole: float64(s.whole.Load()), most: float64(s.most.Load()) / 1e3,
		least: float64(max(s.least.Load(), 1)-1) / 1e3, quantiles: map[float64]float64{},
	}
	for _, q := range quantiles {
		f.quantiles[q] = s.quantile(q, f.n)
	}
	return f
}

// quantile is at most an eighth too large.
func (s *summary) quantile(q float64, n uint64) float64 {
	want := uint64(math.Ceil(q * float64(n)))
	var seen uint64
	for i := range s.buckets {
		if seen += s.buckets[i].Load(); seen >= want && seen > 0 {
			return float64(min(bucketTop(i), s.most.Load())) / 1e3
		}
	}
	return 0
}

// mean is that of whole milliseconds, which is all that ZooKeeper knows of (3.9
// AvgMinMaxCounter): it is between the shortest and the longest time as mntr shows them.
func (f *figures) mean() float64 {
	if f.n == 0 {
		return 0
	}
	return fourDigits(f.whole / float64(f.n))
}
