package zk

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/wire"
)

// page is the types of the metrics of ZooKeeper's page, by their names.
func page(t *testing.T, s *server) (types map[string]string, text string) {
	w := httptest.NewRecorder()
	s.face.MetricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	b, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	types = map[string]string{}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			types[name] = kind
		}
	}
	return types, string(b)
}

// What has ZooKeeper's name has its type; what ZooKeeper has besides is listed.
func TestPrometheusNamesAreZooKeepers(t *testing.T) {
	process := prometheus.NewRegistry()
	fsync := prometheus.NewHistogram(prometheus.HistogramOpts{Name: fsyncMetric, Buckets: []float64{0.001, 0.002, 0.004}})
	leaders := prometheus.NewCounter(prometheus.CounterOpts{Name: leadersMetric})
	process.MustRegister(fsync, leaders)
	for _, seconds := range []float64{0.0005, 0.0015, 0.003} {
		fsync.Observe(seconds)
	}
	leaders.Inc()
	s := startServer(t, allWords, func(c *Config) { c.Process = process })
	s.scene()
	ours, text := page(t, s)
	recorded, err := os.ReadFile("testdata/prometheus.txt")
	require.NoError(t, err)
	theirs := map[string]string{}
	for line := range strings.Lines(string(recorded)) {
		name, kind, _ := strings.Cut(strings.TrimSpace(line), " ")
		theirs[name] = kind
	}
	for name, kind := range ours {
		if name != "process_virtual_memory_max_bytes" && !strings.HasPrefix(name, "process_network_") { // of Go's collector
			require.Equal(t, theirs[name], kind, name)
		}
	}
	var missing []string
	for name := range theirs {
		if _, ok := ours[name]; !ok {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	listed, err := os.ReadFile("testdata/prometheus-missing.txt")
	require.NoError(t, err)
	require.Equal(t, string(listed), strings.Join(missing, "\n")+"\n")
	for _, line := range []string{
		"znode_count 9", "watch_count 5", "ephemerals_count 3", "num_alive_connections 2", "election_time_count 1",
		"fsynctime_count 3", `fsynctime{quantile="0.5"} 2`, "fsynctime_sum 5", "updatelatency_count 4", "snapshottime_count 0",
		`election_time{quantile="0.5"} 0`, `snapshottime{quantile="0.5"} NaN`,
	} {
		require.Contains(t, text, "\n"+line+"\n")
	}
	require.Contains(t, s.word("mntr"), "zk_max_fsynctime\t4\n")
}

// The rules of ZooKeeper's own documentation on alerts can be evaluated.
func TestAlertRulesHaveTheirMetrics(t *testing.T) {
	ours, _ := page(t, startServer(t))
	for _, name := range []string{
		"znode_count", "num_alive_connections", "approximate_data_size", "watch_count", "election_time",
		"open_file_descriptor_count", "fsynctime", "snapshottime", "avg_latency", "jvm_memory_bytes_used", "jvm_memory_bytes_max",
	} {
		require.Contains(t, ours, name)
	}
}

func TestMetricsAmongOthers(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	s := startServer(t, func(c *Config) { c.Metrics = registry; c.Process = registry })
	s.connect().create("/a", "", wire.Persistent)
	families, err := registry.Gather()
	require.NoError(t, err)
	names := map[string]float64{}
	for _, f := range families {
		names[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	require.Equal(t, 6.0, names["znode_count"])
	require.NotContains(t, names, "jvm_threads_current", "Go's own collector says it")
}

func TestSummary(t *testing.T) {
	var s summary
	for i := range 1000 {
		s.observe(time.Duration(i)*time.Millisecond, 1)
	}
	s.observe(-time.Second, 0)
	f := s.figures()
	require.EqualValues(t, 1000, f.n)
	require.Equal(t, 499500.0, f.sum)
	require.Equal(t, 499.5, f.mean())
	require.Equal(t, 0.0, f.least)
	require.Equal(t, 999.0, f.most)
	for q, exact := range map[float64]float64{0.5: 500, 0.9: 900, 0.99: 990, 0.999: 999} {
		require.GreaterOrEqual(t, f.quantiles[q], exact-1)
		require.LessOrEqual(t, f.quantiles[q], exact*5/4)
	}
	for _, v := range []uint64{0, 1, 3, 4, 5, 7, 8, 1000, 1<<40 + 5, 1<<64 - 1} {
		i := bucketOf(v)
		require.LessOrEqual(t, v, bucketTop(i))
		require.True(t, i == 0 || bucketTop(i-1) < v, "%d", v)
	}
}

func TestTallies(t *testing.T) {
	var stats stats
	var conn connStats
	var tally tally
	for i, q := range []*request{
		{op: &opPing, xid: wire.XidPing, received: 90 * time.Millisecond, size: 8},
		{op: &opGetData, xid: 7, received: 80 * time.Millisecond, size: 20},
		{op: &opSetData, xid: 8, received: 60 * time.Millisecond, size: 40, pending: settled{}},
		{op: &opPing, xid: wire.XidPing, received: 70 * time.Millisecond, size: 8},
	} {
		tally.replied(16 + i)
		tally.add(q)
	}
	stats.settle(&tally, 100*time.Millisecond)
	conn.settle(&tally, 5, 100*time.Millisecond)
	least, mean, most := stats.latency.milliseconds()
	require.EqualValues(t, 10, least)
	require.Equal(t, 25.0, mean)
	require.EqualValues(t, 40, most)
	last, smallest, largest := stats.replies.sizes()
	require.Equal(t, []int{19, 16, 19}, []int{last, smallest, largest})
	require.EqualValues(t, 76+4*4, stats.counters[bytesReceived].Load())
	require.EqualValues(t, 3, stats.summaries[readLatency].n.Load())
	require.EqualValues(t, 1, stats.summaries[updateLatency].n.Load())
	f := conn.figures()
	require.Equal(t, "PING", lastOperation(f.last.op))
	require.EqualValues(t, 8, f.last.cxid, "the last that is no special one")
	require.Equal(t, 25*time.Millisecond, f.mean())
	require.Equal(t, 40*time.Millisecond, f.max)
	stats.reset()
	last, _, _ = stats.replies.sizes()
	require.Equal(t, -1, last)
	conn.reset()
	f = conn.figures()
	require.EqualValues(t, -1, f.lastZxid())
}
