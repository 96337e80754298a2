package node

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the member's, under etcd's names, so that existing dashboards and
// alerts work; what etcd knows nothing of is under triglot_zk_. Most are read from the member when they are scraped: only what
// has no other home is counted as it happens.
type metrics struct {
	n      *Node
	gauges []gauge

	syncSeconds   prometheus.Histogram
	writtenBytes  prometheus.Counter
	leaderChanges prometheus.Counter
	granted       prometheus.Counter
	renewed       prometheus.Counter
	revoked       prometheus.Counter
	expired       prometheus.Counter
}

// gauge is a figure that is read when it is scraped.
type gauge struct {
	desc *prometheus.Desc
	read func() float64
}

func newMetrics(n *Node) *metrics {
	m := &metrics{
		n: n,
		syncSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "etcd_disk_wal_fsync_duration_seconds",
			Help:    "How long a sync of the raft log takes.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		writtenBytes:  counter("etcd_disk_wal_write_bytes_total", "Bytes written to the raft log."),
		leaderChanges: counter("etcd_server_leader_changes_seen_total", "Changes of leader seen."),
		granted:       counter("etcd_debugging_lease_granted_total", "Leases granted."),
		renewed:       counter("etcd_debugging_lease_renewed_total", "Leases renewed."),
		revoked:       counter("etcd_debugging_lease_revoked_total", "Leases revoked."),
		expired:       counter("etcd_debugging_server_lease_expired_total", "Leases that ran out."),
	}
	m.addGauges()
	return m
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func (m *metrics) addGauges() {
	add := func(name, help string, read func() float64) {
		m.gauges = append(m.gauges, gauge{prometheus.NewDesc(name, help, nil, nil), read})
	}
	n := m.n
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	add("etcd_server_has_leader", "Whether a leader is known.",
		func() float64 { return flag(n.Status().Leader != 0) })
	add("etcd_server_is_leader", "Whether this member is the leader.",
		func() float64 { s := n.Status(); return flag(s.Leader == s.Member) })
	add("etcd_server_is_learner", "Whether this member is a learner.",
		func() float64 { return flag(n.Status().Learner) })
	add("etcd_server_proposals_committed_total", "The index of the last committed entry.",
		func() float64 { return float64(n.Status().Committed) })
	add("etcd_server_proposals_applied_total", "The index of the last applied entry.",
		func() float64 { return float64(n.Status().Applied) })
	add("etcd_server_quota_backend_bytes", "The quota on the logical size of the store.",
		func() float64 { return float64(n.cfg.QuotaBytes) })
	add("etcd_mvcc_db_total_size_in_bytes", "The logical size of the store.",
		func() float64 { return float64(n.Status().Size) })
	add("etcd_mvcc_db_total_size_in_use_in_bytes", "The logical size of the store that is in use.",
		func() float64 { return float64(n.Status().InUse) })
	add("etcd_debugging_mvcc_current_revision", "The current revision.",
		func() float64 { return float64(n.Status().Rev) })
	add("etcd_debugging_mvcc_compact_revision", "The revision compacted to.",
		func() float64 { return float64(n.Status().CompactRev) })
	add("triglot_zk_sessions", "ZooKeeper sessions, connected or not.",
		func() float64 { return float64(n.Znodes().Counts().Sessions) })
	add("triglot_zk_znodes", "Znodes, counted as ZooKeeper does: a new store has five.",
		func() float64 { return float64(n.Znodes().Counts().Znodes) })
	add("triglot_zk_ephemerals", "Ephemeral znodes.",
		func() float64 { return float64(n.Znodes().Counts().Ephemerals) })
	add("triglot_zk_data_bytes", "The size of the paths and the data of all znodes.",
		func() float64 { return float64(n.Znodes().Counts().Bytes) })
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m, m.syncSeconds, m.writtenBytes, m.leaderChanges, m.granted, m.renewed, m.revoked, m.expired,
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for i := range m.gauges {
		out <- m.gauges[i].desc
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	for i := range m.gauges {
		g := &m.gauges[i]
		out <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.read())
	}
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for _, c := range m.collectors() {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("register the member's metrics: %w", err)
		}
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r == nil {
		return
	}
	for _, c := range m.collectors() {
		r.Unregister(c)
	}
}

// slowSync is how long a sync of the log may take before an operator is told:
// every write waits for it (etcd: 1 s).
const slowSync = time.Second

func (m *metrics) observeSync(d time.Duration, bytes int) {
	if d > slowSync {
		m.n.cfg.Logger.Warn("slow fdatasync: the disk holds up every write", "took", d, "expected", slowSync)
	}
	m.syncSeconds.Observe(d.Seconds())
	m.writtenBytes.Add(float64(bytes))
}
