package node

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// gathered are the samples of a registry by name and labels; of histograms, how many were
// observed.
func gathered(t testing.TB, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	require.NoError(t, err)
	all := map[string]float64{}
	for _, f := range families {
		for _, sample := range f.Metric {
			name := f.GetName()
			for _, l := range sample.Label {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			all[name] = sample.Counter.GetValue() + sample.Gauge.GetValue() + float64(sample.Histogram.GetSampleCount())
		}
	}
	return all
}

// A learner that joins is sent a state, and gets its vote: both ends count it under etcd's
// names.
func TestStateMetrics(t *testing.T) {
	registries := []*prometheus.Registry{prometheus.NewRegistry(), prometheus.NewRegistry()}
	c := newTestCluster(t, 1, func(_ int, cfg *Config) {
		cfg.Members.Loose, cfg.Metrics = true, registries[0]
	})
	c.ready()
	ctx, nobody := testContext(t), core.Principal{}
	_, err := c.nodes[0].Membership().Promote(ctx, nobody, c.id(0))
	require.ErrorIs(t, err, core.NotLearner)
	learner := c.add(0, true, func(cfg *Config) { cfg.Members.Loose, cfg.Metrics = true, registries[1] })
	c.ready()
	c.promote(0, c.id(learner))
	hex := func(member int) string { return fmt.Sprintf("%x", uint64(c.id(member))) }

	c.eventually("the sender has heard that all has arrived", func() bool {
		return gathered(t, registries[0])["etcd_network_snapshot_send_success To="+hex(learner)] == 1
	})
	sent, received := gathered(t, registries[0]), gathered(t, registries[1])
	require.EqualValues(t, 1, sent["etcd_network_snapshot_send_total_duration_seconds To="+hex(learner)])
	require.Contains(t, sent, "etcd_network_snapshot_send_inflights_total To="+hex(learner))
	require.Zero(t, sent["etcd_network_snapshot_send_inflights_total To="+hex(learner)])
	require.EqualValues(t, 1, received["etcd_network_snapshot_receive_success From="+hex(0)])
	require.EqualValues(t, 1, received["etcd_network_snapshot_receive_total_duration_seconds From="+hex(0)])
	require.Zero(t, received["etcd_server_snapshot_apply_in_progress_total"])
	require.EqualValues(t, 1, sent["etcd_server_learner_promote_successes"])
	require.EqualValues(t, 1, sent["etcd_server_learner_promote_failures Reason=membership: can only promote a learner member"])
}

// A transfer that fails is counted as such.
func TestFailedTransferMetrics(t *testing.T) {
	m, r := newTransferMetrics("send", "To", "States"), prometheus.NewRegistry()
	r.MustRegister(m.success, m.failures, m.inflights, m.took)
	end := m.begin(10)
	require.EqualValues(t, 1, gathered(t, r)["etcd_network_snapshot_send_inflights_total To=a"])
	end(core.Timeout)
	require.Equal(t, map[string]float64{
		"etcd_network_snapshot_send_inflights_total To=a": 0, "etcd_network_snapshot_send_failures To=a": 1,
	}, gathered(t, r))
}
