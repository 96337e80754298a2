package node

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/state"
)

// metrics are the member's, under etcd's names, so that existing dashboards and
// alerts work; what etcd knows nothing of is under triglot_. Most are read from the
// member when they are scraped (metrics_scrape.go): only what has no other home is
// counted as it happens, and that once a batch where possible.
type metrics struct {
	n       *Node
	figures []figure

	disk  diskMetrics
	apply *applyMetrics
	leaseMetrics

	leaderChanges   prometheus.Counter
	proposalsFailed prometheus.Counter
	readsFailed     prometheus.Counter
	readsSlow       prometheus.Counter

	compactionPause, compactionTotal prometheus.Histogram // milliseconds
	compactionLast                   prometheus.Gauge

	states stateMetrics
	// absent are those of which nothing ever happens here.
	absent []prometheus.Collector
}

// diskMetrics are of the raft log and the engine.
type diskMetrics struct {
	logSync, logWrite prometheus.Histogram
	logBytes          prometheus.Gauge // in etcd a gauge too, though it only grows
	commit, write     prometheus.Histogram
}

// applyMetrics are counted once a batch, on the apply goroutine.
type applyMetrics struct {
	// took is by kind of command and whether it failed; a batch's time is shared
	// equally by its commands.
	took                *prometheus.HistogramVec
	ofOp                [state.OpCount][2]prometheus.Observer
	slow, puts, deletes prometheus.Counter
	putBytes            prometheus.Gauge // in etcd a gauge too
	// ranges and txns are those of commands: views count the others.
	ranges, txns atomic.Uint64
}

// leaseMetrics are of leases, sessions among them.
type leaseMetrics struct {
	granted, renewed, revoked, expired prometheus.Counter
	ttl                                prometheus.Histogram
}

func newMetrics(n *Node) *metrics {
	m := &metrics{
		n: n,
		disk: diskMetrics{
			// etcd's buckets, and below them those where a good disk is.
			logSync:  histogram("etcd_disk_wal_fsync_duration_seconds", "How long a sync of the raft log takes.", 0.000125, 17),
			logWrite: histogram("etcd_disk_wal_write_duration_seconds", "How long a write to the raft log takes, without its sync.", 0.000125, 17),
			logBytes: newGauge("etcd_disk_wal_write_bytes_total", "Bytes written to the raft log."),
			commit: histogram("etcd_disk_backend_commit_duration_seconds",
				"How long the engine takes to commit a batch of commands, which it need not make durable.", 0.000125, 17),
			write: histogram("etcd_debugging_disk_backend_commit_write_duration_seconds", "The same: the engine does nothing else then.", 0.000125, 17),
		},
		apply:           newApplyMetrics(),
		leaderChanges:   counter("etcd_server_leader_changes_seen_total", "Changes of leader seen."),
		proposalsFailed: counter("etcd_server_proposals_failed_total", "Commands that were refused before the log, or not applied in time."),
		readsFailed:     counter("etcd_server_read_indexes_failed_total", "Questions to the quorum, for reads, that failed."),
		readsSlow:       counter("etcd_server_slow_read_indexes_total", "Questions to the quorum, for reads, that took longer than half a second."),
		compactionPause: histogram("etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
			"How long the collector of compacted history works between two rests.", 1, 13),
		compactionTotal: histogram("etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
			"How long it takes until what a compaction gave up is gone for good.", 100, 14),
		compactionLast: newGauge("etcd_debugging_mvcc_db_compaction_last", "When the last compaction's history was gone, in seconds since 1970."),
		states:         newStateMetrics(),
		absent:         absentMetrics(),
	}
	m.leaseMetrics = leaseMetrics{
		granted: counter("etcd_debugging_lease_granted_total", "Leases granted."),
		renewed: counter("etcd_debugging_lease_renewed_total", "Leases renewed."),
		revoked: counter("etcd_debugging_lease_revoked_total", "Leases revoked."),
		expired: counter("etcd_debugging_server_lease_expired_total", "Leases that ran out."),
		ttl:     histogram("etcd_debugging_lease_ttl_total", "The times to live that leases were granted, in seconds.", 1, 24),
	}
	m.addFigures()
	return m
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func newGauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

// histogram has n buckets, each twice as large as the one before it.
func histogram(name, help string, first float64, n int) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(first, 2, n),
	})
}

func newApplyMetrics() *applyMetrics {
	return &applyMetrics{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "etcd_server_apply_duration_seconds",
			Help:    "How long commands take to be applied, from the log to the view that shows them.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 20),
		}, []string{"version", "op", "success"}),
		slow:     counter("etcd_server_slow_apply_total", "Batches of commands that took longer than --warning-apply-duration to be applied, and reads that took longer."),
		puts:     counter("etcd_mvcc_put_total", "Puts applied."),
		deletes:  counter("etcd_mvcc_delete_total", "Deletions of a range applied."),
		putBytes: newGauge("etcd_debugging_mvcc_total_put_size_in_bytes", "The size of all keys and values put by this member."),
	}
}

