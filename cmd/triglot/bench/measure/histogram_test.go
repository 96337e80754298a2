package measure

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestBucketsFollowOneAnother(t *testing.T) {
	var end time.Duration
	for i := range buckets {
		low, high := boundsOf(i)
		require.Equal(t, end, low, "bucket %d begins where the one before ends", i)
		require.Equal(t, i, bucketOf(low))
		require.Equal(t, i, bucketOf(high-1))
		end = high
	}
	require.Equal(t, time.Duration(1<<maxBits), end)
	require.Equal(t, buckets-1, bucketOf(math.MaxInt64))
	require.Zero(t, bucketOf(-1))
}

func durations(t *rapid.T, name string) []time.Duration {
	gen := rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.Int64Range(0, 1<<rapid.IntRange(0, maxBits-1).Draw(t, "bits")).Draw(t, "ns"))
	})
	return rapid.SliceOfN(gen, 1, 200).Draw(t, name)
}

func histogramOf(all []time.Duration) *Histogram {
	h := &Histogram{}
	for _, d := range all {
		h.Observe(d)
	}
	return h
}

// A quantile is that of the sorted durations, but for half the width of a bucket.
func TestQuantileIsNear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := durations(t, "all")
		h := histogramOf(all)
		slices.Sort(all)
		require.Equal(t, uint64(len(all)), h.Count())
		require.Equal(t, all[len(all)-1], h.Max())
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
			exact := all[min(int(q*float64(len(all))), len(all)-1)]
			require.InDelta(t, float64(exact), float64(h.Quantile(q)), float64(exact)/(2*subs)+1, "q %v", q)
		}
		var sum time.Duration
		for _, d := range all {
			sum += d
		}
		require.Equal(t, sum/time.Duration(len(all)), h.Mean())
	})
}

func TestMergeAndSince(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := durations(t, "a"), durations(t, "b")
		merged := histogramOf(a)
		merged.Merge(histogramOf(b))
		require.Equal(t, histogramOf(append(slices.Clone(a), b...)), merged)

		later := merged.Since(histogramOf(a))
		want := histogramOf(b)
		require.Equal(t, want.counts, later.counts)
		require.Equal(t, want.Mean(), later.Mean())
		require.GreaterOrEqual(t, later.Max(), want.Max())
		require.InDelta(t, float64(want.Max()), float64(later.Max()), float64(want.Max())/subs+1)
	})
}

func TestEmptyHistogram(t *testing.T) {
	var h Histogram
	require.Zero(t, h.Quantile(0.5))
	require.Zero(t, h.Mean())
	require.Zero(t, h.Max())
}

func TestRecorderCountsEverything(t *testing.T) {
	var r Recorder
	var wg sync.WaitGroup
	for client := range 40 {
		wg.Go(func() {
			for i := range 100 {
				r.Observe(client, time.Duration(i)*time.Microsecond, 3)
			}
			r.Fail(errors.New("refused"))
		})
	}
	wg.Wait()
	h := r.Latencies()
	require.Equal(t, uint64(4000), h.Count())
	require.Equal(t, 99*time.Microsecond, h.Max())
	require.Equal(t, 49500*time.Nanosecond, h.Mean())
	require.Equal(t, int64(12000), r.Done())
	require.Equal(t, int64(40), r.Failed())
	require.Equal(t, map[string]int64{"refused": 40}, r.Errors())
}

func TestErrorTextsAreBounded(t *testing.T) {
	var r Recorder
	for i := range maxErrorTexts + 5 {
		r.Fail(fmt.Errorf("key %d", i))
	}
	require.Len(t, r.Errors(), maxErrorTexts+1)
	require.Equal(t, int64(5), r.Errors()["others"])
}

func BenchmarkObserve(b *testing.B) {
	var r Recorder
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			r.Observe(i, time.Duration(i&0xfffff), 1)
		}
	})
}
