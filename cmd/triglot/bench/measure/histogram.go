package measure

import (
	"math/bits"
	"time"
)

const (
	// subBits is how finely an octave is divided: into 64 buckets, so that the middle
	// of one is at most 0.8 % away from what is in it.
	subBits = 6
	subs    = 1 << subBits
	// maxBits bounds what is told apart: 2^42 ns is more than an hour.
	maxBits = 42
	buckets = (maxBits - subBits + 1) * subs
)

// bucketOf is linear up to 2*subs ns, and then logarithmic by octaves, each of which is
// linear in itself.
func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	v = min(v, 1<<maxBits-1)
	octave := max(bits.Len64(v)-subBits-1, 0)
	return octave*subs + int(v>>octave)
}

// boundsOf are the durations [low, high) that a bucket has.
func boundsOf(bucket int) (low, high time.Duration) {
	octave := max(bucket/subs-1, 0)
	low = time.Duration(bucket-octave*subs) << octave
	return low, low + 1<<octave
}

// Histogram counts durations. Its size is fixed, and the zero value is empty.
type Histogram struct {
	counts [buckets]uint64
	count  uint64
	sum    time.Duration
	max    time.Duration
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.count++
	h.sum += d
	h.max = max(h.max, d)
}

// Merge adds what another histogram has.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range &other.counts {
		h.counts[i] += n
	}
	h.count += other.count
	h.sum += other.sum
	h.max = max(h.max, other.max)
}

// Since is what has been counted since an earlier state of the same histogram. Its
// maximum is that of the highest bucket.
func (h *Histogram) Since(earlier *Histogram) Histogram {
	d := *h
	d.max = 0
	for i, n := range &earlier.counts {
		if d.counts[i] -= n; d.counts[i] > 0 {
			_, high := boundsOf(i)
			d.max = min(high-1, h.max)
		}
	}
	d.count -= earlier.count
	d.sum -= earlier.sum
	return d
}

// Count is how many durations were counted.
func (h *Histogram) Count() uint64 { return h.count }

// Max is the longest duration, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean is the mean of all durations, exactly, and 0 of none.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return h.sum / time.Duration(h.count)
}

// Quantile is the duration that the fraction q of those counted does not exceed, to
// within the width of a bucket, and 0 of none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := min(uint64(q*float64(h.count)), h.count-1)
	for i, n := range &h.counts {
		if rank < n {
			low, high := boundsOf(i)
			return min(low+(high-low)/2, h.max)
		}
		rank -= n
	}
	return h.max
}
