package node

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triglot/triglot/core/peer"
)

// peerMetrics are of the ways to the other members, under etcd's names and labels
// (rafthttp/metrics.go). They are read when they are scraped.
type peerMetrics struct{ n *Node }

func peerDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("etcd_network_"+name, help, labels, nil)
}

var (
	activePeersDesc      = peerDesc("active_peers", "1 for each member to which messages can be sent.", "Local", "Remote")
	disconnectedDesc     = peerDesc("disconnected_peers_total", "Connections to a member that broke.", "Local", "Remote")
	peerSentBytesDesc    = peerDesc("peer_sent_bytes_total", "Bytes sent to a member, without whole states.", "To")
	peerReceivedDesc     = peerDesc("peer_received_bytes_total", "Bytes received from a member, without whole states.", "From")
	peerSentFailuresDesc = peerDesc("peer_sent_failures_total", "Messages to a member that were dropped.", "To")
	peerReceiveFailDesc  = peerDesc("peer_received_failures_total", "Connections from a member that broke.", "From")
	peerRTTDesc          = peerDesc("peer_round_trip_time_seconds", "How long a ping takes to a member and back.", "To")
)

// Describe implements prometheus.Collector.
func (p peerMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		activePeersDesc, disconnectedDesc, peerSentBytesDesc, peerReceivedDesc, peerSentFailuresDesc, peerReceiveFailDesc, peerRTTDesc,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (p peerMetrics) Collect(out chan<- prometheus.Metric) {
	t := p.n.peers.transport.Load()
	if t == nil {
		return
	}
	self := strconv.FormatUint(uint64(p.n.disk.id.member), 16)
	for _, s := range t.Stats() {
		collectPeer(out, self, &s)
	}
}

func collectPeer(out chan<- prometheus.Metric, self string, s *peer.Stats) {
	id := strconv.FormatUint(uint64(s.ID), 16)
	out <- prometheus.MustNewConstMetric(activePeersDesc, prometheus.GaugeValue, truth(s.Active), self, id)
	out <- prometheus.MustNewConstMetric(disconnectedDesc, prometheus.CounterValue, float64(s.Disconnects), self, id)
	count := func(desc *prometheus.Desc, n uint64) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), id)
	}
	count(peerSentBytesDesc, s.SentBytes)
	count(peerReceivedDesc, s.ReceivedBytes)
	count(peerSentFailuresDesc, s.SentFailures)
	count(peerReceiveFailDesc, s.ReceivedFailures)
	buckets, sum := make(map[float64]uint64, len(peer.RTTBuckets)), uint64(0)
	for i, bound := range peer.RTTBuckets {
		sum += s.RTT.Counts[i]
		buckets[bound] = sum
	}
	out <- prometheus.MustNewConstHistogram(peerRTTDesc, s.RTT.Count, s.RTT.Sum.Seconds(), buckets, id)
}
