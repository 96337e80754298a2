package node

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestCompactByTime drives the clock by hand: a revision a minute, an hour kept.
func TestCompactByTime(t *testing.T) {
	c := compactor{keep: AutoCompaction{Period: time.Hour}}
	require.Equal(t, 6*time.Minute, c.interval())
	start := time.Unix(0, 0)
	var at []time.Duration
	var to []core.Rev
	fail := true
	for d := time.Duration(0); d <= 4*time.Hour; d += c.interval() {
		rev, due := c.tick(start.Add(d), core.Rev(100+d.Minutes()))
		if !due {
			continue
		}
		if d == 2*time.Hour && fail {
			fail = false // the proposal failed: it is tried again at the next tick
			continue
		}
		c.succeeded(start.Add(d), rev)
		at, to = append(at, d), append(to, rev)
	}
	require.False(t, fail)
	require.Equal(t, []time.Duration{time.Hour, 126 * time.Minute, 186 * time.Minute}, at)
	require.Equal(t, []core.Rev{100, 166, 226}, to, "what was current an hour before")
	require.LessOrEqual(t, len(c.samples), 2*samplesPerPeriod, "samples do not pile up")
}

// TestCompactIdleStore: where nothing is written nothing is proposed.
func TestCompactIdleStore(t *testing.T) {
	c := compactor{keep: AutoCompaction{Period: time.Minute}}
	proposals := 0
	for d := time.Duration(0); d <= time.Hour; d += c.interval() {
		if rev, due := c.tick(time.Unix(0, 0).Add(d), 7); due {
			c.succeeded(time.Unix(0, 0).Add(d), rev)
			proposals++
		}
	}
	require.Equal(t, 1, proposals)
}

func TestCompactByRevisions(t *testing.T) {
	c := compactor{keep: AutoCompaction{Revisions: 1000}}
	require.Equal(t, 5*time.Minute, c.interval())
	_, due := c.tick(time.Unix(0, 0), 1000)
	require.False(t, due)
	rev, due := c.tick(time.Unix(300, 0), 1500)
	require.True(t, due)
	require.Equal(t, core.Rev(500), rev)
	c.succeeded(time.Unix(300, 0), rev)
	_, due = c.tick(time.Unix(600, 0), 1500)
	require.False(t, due)
}

func TestNoAutoCompaction(t *testing.T) {
	require.Zero(t, (&compactor{}).interval())
	require.Error(t, AutoCompaction{Period: -1}.validate())
	require.Error(t, AutoCompaction{Period: 1, Revisions: 1}.validate())
}

// TestAutoCompactionRuns: the goroutine proposes what the compactor decides.
func TestAutoCompactionRuns(t *testing.T) {
	cfg := testConfig(t)
	cfg.AutoCompaction.Period = 20 * time.Millisecond
	n := startNode(t, cfg)
	rev := put(t, n, "a", "1")
	put(t, n, "a", "2")
	require.Eventually(t, func() bool { return n.Status().CompactRev >= rev }, pollLimit, pollEvery)
	stopNode(t, n)
}

// TestCollectorPace: what is to be removed goes in batches of as many rows as the
// configuration says, with its rests between them.
func TestCollectorPace(t *testing.T) {
	cfg := testConfig(t)
	registry := prometheus.NewRegistry()
	cfg.Metrics = registry
	cfg.Collector = Collector{BatchRows: 2, Pause: time.Nanosecond}
	n := startNode(t, cfg)
	var rev core.Rev
	for range 10 {
		rev = put(t, n, "a", "1")
	}
	_, err := n.do(testContext(t), &core.Compact{Rev: rev})
	require.NoError(t, err)
	require.NoError(t, n.WaitCompacted(testContext(t), rev))
	families, err := registry.Gather()
	require.NoError(t, err)
	var batches uint64
	for _, f := range families {
		if f.GetName() == "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds" {
			batches = f.Metric[0].Histogram.GetSampleCount()
		}
	}
	require.Equal(t, uint64(5), batches)
	stopNode(t, n)

	cfg.Collector.Pause = -1
	_, err = Start(cfg)
	require.ErrorContains(t, err, "the pace of the removal of history is negative")
}
