package httpfront

import "github.com/prometheus/client_golang/prometheus"

// healthMetrics counts what the health checks found, under etcd's names.
type healthMetrics struct {
	successes, failures prometheus.Counter     // of /health
	last                *prometheus.GaugeVec   // of /livez and /readyz, by check: 1 is good
	results             *prometheus.CounterVec // likewise
}

func newHealthMetrics(r prometheus.Registerer) healthMetrics {
	m := healthMetrics{
		successes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "etcd_server_health_success",
			Help: "Health checks at /health that found the member healthy.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "etcd_server_health_failures",
			Help: "Health checks at /health that found the member unhealthy.",
		}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "etcd_server_healthcheck",
			Help: "The last result of each check of /livez and /readyz: 1 if it passed.",
		}, []string{"type", "name"}),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "etcd_server_healthchecks_total",
			Help: "Results of each check of /livez and /readyz.",
		}, []string{"type", "name", "status"}),
	}
	r.MustRegister(m.successes, m.failures, m.last, m.results)
	return m
}

// count records one result of a check of /livez or /readyz.
func (m *healthMetrics) count(kind, name string, passed bool) {
	value, status := 0.0, "error"
	if passed {
		value, status = 1, "success"
	}
	m.last.WithLabelValues(kind, name).Set(value)
	m.results.WithLabelValues(kind, name, status).Inc()
}
