package etcdv3

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

// What is observed n times in one step is what a plain histogram has after n steps.
func TestEvenHistogram(t *testing.T) {
	o := prometheus.HistogramOpts{Name: "took_seconds", Help: "help", Buckets: []float64{0.001, 0.002, 1}}
	even, plain := newEvenHistogram(o), prometheus.NewHistogram(o)
	for _, o := range []struct {
		took time.Duration
		n    int
	}{{0, 3}, {time.Millisecond, 2}, {2 * time.Millisecond, 1}, {3 * time.Millisecond, 4}, {time.Hour, 5}} {
		even.observe(o.n, o.took)
		for range o.n {
			plain.Observe(o.took.Seconds())
		}
	}
	gather := func(c prometheus.Collector) string {
		reg := prometheus.NewRegistry()
		require.NoError(t, reg.Register(c))
		families, err := reg.Gather()
		require.NoError(t, err)
		h := families[0].Metric[0].Histogram
		h.CreatedTimestamp = nil
		h.SampleSum = proto.Float64(math.Round(h.GetSampleSum()*1e9) / 1e9) // one adds nanoseconds, the other fractions
		return families[0].String()
	}
	require.Equal(t, gather(plain), gather(even))
}
