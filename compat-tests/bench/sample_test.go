package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpread(t *testing.T) {
	require.Equal(t, spread{}, spreadOf(nil))
	require.Equal(t, spread{Median: 2, Min: 1, Max: 9}, spreadOf([]float64{9, 1, 2}))
	require.Equal(t, spread{Median: 3, Min: 1, Max: 9}, spreadOf([]float64{9, 1, 2, 4}))
	require.Equal(t, "2.00 [1.00-9.00]", spreadOf([]float64{9, 1, 2}).format(2))
}

func TestRatiosArePaired(t *testing.T) {
	// The machine is twice as slow in the second pair: the ratios stay.
	r := &record{Peer: roleEtcd, Cell: cell{Null: nullTuned}, Pairs: []pair{
		{Samples: map[string]sample{
			roleTriglot: {Ops: 100, CPU: 50, Rate: 20, P50: 1, P99: 3},
			roleEtcd:    {Ops: 100, CPU: 100, Later: 100, Rate: 10, P50: 1, P99: 1},
			nullTuned:   {CPU: 20},
		}},
		{Samples: map[string]sample{
			roleTriglot: {Ops: 100, CPU: 100, Rate: 10, P50: 2, P99: 6},
			roleEtcd:    {Ops: 100, CPU: 200, Later: 200, Rate: 5, P50: 2, P99: 2},
			nullTuned:   {CPU: 40},
		}},
		{Samples: map[string]sample{roleTriglot: {CPU: 1000}}}, // half a pair counts for nothing
	}}
	for figure, want := range map[figure]spread{
		cpuRatio:       {0.25, 0.25, 0.25}, // what was put off counts
		rateRatio:      {2, 2, 2},
		p50Ratio:       {1, 1, 1},
		p99Ratio:       {3, 3, 3},
		belowTransport: {45, 30, 60},
	} {
		got, measured := figure.of(r)
		require.True(t, measured)
		require.Equal(t, want, got, figure)
	}
	r.Pairs = r.Pairs[:2]
	require.InDelta(t, 0.25, r.pooledCPU(roleTriglot, roleEtcd), 1e-9, "and here")
	require.InDelta(t, 75.0, r.median(roleTriglot, func(s sample) float64 { return s.CPU }), 1e-9)

	r.Cell.Null = nullTuned
	r.Pairs[0].Samples[roleTriglot] = sample{CPU: 50, Later: 7}
	above, _ := belowTransport.of(r)
	require.InDelta(t, 37.0, above.Min, 1e-9, "it is the store's work, done now or later")
	r.Cell.Null = ""
	_, measured := belowTransport.of(r)
	require.False(t, measured)
	require.InDelta(t, 1000.0, ratio(5, 0), 1e-9, "a counter that stands still gives no infinity, which JSON has not")
	require.InDelta(t, 1.0, ratio(0, 0), 1e-9)
}

func TestSampleOfALoad(t *testing.T) {
	result := loadResult{Ops: 200, Seconds: 2, ClientCPU: 4, Servers: []serverUsage{
		{User: 0.01, System: 0.02, Later: 0.001, RSS: 1 << 20, Written: 4000, Voluntary: 100, Involuntary: 20},
		{User: 0.01, RSS: 2 << 20},
	}}
	result.Latency.P50, result.Latency.P99 = 5, 9
	s, err := result.sample()
	require.NoError(t, err)
	require.InDelta(t, 200.0, s.CPU, 1e-9, "summed over members")
	require.InDelta(t, 5.0, s.Later, 1e-9)
	require.InDelta(t, 100.0, s.Rate, 1e-9)
	require.InDelta(t, 0.6, s.Switches, 1e-9)
	require.InDelta(t, 20.0, s.Written, 1e-9)
	require.InDelta(t, 3.0, s.RSS, 1e-9)
	require.InDelta(t, 4.0, s.Client, 1e-9)

	result.Delivered = 2000
	s, err = result.sample()
	require.NoError(t, err)
	require.InDelta(t, 20.0, s.CPU, 1e-9, "of a watch, an event is the operation")
	require.InDelta(t, 0.4, s.Client, 1e-9)
	require.InDelta(t, 1000.0, s.Rate, 1e-9)

	for _, bad := range []loadResult{{}, {Ops: 5, Seconds: 1, Errors: 1}, {Ops: 5}} {
		_, err := bad.sample()
		require.Error(t, err)
	}
}
