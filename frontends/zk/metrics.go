package zk

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// counter is something that is counted.
type counter int

// The counters, those that a connection keeps aside.
const (
	bytesReceived counter = iota
	responseBytes
	watchBytes
	connectionRequests
	connectionRevalidations
	connectionDrops
	connectionsRejected
	sessionlessExpired
	largeRequests
	throttledOps
	throttleWaits
	snapshots
	snapshotErrors
	snapshotsRateLimited
	restoreErrors
	restoresRateLimited
	numCounters
)

// description is the name that ZooKeeper 3.9 gives a figure, and what it means.
type description struct{ name, help string }

var counterNames = [numCounters]description{
	bytesReceived:           {"bytes_received_count", "Bytes of requests."},
	responseBytes:           {"response_bytes", "Bytes of replies."},
	watchBytes:              {"watch_bytes", "Bytes of events."},
	connectionRequests:      {"connection_request_count", "Clients that asked for a session."},
	connectionRevalidations: {"connection_revalidate_count", "Clients that came back with their session."},
	connectionDrops:         {"connection_drop_count", "Connections that broke off, or that their client closed without a word."},
	connectionsRejected:     {"connection_rejected", "Connections refused because there are too many."},
	sessionlessExpired:      {"sessionless_connections_expired", "Connections that asked for no session in time."},
	largeRequests:           {"large_requests_rejected", "Connections closed because of a frame that is too long."},
	throttledOps:            {"throttled_ops", "Requests refused because the store had no room for them."},
	throttleWaits:           {"request_throttle_wait_count", "Pauses that a client was made to take because the store had no room."},
	snapshots:               {"snap_count", "Snapshots made for the AdminServer."},
	snapshotErrors:          {"snapshot_error_count", "Snapshots that failed."},
	snapshotsRateLimited:    {"snapshot_rate_limited_count", "Snapshots refused because one was made just before."},
	restoreErrors:           {"restore_error_count", "Restores that failed."},
	restoresRateLimited:     {"restore_rate_limited_count", "Restores refused because one was made just before."},
}

// timing is something whose times are summed up.
type timing int

// The summaries.
const (
	readLatency timing = iota
	updateLatency
	snapshotTime
	restoreTime
	watchesCreated
	watchesDeleted
	watchesChanged
	watchesOfChildren
	numSummaries
)

var summaryNames = [numSummaries]description{
	readLatency:   {"readlatency", "Milliseconds from a request that only reads to its reply."},
	updateLatency: {"updatelatency", "Milliseconds from a request that writes to its reply."},
	snapshotTime:  {"snapshottime", "Milliseconds that a snapshot took."},
	restoreTime:   {"restore_time", "Milliseconds that a restore took."},

	watchesCreated:    {"node_created_watch_count", "Watchers told of each znode created that had any."},
	watchesDeleted:    {"node_deleted_watch_count", "Watchers told of each znode deleted that had any, those of its data and those of its children apart."},
	watchesChanged:    {"node_changed_watch_count", "Watchers told of each change of a znode's data that had any."},
	watchesOfChildren: {"node_children_watch_count", "Watchers told of each change of a list of children that had any."},
}

// figure is one of the figures of `mntr`, with the type that Prometheus is told.
type figure struct {
	description
	kind  prometheus.ValueType
	value float64
	// exact has mntr print a number as Java does a double.
	exact bool
}

