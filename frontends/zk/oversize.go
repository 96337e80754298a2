package zk

import (
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triglot/triglot/core"
)

// clientMaxFrame is the longest frame that a Java client takes whose jute.maxbuffer
// was left alone. At a longer one it closes the connection, connects again and asks
// again, without end (ZooKeeper 3.9 ClientCnxnSocket.readLength).
const clientMaxFrame = 0xfffff

// oversizes takes note of replies that a stock client refuses. A server sends them, as
// ZooKeeper does, for the client may have been told to take more.
type oversizes struct {
	// replies counts them, and last is the size of the last one in bytes.
	replies, last atomic.Int64

	// told keeps the log from telling of each.
	told sparing[oversize]
}

// oversize is who was sent what.
type oversize struct {
	session  core.LeaseID
	op, path string
}

// figures are those of the metrics, which ZooKeeper does not have: there are none before
// the first such reply. Which path and which session it was about is for the log: there
// are too many for labels.
func (s *oversizes) figures() []figure {
	n := s.replies.Load()
	if n == 0 {
		return nil
	}
	return []figure{{
		description: description{"response_over_jute_maxbuffer", "Replies that a Java client refuses unless its jute.maxbuffer is raised."},
		kind:        prometheus.CounterValue, value: float64(n),
	}, {
		description: description{"last_response_over_jute_maxbuffer", "Bytes of the last such reply."},
		kind:        prometheus.GaugeValue, value: float64(s.last.Load()),
	}}
}

// weigh tells an operator of a reply of some size to q that a stock client refuses.
func (c *conn) weigh(q *request, size int) {
	if size <= clientMaxFrame || strings.HasPrefix(q.op.name, "setWatches") { // which is many frames
		return
	}
	s := c.srv
	s.stats.oversizes.replies.Add(1)
	s.stats.oversizes.last.Store(int64(size))
	left, ok := s.stats.oversizes.told.due(oversize{c.session.ID, q.op.name, q.path}, s.clock())
	if !ok {
		return
	}
	s.cfg.Logger.Warn("zookeeper client is sent more than a Java client takes unless its jute.maxbuffer is raised: it may reconnect for ever",
		"path", q.path, "op", q.op.name, "bytes", size, "limit", clientMaxFrame,
		"session", sessionID(c.session.ID), "client", c.nc.RemoteAddr(), "left_out", left)
}