// opNames are etcd's names of the kinds of command.
var opNames = [state.OpCount]string{
	state.OpOther: "unknown", state.OpPut: "Put", state.OpDeleteRange: "DeleteRange", state.OpTxn: "Txn",
	state.OpCompact: "Compaction", state.OpLeaseGrant: "LeaseGrant", state.OpLeaseRevoke: "LeaseRevoke",
	state.OpLeaseCheckpoint: "LeaseCheckpoint", state.OpAlarm: "Alarm", state.OpMember: "ClusterMemberAttrSet",
	state.OpDowngrade: "DowngradeInfoSet", state.OpAuth: "Auth", state.OpZnode: "Znode", state.OpSession: "Session",
}

// of returns what observes a kind of command; made when it is first needed, so that
// a scrape shows what was done, as etcd's does.
func (a *applyMetrics) of(op state.Op, failed bool) prometheus.Observer {
	which := 0
	if failed {
		which = 1
	}
	if a.ofOp[op][which] == nil {
		a.ofOp[op][which] = a.took.WithLabelValues("v3", opNames[op], strconv.FormatBool(!failed))
	}
	return a.ofOp[op][which]
}

// add counts what a batch did in a time.
func (a *applyMetrics) add(t *state.Tally, commands int, took time.Duration) {
	if commands > 0 {
		each := took.Seconds() / float64(commands)
		for op := range t.Commands {
			for range t.Commands[op] - t.Failed[op] {
				a.of(state.Op(op), false).Observe(each)
			}
			for range t.Failed[op] {
				a.of(state.Op(op), true).Observe(each)
			}
		}
	}
	addSome(a.puts, t.Puts)
	addSome(a.deletes, t.Deletes)
	a.ranges.Add(uint64(t.Ranges))
	a.txns.Add(uint64(t.Txns))
	if t.PutBytes > 0 {
		a.putBytes.Add(float64(t.PutBytes))
	}
}

func addSome(c prometheus.Counter, n int) {
	if n > 0 {
		c.Add(float64(n))
	}
}

// applied is told what a batch did, and when: it began, the engine took it from
// committing to committed, and then everybody was told.
func (m *metrics) applied(batch []consensus.Committed, delta *state.Delta, began, committing, committed, ended time.Time) {
	commands := 0
	for _, n := range delta.Tally.Commands {
		commands += n
	}
	took := ended.Sub(began)
	m.apply.add(&delta.Tally, commands, took)
	commit := committed.Sub(committing).Seconds()
	m.disk.commit.Observe(commit)
	m.disk.write.Observe(commit)
	for i := range delta.Leases {
		if l := &delta.Leases[i]; l.TTL > 0 && l.Epoch == 0 {
			m.ttl.Observe(l.TTL.Seconds())
		}
	}
	if limit := m.n.cfg.Limits.ApplyTime; limit > 0 && took > limit {
		m.apply.slow.Inc()
		bytes := 0
		for i := range batch {
			bytes += len(batch[i].Data)
		}
		m.n.cfg.Logger.Warn("apply request took too long", "took", took, "expected-duration", limit,
			"prefix", "", "commands", commands, "bytes", bytes, "revisions", len(delta.Revisions),
			"first-index", batch[0].Index, "last-index", batch[len(batch)-1].Index,
			"execute", committing.Sub(began), "commit", committed.Sub(committing), "publish", ended.Sub(committed))
	}
}

// slowSync is how long a sync of the log may take before an operator is told:
// every write waits for it (etcd: 1 s).
const slowSync = time.Second

func (m *metrics) observeSync(d time.Duration, bytes int) {
	if d > slowSync {
		m.n.cfg.Logger.Warn("slow fdatasync: the disk holds up every write", "took", d, "expected-duration", slowSync)
	}
	m.disk.logSync.Observe(d.Seconds())
	m.disk.logBytes.Add(float64(bytes))
}

// CountSlowRead counts a read that a front end found slow among the slow applies, as
// etcd does.
func (n *Node) CountSlowRead() { n.metrics.apply.slow.Inc() }

func (m *metrics) observeWrite(d time.Duration) { m.disk.logWrite.Observe(d.Seconds()) }

// slowRead is how long the quorum may take to confirm a read index.
const slowRead = 500 * time.Millisecond

func (m *metrics) observeReadIndex(took time.Duration, err error) {
	if took > slowRead {
		m.readsSlow.Inc()
	}
	if err != nil {
		m.readsFailed.Inc()
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	all := append([]prometheus.Collector{
		m,
		peerMetrics{m.n},
		m.disk.logSync, m.disk.logWrite, m.disk.logBytes, m.disk.commit, m.disk.write,
		m.apply.took, m.apply.slow, m.apply.puts, m.apply.deletes, m.apply.putBytes,
		m.granted, m.renewed, m.revoked, m.expired, m.ttl,
		m.leaderChanges, m.proposalsFailed, m.readsFailed, m.readsSlow,
		m.compactionPause, m.compactionTotal, m.compactionLast,
	}, m.absent...)
	return append(all, m.states.collectors()...)
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for _, c := range m.collectors() {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("register the member's metrics: %w", err)
		}
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r == nil {
		return
	}
	for _, c := range m.collectors() {
		r.Unregister(c)
	}
}