// gauges are the present figures, by the names that ZooKeeper 3.9 gives them in
// `mntr` (behind zk_) and to Prometheus.
func (s *Server) gauges() []figure {
	least, mean, most := s.stats.latency.milliseconds()
	last, smallest, largest := s.stats.replies.sizes()
	counts := s.cfg.Znodes.Counts()
	open, limit := fileDescriptors()
	g := func(name, help string, value float64) figure {
		return figure{description: description{name, help}, kind: prometheus.GaugeValue, value: value}
	}
	double := func(f figure) figure { f.exact = true; return f }
	all := []figure{
		double(g("avg_latency", "Mean time of a request in milliseconds.", mean)),
		g("max_latency", "Longest time of a request in milliseconds.", float64(most)),
		g("min_latency", "Shortest time of a request in milliseconds.", float64(least)),
		g("packets_received", "Packets received.", float64(s.stats.received.Load())),
		g("packets_sent", "Packets sent.", float64(s.stats.sent.Load())),
		g("num_alive_connections", "Connections.", float64(s.stats.connections.Load())),
		g("outstanding_requests", "Requests that wait for their answer.", float64(s.stats.outstanding.Load())),
		g("uptime", "Milliseconds since the face was started.", float64(s.clock().Milliseconds())),
		g("znode_count", "Znodes, as ZooKeeper counts them.", float64(counts.Znodes)),
		g("watch_count", "Watches set on this member.", float64(s.watches.watches())),
		g("ephemerals_count", "Ephemeral znodes.", float64(counts.Ephemerals)),
		g("approximate_data_size", "Bytes of all paths and data of znodes.", float64(counts.Bytes)),
		g("global_sessions", "Sessions.", float64(counts.Sessions)),
		g("local_sessions", "Sessions of this member alone: those of clients that it serves read-only.", float64(s.local.count())),
		g("open_file_descriptor_count", "Open file descriptors.", float64(open)),
		g("max_file_descriptor_count", "File descriptors that the process may open.", float64(limit)),
		double(g("connection_drop_probability", "Part of connections refused at random: none.", 0)),
		g("last_client_response_size", "Bytes of the last reply.", float64(last)),
		g("min_client_response_size", "Bytes of the smallest reply.", float64(smallest)),
		g("max_client_response_size", "Bytes of the largest reply.", float64(largest)),
		g("auth_failed_count", "Clients refused for what they showed to prove who they are.", float64(s.stats.authFailed.Load())),
	}
	all = append(all, s.stats.oversizes.figures()...)
	return append(all, s.quorumGauges(g)...)
}

// counts are the counters, with those that the process keeps.
func (s *Server) counts(p processFigures) []figure {
	all := make([]figure, 0, numCounters+3)
	add := func(d description, value float64) {
		all = append(all, figure{description: d, kind: prometheus.CounterValue, value: value})
	}
	for c, d := range counterNames {
		add(d, float64(s.stats.counters[c].Load()))
	}
	add(description{"commit_count", "Writes committed."}, p.commits)
	add(description{"proposal_count", "Writes committed, which this leader proposed or another."}, p.commits)
	add(description{"stale_sessions_expired", "Sessions, and etcd's leases, that ran out."}, p.expired)
	return all
}

// namedFigures is a summary by its name.
type namedFigures struct {
	description
	figures
	// advanced has mntr show the quantiles, and Prometheus more of them than the median
	// (ZooKeeper 3.9 MetricsContext.DetailLevel).
	advanced bool
}

func (s *Server) summed(p processFigures) []namedFigures {
	all := make([]namedFigures, 0, numSummaries+2)
	for i, d := range summaryNames {
		all = append(all, namedFigures{d, s.stats.summaries[i].figures(), timing(i) < snapshotTime})
	}
	return append(all,
		namedFigures{description{"fsynctime", "Milliseconds that a sync of the log took."}, p.fsync, false},
		namedFigures{description{"election_time", "Changes of the leader; how long they took is not known."}, p.elections, false},
	)
}

func (s *Server) writeMntr(b *bytes.Buffer, _ net.Conn) {
	s.eachMonitored(func(key string, value any) { fmt.Fprintf(b, "zk_%s\t%v\n", key, value) })
}

