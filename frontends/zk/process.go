package zk

import "math"

// processFigures are figures that ZooKeeper has too, of parts of the process that are
// not this face.
type processFigures struct {
	fsync, elections figures
	commits, expired float64
}

// The metrics that they come from (Config.Process).
const (
	fsyncMetric   = "etcd_disk_wal_fsync_duration_seconds"
	leadersMetric = "etcd_server_leader_changes_seen_total"
	commitsMetric = "etcd_server_proposals_committed_total"
	expiredMetric = "etcd_debugging_server_lease_expired_total"
)

// process reads them. Of what is not there, they are zero.
func (s *Server) process() (p processFigures) {
	p.fsync.quantiles, p.elections.quantiles = map[float64]float64{}, map[float64]float64{}
	if s.cfg.Process == nil {
		return p
	}
	families, err := s.cfg.Process.Gather()
	if err != nil {
		s.cfg.Logger.Debug("some metrics cannot be read", "error", err) // those that can be are there
	}
	for _, f := range families {
		if len(f.GetMetric()) == 0 {
			continue
		}
		m := f.GetMetric()[0]
		value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
		switch f.GetName() {
		case fsyncMetric:
			h := m.GetHistogram()
			counts := make([]bucket, 0, len(h.GetBucket()))
			for _, b := range h.GetBucket() {
				counts = append(counts, bucket{b.GetUpperBound(), b.GetCumulativeCount()})
			}
			p.fsync = ofHistogram(h.GetSampleCount(), h.GetSampleSum(), counts)
		case leadersMetric:
			p.elections.n = uint64(value)
		case commitsMetric:
			p.commits = value
		case expiredMetric:
			p.expired = value
		}
	}
	return p
}

// bucket is how many times were at most so many seconds long.
type bucket struct {
	bound float64
	count uint64
}

// ofHistogram makes milliseconds of a histogram of seconds. A quantile is the bound of
// the bucket that it is in; the longest time is not known closer either.
func ofHistogram(n uint64, seconds float64, buckets []bucket) figures {
	f := figures{n: n, sum: seconds * 1e3, quantiles: map[float64]float64{}}
	for _, b := range buckets {
		bound := b.bound * 1e3
		for _, q := range quantiles {
			if _, known := f.quantiles[q]; !known && n > 0 && float64(b.count) >= q*float64(n) {
				f.quantiles[q] = bound
			}
		}
		if f.most == 0 && b.count == n && n > 0 {
			f.most = bound
		}
	}
	// Not known of each, but no more than if all were the longest.
	f.whole = min(math.Floor(f.sum), math.Floor(f.most)*float64(n))
	return f
}
