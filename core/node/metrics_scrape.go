package node

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/watch"
)

// scrape is the member at the moment of a scrape.
type scrape struct {
	n      *Node
	status core.Status
	keys   int64
	watch  watch.Stats
	znodes core.ZnodeCounts
}

func (n *Node) scrape() *scrape {
	s := &scrape{n: n, status: n.Status(), watch: n.hub.Stats(), znodes: n.Znodes().Counts()}
	if v := n.published.hold(); v != nil {
		s.keys = v.Keys()
		v.Close()
	}
	return s
}

// figure is a number that is read when it is scraped.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*scrape) float64
}

// addFigures lists what is read at a scrape. What etcd has as a gauge is one here,
// though some of it only grows.
func (m *metrics) addFigures() {
	add := func(kind prometheus.ValueType, name, help string, read func(*scrape) float64) {
		m.figures = append(m.figures, figure{prometheus.NewDesc(name, help, nil, nil), kind, read})
	}
	gauge := func(name, help string, read func(*scrape) float64) { add(prometheus.GaugeValue, name, help, read) }

	gauge("etcd_server_has_leader", "Whether a leader is known.", func(s *scrape) float64 { return truth(s.status.Leader != 0) })
	gauge("etcd_server_is_leader", "Whether this member is the leader.",
		func(s *scrape) float64 { return truth(s.status.Leader == s.status.Member) })
	gauge("etcd_server_is_learner", "Whether this member is a learner.", func(s *scrape) float64 { return truth(s.status.Learner) })
	gauge("etcd_server_proposals_committed_total", "The index of the last committed entry.",
		func(s *scrape) float64 { return float64(s.status.Committed) })
	gauge("etcd_server_proposals_applied_total", "The index of the last applied entry.",
		func(s *scrape) float64 { return float64(s.status.Applied) })
	gauge("etcd_server_proposals_pending", "Commands that wait for the log or for their turn.",
		func(s *scrape) float64 { return float64(s.n.driver.Pending()) })
	gauge("etcd_server_quota_backend_bytes", "The quota on the logical size of the store.",
		func(s *scrape) float64 { return float64(s.n.cfg.Limits.QuotaBytes) })
	gauge("etcd_debugging_auth_revision", "The revision of users and roles.",
		func(s *scrape) float64 { return float64(s.n.Auth().Status().Rev) })
	m.addStoreFigures(add)
	gauge("triglot_zk_sessions", "ZooKeeper sessions, connected or not.", func(s *scrape) float64 { return float64(s.znodes.Sessions) })
	gauge("triglot_zk_znodes", "Znodes, counted as ZooKeeper does: a new store has five.",
		func(s *scrape) float64 { return float64(s.znodes.Znodes) })
	gauge("triglot_zk_ephemerals", "Ephemeral znodes.", func(s *scrape) float64 { return float64(s.znodes.Ephemerals) })
	gauge("triglot_zk_data_bytes", "The size of the paths and the data of all znodes.",
		func(s *scrape) float64 { return float64(s.znodes.Bytes) })
}

