package node

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/state"
)

func metricsForTest(out *bytes.Buffer) *metrics {
	return newMetrics(&Node{cfg: Config{Limits: Limits{ApplyTime: 100 * time.Millisecond}, Logger: slog.New(slog.NewTextHandler(out, nil))}})
}

// samples are the counts of histograms and the values of counters in m, by name and
// labels.
func samples(t *testing.T, m *metrics) map[string]float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(m.apply.took, m.apply.slow, m.apply.puts, m.apply.deletes, m.apply.putBytes, m.ttl, m.disk.commit, m.proposalsFailed, m.readsSlow, m.readsFailed)
	families, err := reg.Gather()
	require.NoError(t, err)
	all := make(map[string]float64)
	for _, f := range families {
		for _, sample := range f.Metric {
			name := f.GetName()
			for _, l := range sample.Label {
				name += " " + l.GetValue()
			}
			if v := float64(sample.Histogram.GetSampleCount()) + sample.Counter.GetValue() + sample.Gauge.GetValue(); v != 0 {
				all[name] = v
			}
		}
	}
	return all
}

func TestApplyMetrics(t *testing.T) {
	var out bytes.Buffer
	m := metricsForTest(&out)
	delta := &state.Delta{Leases: []state.LeaseChange{{ID: 1, TTL: time.Second}, {ID: 2}, {ID: 3, TTL: time.Second, Epoch: 1}}}
	delta.Tally = state.Tally{Puts: 3, Deletes: 1, Ranges: 2, Txns: 1, PutBytes: 10}
	delta.Tally.Commands[state.OpPut], delta.Tally.Failed[state.OpPut] = 3, 1
	delta.Tally.Commands[state.OpTxn] = 1
	batch := []consensus.Committed{{Index: 7, Data: []byte("abc")}, {Index: 8, Data: []byte("d")}}
	began := time.Now()
	m.applied(batch, delta, began, began.Add(2*time.Millisecond), began.Add(3*time.Millisecond), began.Add(4*time.Millisecond))
	require.Equal(t, map[string]float64{
		"etcd_server_apply_duration_seconds Put true v3":  2,
		"etcd_server_apply_duration_seconds Put false v3": 1,
		"etcd_server_apply_duration_seconds Txn true v3":  1,
		"etcd_mvcc_put_total":                             3,
		"etcd_mvcc_delete_total":                          1,
		"etcd_debugging_mvcc_total_put_size_in_bytes":     10,
		"etcd_debugging_lease_ttl_total":                  1,
		"etcd_disk_backend_commit_duration_seconds":       1,
	}, samples(t, m))
	require.EqualValues(t, 2, m.apply.ranges.Load())
	require.EqualValues(t, 1, m.apply.txns.Load())
	require.Empty(t, out.String())

	m.applied(batch, delta, began, began.Add(50*time.Millisecond), began.Add(90*time.Millisecond), began.Add(101*time.Millisecond))
	require.EqualValues(t, 1, samples(t, m)["etcd_server_slow_apply_total"])
	require.Contains(t, out.String(), `msg="apply request took too long" took=101ms expected-duration=100ms`)
	require.Contains(t, out.String(), "commands=4 bytes=4 revisions=0 first-index=7 last-index=8 execute=50ms commit=40ms publish=11ms")
}

func TestReadIndexMetrics(t *testing.T) {
	m := metricsForTest(new(bytes.Buffer))
	m.observeReadIndex(time.Millisecond, nil)
	m.observeReadIndex(time.Second, nil)
	m.observeReadIndex(time.Millisecond, core.NoLeader)
	require.Equal(t, map[string]float64{
		"etcd_server_slow_read_indexes_total":   1,
		"etcd_server_read_indexes_failed_total": 1,
	}, samples(t, m))
}

// BenchmarkApplyMetrics is what a put adds to the apply goroutine, in batches of 50.
func BenchmarkApplyMetrics(b *testing.B) {
	m := metricsForTest(new(bytes.Buffer))
	const commands = 50
	delta := new(state.Delta)
	delta.Tally.Puts, delta.Tally.PutBytes = commands, commands*100
	delta.Tally.Commands[state.OpPut] = commands
	batch := []consensus.Committed{{}}
	for b.Loop() {
		now := time.Now()
		m.applied(batch, delta, now, time.Now(), time.Now(), time.Now())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/commands, "ns/command")
}
