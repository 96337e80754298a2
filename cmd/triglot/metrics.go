package main

import (
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/triglot/triglot/core"
)

// newRegistry makes the registry of the process's metrics, with those that are of
// the process and not of a part of it. Their names are etcd's.
func newRegistry(extensive bool) *prometheus.Registry {
	r := prometheus.NewRegistry()
	runtimeMetrics := collectors.NewGoCollector()
	if extensive {
		runtimeMetrics = collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll))
	}
	r.MustRegister(
		runtimeMetrics,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		constant("etcd_server_version", "Which version of etcd is spoken. 1 for 'server_version' label with current version.",
			"server_version", etcdVersion),
		constant("etcd_server_go_version", "Which Go version server is running with. 1 for 'server_go_version' label with current version.",
			"server_go_version", runtime.Version()),
		constant("etcd_cluster_version", "Which version is running. 1 for 'cluster_version' label with current cluster version.",
			"cluster_version", "3.7"),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "os_fd_used", Help: "The number of used file descriptors.",
		}, openFiles),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "os_fd_limit", Help: "The file descriptor limit.",
		}, func() float64 { limit, _ := fileLimit(); return float64(limit) }),
	)
	return r
}

// registerID adds the member's id to r.
func registerID(r prometheus.Registerer, id core.MemberID) {
	r.MustRegister(constant("etcd_server_id", "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
		"server_id", strconv.FormatUint(uint64(id), 16)))
}

// constant is a gauge that is 1 and says something by a label.
func constant(name, help, label, value string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{label: value}})
	g.Set(1)
	return g
}