func (m *metrics) addStoreFigures(add func(prometheus.ValueType, string, string, func(*scrape) float64)) {
	gauge := func(name, help string, read func(*scrape) float64) { add(prometheus.GaugeValue, name, help, read) }
	gauge("etcd_mvcc_db_total_size_in_bytes", "The logical size of the store.", func(s *scrape) float64 { return float64(s.status.Size) })
	gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "The logical size of the store that is in use.",
		func(s *scrape) float64 { return float64(s.status.InUse) })
	gauge("etcd_mvcc_db_open_read_transactions", "Views of the state that are held, the latest one included.",
		func(s *scrape) float64 { return float64(s.n.disk.engine().machine.OpenViews()) })
	add(prometheus.CounterValue, "etcd_mvcc_range_total", "Ranges read, those within transactions included.",
		func(s *scrape) float64 {
			ranges, _ := s.n.disk.engine().machine.Reads()
			return float64(ranges + s.n.metrics.apply.ranges.Load())
		})
	add(prometheus.CounterValue, "etcd_mvcc_txn_total", "Transactions with more than one operation.", func(s *scrape) float64 {
		_, txns := s.n.disk.engine().machine.Reads()
		return float64(txns + s.n.metrics.apply.txns.Load())
	})
	add(prometheus.CounterValue, "etcd_debugging_mvcc_db_compaction_keys_total", "Versions removed after compactions.",
		func(s *scrape) float64 { return float64(s.n.disk.engine().collector.Removed()) })
	gauge("etcd_debugging_mvcc_keys_total", "The number of keys.", func(s *scrape) float64 { return float64(s.keys) })
	gauge("etcd_debugging_mvcc_current_revision", "The current revision.", func(s *scrape) float64 { return float64(s.status.Rev) })
	gauge("etcd_debugging_mvcc_compact_revision", "The revision compacted to.",
		func(s *scrape) float64 { return float64(s.status.CompactRev) })
	gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams.", func(s *scrape) float64 { return float64(s.watch.Feeds) })
	gauge("etcd_debugging_mvcc_watcher_total", "Watches.", func(s *scrape) float64 { return float64(s.watch.Watches) })
	gauge("etcd_debugging_mvcc_slow_watcher_total", "Watches that have fallen behind and catch up from the history.",
		func(s *scrape) float64 { return float64(s.watch.Behind) })
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// The figures that tell something by their labels.
var (
	clusterVersionDesc = prometheus.NewDesc("etcd_cluster_version",
		"The version of etcd that the cluster passes for: 1 for the present one.", []string{"cluster_version"}, nil)
	knownPeersDesc = prometheus.NewDesc("etcd_network_known_peers",
		"1 for each member that is known, this one included.", []string{"Local", "Remote"}, nil)
	alarmsDesc = prometheus.NewDesc("etcd_debugging_server_alarms",
		"1 for each alarm that stands.", []string{"server_id", "alarm_type"}, nil)
)

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for i := range m.figures {
		out <- m.figures[i].desc
	}
	out <- clusterVersionDesc
	out <- knownPeersDesc
	out <- alarmsDesc
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	s := m.n.scrape()
	for i := range m.figures {
		f := &m.figures[i]
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.read(s))
	}
	one := func(desc *prometheus.Desc, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, 1, labels...)
	}
	hex := func(id core.MemberID) string { return strconv.FormatUint(uint64(id), 16) }
	if v := s.status.ClusterVersion; v != "" {
		one(clusterVersionDesc, v[:max(strings.LastIndexByte(v, '.'), 0)])
	}
	if v := m.n.published.hold(); v != nil {
		for _, member := range v.Members() {
			one(knownPeersDesc, hex(s.status.Member), hex(member.ID))
		}
		v.Close()
	}
	for _, a := range s.status.Alarms {
		one(alarmsDesc, hex(a.Member), alarmNames[a.Type])
	}
}

// alarmNames are etcd's.
var alarmNames = map[core.AlarmType]string{core.AlarmNoSpace: "NOSPACE", core.AlarmCorrupt: "CORRUPT"}

// absentMetrics are what etcd has in every scrape and what never happens here: there
// is no bbolt file whose pages are rebalanced and spilled, no index in memory to
// compact, no v2 store, no proxy, no snapshot file, and no heartbeat that waits for a disk.
// They are zero for ever, so that what asks for them finds them.
func absentMetrics() []prometheus.Collector {
	const none = "Always zero: there is no such thing here."
	var all []prometheus.Collector
	for _, h := range []struct {
		name  string
		first float64
		n     int
	}{
		{"etcd_debugging_disk_backend_commit_rebalance_duration_seconds", 0.001, 14},
		{"etcd_debugging_disk_backend_commit_spill_duration_seconds", 0.001, 14},
		{"etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds", 0.5, 14},
		{"etcd_debugging_snap_save_marshalling_duration_seconds", 0.001, 14},
		{"etcd_debugging_snap_save_total_duration_seconds", 0.001, 14},
		{"etcd_snap_db_fsync_duration_seconds", 0.001, 14},
		{"etcd_snap_db_save_total_duration_seconds", 0.1, 10},
		{"etcd_snap_fsync_duration_seconds", 0.001, 14},
	} {
		all = append(all, histogram(h.name, none, h.first, h.n))
	}
	for _, name := range []string{
		"etcd_debugging_store_expires_total", "etcd_debugging_store_watch_requests_total",
		"etcd_grpc_proxy_events_coalescing_total",
		"etcd_server_heartbeat_send_failures_total",
	} {
		all = append(all, counter(name, none))
	}
	for _, name := range []string{
		"etcd_debugging_mvcc_pending_events_total", "etcd_debugging_store_watchers",
		"etcd_grpc_proxy_cache_hits_total", "etcd_grpc_proxy_cache_keys_total", "etcd_grpc_proxy_cache_misses_total",
		"etcd_grpc_proxy_watchers_coalescing_total",
	} {
		all = append(all, newGauge(name, none))
	}
	return all
}