// eachMonitored calls put for every line of `mntr`, in the types of Java: whole
// numbers, and doubles as text.
func (s *Server) eachMonitored(put func(key string, value any)) {
	put("version", s.fullVersion())
	mode := s.mode()
	put("server_state", mode)
	if state := peerStates[mode]; state != "" {
		put("peer_state", state)
	}
	process := s.process()
	for _, f := range append(s.gauges(), s.counts(process)...) {
		if f.exact {
			put(f.name, double(f.value))
		} else {
			put(f.name, int64(f.value))
		}
	}
	for _, f := range s.summed(process) {
		put("avg_"+f.name, double(f.mean()))
		put("min_"+f.name, int64(f.least))
		put("max_"+f.name, int64(f.most))
		put("cnt_"+f.name, int64(f.n))
		put("sum_"+f.name, int64(f.whole))
		for _, q := range quantiles {
			if name := quantileNames[q]; f.advanced && name != "" {
				put(name+"_"+f.name, int64(f.quantiles[q]))
			}
		}
	}
}

// peerStates is what the members of an ensemble do.
var peerStates = map[string]string{
	"leader": "leading - broadcast", "follower": "following - broadcast", "observer": "observing - broadcast",
}

const median = 0.5

// quantileNames are those that mntr shows.
var quantileNames = map[float64]string{0.5: "p50", 0.95: "p95", 0.99: "p99", 0.999: "p999"}

// double is a number that is printed as Java prints a double.
type double float64

func (d double) String() string { return javaDouble(float64(d)) }

// MarshalJSON implements json.Marshaler.
func (d double) MarshalJSON() ([]byte, error) { return []byte(d.String()), nil }

// fileDescriptors is how many are open and how many may be, -1 if not known.
func fileDescriptors() (open, limit int64) {
	open, limit = -1, -1
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		open = int64(len(entries)) - 1 // less the one that reads
	}
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err == nil {
		limit = int64(min(r.Cur, math.MaxInt64))
	}
	return open, limit
}

// collector exports the figures to Prometheus.
type collector struct {
	s *Server
	// alone says that nobody else exports the process's figures: the page is ours.
	alone bool
}

// Describe implements prometheus.Collector: the figures are not known beforehand.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	var process processFigures
	if c.alone {
		process = c.s.process()
		collectJVM(ch)
	}
	for _, f := range append(c.s.gauges(), c.s.counts(process)...) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(f.name, f.help, nil, nil), f.kind, f.value)
	}
	for _, f := range c.s.summed(process) {
		told := map[float64]float64{}
		for _, q := range [...]float64{median, 0.9, 0.99} {
			switch {
			case q != median && !f.advanced:
			case f.n == 0:
				told[q] = math.NaN()
			default:
				told[q] = f.quantiles[q]
			}
		}
		ch <- prometheus.MustNewConstSummary(prometheus.NewDesc(f.name, f.help, nil, nil), f.n, f.sum, told)
	}
}

// collectJVM exports what ZooKeeper's own alert rules ask of the Java machine, as it is
// of this one.
func collectJVM(ch chan<- prometheus.Metric) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		limit = -1 // Java's for a maximum that is not defined
	}
	gauge := func(name, help string, value float64, label, of string) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, []string{label}, nil), prometheus.GaugeValue, value, of)
	}
	gauge("jvm_memory_bytes_used", "Bytes of memory in use.", float64(mem.HeapInuse), "area", "heap")
	gauge("jvm_memory_bytes_committed", "Bytes of memory taken from the system.", float64(mem.HeapSys-mem.HeapReleased), "area", "heap")
	gauge("jvm_memory_bytes_max", "Bytes of memory that may be used.", float64(limit), "area", "heap")
	ch <- prometheus.MustNewConstSummary(
		prometheus.NewDesc("jvm_gc_collection_seconds", "Time that collections of garbage stopped the process.", []string{"gc"}, nil),
		uint64(mem.NumGC), float64(mem.PauseTotalNs)/1e9, nil, "Go")
	ch <- prometheus.MustNewConstMetric(
		prometheus.NewDesc("jvm_threads_current", "Goroutines.", nil, nil), prometheus.GaugeValue, float64(runtime.NumGoroutine()))
}

// MetricsHandler serves the figures as ZooKeeper 3.9's PrometheusMetricsProvider does,
// on whatever path it is mounted at; that of ZooKeeper is /metrics.
func (s *Server) MetricsHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{s: s, alone: true}, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}
