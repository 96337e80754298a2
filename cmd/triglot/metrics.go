package main

import (
	"cmp"
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/triglot/triglot/cmd/triglot/config"
	"github.com/triglot/triglot/core"
)

// newRegistry makes the registry of the process's metrics, with those that are of
// the process and not of a part of it. Their names are etcd's.
func newRegistry(cfg *config.Config) *prometheus.Registry {
	r := prometheus.NewRegistry()
	runtimeMetrics := collectors.NewGoCollector()
	if cfg.Extensive {
		runtimeMetrics = collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll))
	}
	r.MustRegister(
		runtimeMetrics,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		constant("etcd_server_version", "Which version of etcd is spoken. 1 for 'server_version' label with current version.",
			"server_version", etcdVersion),
		constant("etcd_server_go_version", "Which Go version server is running with. 1 for 'server_go_version' label with current version.",
			"server_go_version", runtime.Version()),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "os_fd_used", Help: "The number of used file descriptors.",
		}, openFiles),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "os_fd_limit", Help: "The file descriptor limit.",
		}, func() float64 { limit, _ := fileLimit(); return float64(limit) }),
		gatesMetric(cfg.Gates),
	)
	return r
}

// gatesMetric says which of etcd's feature gates are on.
func gatesMetric(gates config.Gates) prometheus.Collector {
	enabled := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "etcd_server_feature_enabled", Help: "Whether or not a feature is enabled. 1 is enabled, 0 is not.",
	}, []string{"name", "stage"})
	stages := map[string]string{"AllBeta": "BETA", "FastLeaseKeepAlive": "BETA", "TxnModeWriteWithSharedBuffer": "BETA"}
	set := func(name string, on bool) {
		value := 0.0
		if on {
			value = 1
		}
		enabled.WithLabelValues(name, cmp.Or(stages[name], "ALPHA")).Set(value)
	}
	set("AllAlpha", gates["AllAlpha"])
	set("AllBeta", gates["AllBeta"])
	for name, on := range gates {
		set(name, on)
	}
	return enabled
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
