package node

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triglot/triglot/core"
)

// stateMetrics are of states that go from member to member, and of learners that get a
// vote, under etcd's names and labels (rafthttp/metrics.go, etcdserver/metrics.go).
type stateMetrics struct {
	sent, received transferMetrics
	installing     prometheus.Gauge
	promoted       prometheus.Counter
	notPromoted    *prometheus.CounterVec
}

// transferMetrics are those of one direction, by the member at the other end.
type transferMetrics struct {
	success, failures *prometheus.CounterVec
	inflights         *prometheus.GaugeVec
	took              *prometheus.HistogramVec
}

func newStateMetrics() stateMetrics {
	return stateMetrics{
		sent:       newTransferMetrics("send", "To", "States sent to a member"),
		received:   newTransferMetrics("receive", "From", "States received from a member"),
		installing: newGauge("etcd_server_snapshot_apply_in_progress_total", "1 while the state is replaced by another member's."),
		promoted:   counter("etcd_server_learner_promote_successes", "Learners that got a vote while this member led."),
		notPromoted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "etcd_server_learner_promote_failures", Help: "Learners that got no vote while this member led.",
		}, []string{"Reason"}),
	}
}

func newTransferMetrics(direction, label, what string) transferMetrics {
	name := func(rest string) string { return "etcd_network_snapshot_" + direction + "_" + rest }
	labels := []string{label}
	count := func(rest, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name(rest), Help: help}, labels)
	}
	return transferMetrics{
		success:   count("success", what+"."),
		failures:  count("failures", what+" in vain; what was is kept, and gone on with."),
		inflights: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name("inflights_total"), Help: what + ": those under way."}, labels),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name("total_duration_seconds"), Help: what + ": how long that takes.", Buckets: prometheus.ExponentialBuckets(0.1, 2, 10),
		}, labels),
	}
}

// begin counts a transfer under way; end is told how it went.
func (m *transferMetrics) begin(other core.MemberID) (end func(error)) {
	id, begun := strconv.FormatUint(uint64(other), 16), time.Now()
	m.inflights.WithLabelValues(id).Inc()
	return func(err error) {
		m.inflights.WithLabelValues(id).Dec()
		if err != nil {
			m.failures.WithLabelValues(id).Inc()
			return
		}
		m.success.WithLabelValues(id).Inc()
		m.took.WithLabelValues(id).Observe(time.Since(begun).Seconds())
	}
}

// promoteReasons are etcd's words for why a learner gets no vote; what is not among them
// is counted under its kind.
var promoteReasons = map[core.Kind]string{
	core.LearnerNotReady: "etcdserver: can only promote a learner member which is in sync with leader",
	core.NotLearner:      "membership: can only promote a learner member",
	core.MemberNotFound:  "membership: ID not found",
}

// promotion counts a promotion that this member was asked for as the leader.
func (m *stateMetrics) promotion(err error) {
	kind := core.KindOf(err)
	switch reason, ok := promoteReasons[kind]; {
	case err == nil:
		m.promoted.Inc()
	case kind == core.NotLeader: // another one counts it
	case ok:
		m.notPromoted.WithLabelValues(reason).Inc()
	default:
		m.notPromoted.WithLabelValues(kind.Error()).Inc()
	}
}

func (m *stateMetrics) collectors() []prometheus.Collector {
	all := []prometheus.Collector{m.installing, m.promoted, m.notPromoted}
	for _, t := range []*transferMetrics{&m.sent, &m.received} {
		all = append(all, t.success, t.failures, t.inflights, t.took)
	}
	return all
}
