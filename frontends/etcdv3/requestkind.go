package etcdv3

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// requestKind is a kind of unary request, as etcd_server_request_duration_seconds
// tells them apart. Those from kindPut on make a command.
type requestKind uint8

const (
	kindNone requestKind = iota // not timed by etcd
	kindRange
	kindReadonlyTxn
	kindHash
	kindHashKV
	kindDefragment
	kindPut
	kindDeleteRange
	kindTxn
	kindCompaction
	kindLeaseGrant
	kindLeaseRevoke
	kindAlarm
	kindAuthEnable
	kindAuthDisable
	kindAuthenticate
	kindUserAdd
	kindUserDelete
	kindUserChangePassword
	kindUserGrantRole
	kindUserRevokeRole
	kindRoleAdd
	kindRoleDelete
	kindRoleGrantPermission
	kindRoleRevokePermission
	kindCount
)

// kindNames are etcd's. Hash and its like have histograms of their own.
var kindNames = [kindCount]string{
	kindRange: "Range", kindReadonlyTxn: "ReadonlyTxn", kindPut: "Put", kindDeleteRange: "DeleteRange", kindTxn: "Txn",
	kindCompaction: "Compaction", kindLeaseGrant: "LeaseGrant", kindLeaseRevoke: "LeaseRevoke", kindAlarm: "Alarm",
	kindAuthEnable: "AuthEnable", kindAuthDisable: "AuthDisable", kindAuthenticate: "Authenticate",
	kindUserAdd: "AuthUserAdd", kindUserDelete: "AuthUserDelete", kindUserChangePassword: "AuthUserChangePassword",
	kindUserGrantRole: "AuthUserGrantRole", kindUserRevokeRole: "AuthUserRevokeRole",
	kindRoleAdd: "AuthRoleAdd", kindRoleDelete: "AuthRoleDelete",
	kindRoleGrantPermission: "AuthRoleGrantPermission", kindRoleRevokePermission: "AuthRoleRevokePermission",
}

func (k requestKind) writes() bool { return k >= kindPut }

// kindOf is flat for the sake of speed: every call comes by.
func kindOf(req any) requestKind {
	switch r := req.(type) {
	case *pb.RangeRequest:
		return kindRange
	case *pb.PutRequest:
		return kindPut
	case *pb.DeleteRangeRequest:
		return kindDeleteRange
	case *pb.TxnRequest:
		if onlyReads(r.Success) && onlyReads(r.Failure) {
			return kindReadonlyTxn
		}
		return kindTxn
	case *pb.CompactionRequest:
		return kindCompaction
	case *pb.LeaseGrantRequest:
		return kindLeaseGrant
	case *pb.LeaseRevokeRequest:
		return kindLeaseRevoke
	case *pb.AlarmRequest:
		return kindAlarm
	case *pb.HashRequest:
		return kindHash
	case *pb.HashKVRequest:
		return kindHashKV
	case *pb.DefragmentRequest:
		return kindDefragment
	default:
		return authKindOf(req)
	}
}

func authKindOf(req any) requestKind {
	switch req.(type) {
	case *pb.AuthEnableRequest:
		return kindAuthEnable
	case *pb.AuthDisableRequest:
		return kindAuthDisable
	case *pb.AuthenticateRequest:
		return kindAuthenticate
	case *pb.AuthUserAddRequest:
		return kindUserAdd
	case *pb.AuthUserDeleteRequest:
		return kindUserDelete
	case *pb.AuthUserChangePasswordRequest:
		return kindUserChangePassword
	case *pb.AuthUserGrantRoleRequest:
		return kindUserGrantRole
	case *pb.AuthUserRevokeRoleRequest:
		return kindUserRevokeRole
	case *pb.AuthRoleAddRequest:
		return kindRoleAdd
	case *pb.AuthRoleDeleteRequest:
		return kindRoleDelete
	case *pb.AuthRoleGrantPermissionRequest:
		return kindRoleGrantPermission
	case *pb.AuthRoleRevokePermissionRequest:
		return kindRoleRevokePermission
	default:
		return kindNone
	}
}

func onlyReads(ops []*pb.RequestOp) bool {
	for _, op := range ops {
		if op.GetRequestRange() == nil {
			return false
		}
	}
	return true
}

// requestMetrics time unary requests. It is safe for concurrent use.
type requestMetrics struct {
	took *prometheus.HistogramVec
	// ranges times ranges once more, as etcd does.
	ranges *prometheus.HistogramVec
	// of are the parts of both, made when they are first needed: a scrape shows what
	// was asked for, as etcd's does.
	of [kindCount][2]atomic.Pointer[part]
	// hash, hashKV and defrag time those requests that succeed, backup the streams
	// of Maintenance.Snapshot.
	hash, hashKV, defrag, backup prometheus.Histogram
	defragmenting                prometheus.Gauge
}

func newRequestMetrics() *requestMetrics {
	histogram := func(name, help string, first float64, n int) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(first, 2, n),
		})
	}
	return &requestMetrics{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "etcd_server_request_duration_seconds",
			Help:    "Response latency distribution in seconds for each type.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"type", "success"}),
		ranges: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "etcd_server_range_duration_seconds",
			Help:    "How long ranges take.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 20),
		}, []string{"success"}),
		hash:   histogram("etcd_mvcc_hash_duration_seconds", "How long Hash takes.", .01, 15),
		hashKV: histogram("etcd_mvcc_hash_rev_duration_seconds", "How long HashKV takes.", .01, 15),
		defrag: histogram("etcd_disk_backend_defrag_duration_seconds", "How long Defragment takes, which has nothing to do.", .1, 13),
		backup: histogram("etcd_disk_backend_snapshot_duration_seconds", "How long it takes to make and send a snapshot.", .01, 17),
		defragmenting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "etcd_disk_defrag_inflight", Help: "Always zero: there is nothing to defragment.",
		}),
	}
}

func (m *requestMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.took, m.ranges, m.hash, m.hashKV, m.defrag, m.backup, m.defragmenting}
}

func (m *requestMetrics) observe(k requestKind, took time.Duration, ok bool) {
	seconds := took.Seconds()
	switch k {
	case kindNone:
	case kindHash, kindHashKV, kindDefragment:
		if ok {
			map[requestKind]prometheus.Histogram{kindHash: m.hash, kindHashKV: m.hashKV, kindDefragment: m.defrag}[k].Observe(seconds)
		}
	default:
		part := m.part(k, ok)
		part.took.Observe(seconds)
		if part.ranges != nil {
			part.ranges.Observe(seconds)
		}
	}
}

// part is what observes requests of one kind.
type part struct{ took, ranges prometheus.Observer }

func (m *requestMetrics) part(k requestKind, ok bool) *part {
	which := 0
	if ok {
		which = 1
	}
	p := m.of[k][which].Load()
	if p == nil {
		success := strconv.FormatBool(ok)
		p = &part{took: m.took.WithLabelValues(kindNames[k], success)}
		if k == kindRange {
			p.ranges = m.ranges.WithLabelValues(success)
		}
		m.of[k][which].Store(p)
	}
	return p
}
