package etcdv3

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// evenHistogram is a histogram of durations that takes many equal ones in one step. It is
// safe for concurrent use.
type evenHistogram struct {
	desc   *prometheus.Desc
	bounds []float64 // the upper ones, in seconds
	// counts has the observations of each bucket, beyond the last bound in the end; sum
	// is that of all in nanoseconds.
	counts []atomic.Uint64
	sum    atomic.Int64
}

var _ prometheus.Collector = (*evenHistogram)(nil)

func newEvenHistogram(o prometheus.HistogramOpts) *evenHistogram {
	return &evenHistogram{
		desc:   prometheus.NewDesc(o.Name, o.Help, nil, nil),
		bounds: o.Buckets, counts: make([]atomic.Uint64, len(o.Buckets)+1),
	}
}

// observe counts n times took.
func (h *evenHistogram) observe(n int, took time.Duration) {
	i, _ := slices.BinarySearch(h.bounds, took.Seconds())
	h.counts[i].Add(uint64(n))
	h.sum.Add(int64(n) * int64(took))
}

// Describe implements prometheus.Collector.
func (h *evenHistogram) Describe(ch chan<- *prometheus.Desc) { ch <- h.desc }

// Collect implements prometheus.Collector.
func (h *evenHistogram) Collect(ch chan<- prometheus.Metric) {
	buckets := make(map[float64]uint64, len(h.bounds))
	total := uint64(0)
	for i := range h.counts {
		total += h.counts[i].Load()
		if i < len(h.bounds) {
			buckets[h.bounds[i]] = total
		}
	}
	sum := time.Duration(h.sum.Load()).Seconds()
	ch <- prometheus.MustNewConstHistogram(h.desc, total, sum, buckets)
}
