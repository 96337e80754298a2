package zk

import (
	"math"
	"os"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
)

// gauge is one of the figures of `mntr`.
type gauge struct {
	name, help string
	value      float64
	counter    bool
}

// gauges are the present figures, by the names that ZooKeeper 3.9 gives them in
// `mntr` (behind zk_) and to Prometheus.
func (s *Server) gauges() []gauge {
	least, mean, most := s.stats.latency.milliseconds()
	counts := s.cfg.Znodes.Counts()
	open, limit := fileDescriptors()
	g := func(name, help string, value float64) gauge { return gauge{name: name, help: help, value: value} }
	counter := func(name, help string, value uint64) gauge {
		return gauge{name: name, help: help, value: float64(value), counter: true}
	}
	return []gauge{
		g("avg_latency", "Mean time of a request in milliseconds.", mean),
		g("max_latency", "Longest time of a request in milliseconds.", float64(most)),
		g("min_latency", "Shortest time of a request in milliseconds.", float64(least)),
		counter("packets_received", "Packets received.", s.stats.received.Load()),
		counter("packets_sent", "Packets sent.", s.stats.sent.Load()),
		g("num_alive_connections", "Connections.", float64(s.stats.connections.Load())),
		g("outstanding_requests", "Requests that wait for their answer.", float64(s.stats.outstanding.Load())),
		g("uptime", "Milliseconds since the face was started.", float64(s.clock().Milliseconds())),
		g("znode_count", "Znodes, as ZooKeeper counts them.", float64(counts.Znodes)),
		g("watch_count", "Watches set on this member.", float64(s.watches.watches())),
		g("ephemerals_count", "Ephemeral znodes.", float64(counts.Ephemerals)),
		g("approximate_data_size", "Bytes of all paths and data of znodes.", float64(counts.Bytes)),
		g("global_sessions", "Sessions.", float64(counts.Sessions)),
		g("local_sessions", "Sessions that are not replicated: none.", 0),
		counter("connection_rejected", "Connections refused because their address has too many.", s.stats.rejected.Load()),
		g("open_file_descriptor_count", "Open file descriptors.", float64(open)),
		g("max_file_descriptor_count", "File descriptors that the process may open.", float64(limit)),
	}
}

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
	s     *Server
	descs map[string]*prometheus.Desc
}

func newCollector(s *Server) *collector {
	c := &collector{s: s, descs: map[string]*prometheus.Desc{}}
	for _, g := range s.gauges() {
		c.descs[g.name] = prometheus.NewDesc(g.name, g.help, nil, nil)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, g := range c.s.gauges() {
		kind := prometheus.GaugeValue
		if g.counter {
			kind = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(c.descs[g.name], kind, g.value)
	}
}
