package oracle

import (
	"bytes"
	"math/rand/v2"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// The space of keys is small, so that requests meet. It stays below a dozen: up
// to there etcd's unstable sort is stable, and equal elements have an order.
var keys = []string{"a", "a/", "a/1", "b", "b/1", "c", "\x00", "\xff\xff"}

var values = []string{"", "0", "1", "1\x00", "\xff"}

// Leases live far longer than a run, and their times to live are far apart: what
// is left of them, and their order by expiry, depend on the requests alone.
var (
	leaseIDs  = []int64{1, 2, 3, 4, -7}
	leaseTTLs = []int64{1000, 2000, 3000, 9_000_000_000}
)

// maxTxnDepth bounds the nesting of generated txns.
const maxTxnDepth = 3

// generator draws requests. They are a function of the random source and of what
// it knows of the store.
type generator struct {
	*rand.Rand
	rev, compacted int64 // of the store
	// sensible leaves out ranges that no key can be in: whether somebody may look at
	// nothing depends, in etcd, on the shape of its tree of permissions.
	sensible bool
}

// chance is true with probability percent/100.
func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g generator, from []T) T { return from[g.IntN(len(from))] }

func (g generator) key() []byte {
	if g.chance(1) {
		return nil
	}
	return []byte(pick(g, keys))
}

func (g generator) value() []byte {
	if g.chance(1) {
		return bytes.Repeat([]byte("long"), 10_000)
	}
	return []byte(pick(g, values))
}

// interval draws a key and a range end: mostly one key, else a prefix, from a
// key on, everything, or any two keys, in order or not.
func (g generator) interval(percentSingle int) (key, end []byte) {
	key, end = g.anyInterval(percentSingle)
	if g.sensible && len(end) > 0 && string(end) != "\x00" && bytes.Compare(key, end) >= 0 {
		return key, nil
	}
	return key, end
}

func (g generator) anyInterval(percentSingle int) (key, end []byte) {
	key = g.key()
	if g.chance(percentSingle) || len(key) == 0 {
		return key, nil
	}
	switch g.IntN(4) {
	case 0:
		end = append([]byte(nil), key...)
		end[len(end)-1]++ // wraps to an empty range for \xff: that is a case too
		return key, end
	case 1:
		return key, []byte{0}
	case 2:
		return []byte{0}, []byte{0}
	default:
		return key, []byte(pick(g, keys))
	}
}

// lease draws the lease of a put: mostly none, sometimes one that may not exist.
func (g generator) lease() int64 {
	if g.chance(70) {
		return 0
	}
	return g.leaseID()
}

// leaseID draws a lease's id: one of a few, or one that a server may have drawn.
func (g generator) leaseID() int64 {
	if g.chance(15) {
		return firstAlias + int64(g.IntN(3))
	}
	return pick(g, leaseIDs)
}

// revision draws the revision of a read: mostly the current one, else one near
// the edges of history.
func (g generator) revision() int64 {
	switch n := g.IntN(100); {
	case n < 65:
		return 0
	case n < 85:
		return g.compacted + g.Int64N(g.rev-g.compacted+1)
	case n < 92:
		return g.compacted - 1 + g.Int64N(3)
	case n < 97:
		return g.rev + g.Int64N(3)
	default:
		return -1 - g.Int64N(3)
	}
}

// number draws a small non-negative number: a version, or a revision of a filter.
func (g generator) number() int64 {
	if g.chance(50) {
		return g.Int64N(4)
	}
	return g.Int64N(g.rev + 2)
}

func (g generator) rangeRequest() *pb.RangeRequest {
	r := &pb.RangeRequest{Revision: g.revision(), Serializable: g.chance(20)}
	r.Key, r.RangeEnd = g.interval(30)
	if g.chance(40) {
		r.Limit = g.Int64N(5) - 1
	}
	if g.chance(30) {
		r.SortOrder = pb.RangeRequest_SortOrder(g.IntN(3))
		r.SortTarget = pb.RangeRequest_SortTarget(g.IntN(5))
	}
	if g.chance(2) {
		r.SortOrder = 3
	}
	r.KeysOnly, r.CountOnly = g.chance(10), g.chance(10)
	for _, filter := range []*int64{&r.MinModRevision, &r.MaxModRevision, &r.MinCreateRevision, &r.MaxCreateRevision} {
		if g.chance(6) {
			*filter = g.number()
		}
	}
	return r
}

func (g generator) putRequest() *pb.PutRequest {
	r := &pb.PutRequest{Key: g.key(), Value: g.value(), Lease: g.lease(), PrevKv: g.chance(30)}
	if g.chance(10) {
		r.IgnoreValue = true
		if g.chance(80) {
			r.Value = nil
		}
	}
	if g.chance(10) {
		r.IgnoreLease = true
		if g.chance(80) {
			r.Lease = 0
		}
	}
	return r
}

func (g generator) deleteRequest() *pb.DeleteRangeRequest {
	r := &pb.DeleteRangeRequest{PrevKv: g.chance(50)}
	r.Key, r.RangeEnd = g.interval(75)
	return r
}

// txn draws a txn of which etcd does not die. etcd compares puts and deletes of a
// txn, but takes the open end "\0" of a delete literally and does not compare a
// delete in a nested txn with a put in an earlier sibling. A revision that both
// puts and deletes a key then ends its process: at once if the put ignores the
// value or lease, else with the first read after a compaction there. The script
// has what can be compared of that.
func (g generator) txn() *pb.TxnRequest {
	for {
		r := g.txnRequest(0)
		var w writes
		w.add(r.Success)
		w.add(r.Failure)
		if !w.openEnd && (!w.nested || !w.overlap()) {
			return r
		}
	}
}

// writes is what the operations of a txn write, in either branch and at any
// depth.
type writes struct {
	puts, deletes   []keyRange
	nested, openEnd bool
}

// keyRange is [key, end).
type keyRange struct{ key, end string }

func (w *writes) add(ops []*pb.RequestOp) {
	for _, op := range ops {
		switch op := op.Request.(type) {
		case *pb.RequestOp_RequestPut:
			key := string(op.RequestPut.Key)
			w.puts = append(w.puts, keyRange{key, key + "\x00"})
		case *pb.RequestOp_RequestDeleteRange:
			key, end := string(op.RequestDeleteRange.Key), string(op.RequestDeleteRange.RangeEnd)
			w.openEnd = w.openEnd || end == "\x00"
			if end == "" {
				end = key + "\x00"
			}
			w.deletes = append(w.deletes, keyRange{key, end})
		case *pb.RequestOp_RequestTxn:
			w.nested = true
			w.add(op.RequestTxn.Success)
			w.add(op.RequestTxn.Failure)
		}
	}
}

// overlap reports whether a key is both put and deleted.
func (w *writes) overlap() bool {
	for _, put := range w.puts {
		for _, del := range w.deletes {
			if del.key <= put.key && put.key < del.end {
				return true
			}
		}
	}
	return false
}

func (g generator) txnRequest(depth int) *pb.TxnRequest {
	r := &pb.TxnRequest{}
	for range g.IntN(3) {
		r.Compare = append(r.Compare, g.compare())
	}
	for range g.IntN(4) {
		r.Success = append(r.Success, g.op(depth))
	}
	for range g.IntN(3) {
		r.Failure = append(r.Failure, g.op(depth))
	}
	return r
}

func (g generator) op(depth int) *pb.RequestOp {
	switch n := g.IntN(100); {
	case n < 35:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: g.putRequest()}}
	case n < 65:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: g.rangeRequest()}}
	case n < 85:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: g.deleteRequest()}}
	case n < 99 && depth < maxTxnDepth:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: g.txnRequest(depth + 1)}}
	case n < 99:
		return g.op(0)
	default:
		return &pb.RequestOp{}
	}
}

func (g generator) compare() *pb.Compare {
	c := &pb.Compare{
		Result: pb.Compare_CompareResult(g.IntN(4)),
		Target: pb.Compare_CompareTarget(g.IntN(5)),
	}
	c.Key, c.RangeEnd = g.interval(75)
	target := c.Target
	if g.chance(3) {
		target = pb.Compare_CompareTarget(g.IntN(6)) // not the one that is compared, or none
	}
	switch target {
	case pb.Compare_VERSION:
		c.TargetUnion = &pb.Compare_Version{Version: g.Int64N(4)}
	case pb.Compare_CREATE:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: g.number()}
	case pb.Compare_MOD:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: g.number()}
	case pb.Compare_VALUE:
		c.TargetUnion = &pb.Compare_Value{Value: g.value()}
	case pb.Compare_LEASE:
		c.TargetUnion = &pb.Compare_Lease{Lease: g.lease()}
	}
	return c
}

func (g generator) compactRequest() *pb.CompactionRequest {
	r := &pb.CompactionRequest{Physical: g.chance(50)}
	switch n := g.IntN(100); {
	case n < 70:
		r.Revision = g.compacted + g.Int64N(max(1, (g.rev-g.compacted)*3/4))
	case n < 85:
		r.Revision = g.rev - 1 + g.Int64N(3)
	default:
		r.Revision = g.compacted - 1 + g.Int64N(3)
	}
	return r
}

func (g generator) grantRequest() *pb.LeaseGrantRequest {
	r := &pb.LeaseGrantRequest{ID: pick(g, leaseIDs), TTL: pick(g, leaseTTLs)}
	if g.chance(10) {
		r.ID = 0
	}
	if g.chance(5) {
		r.TTL = 9_000_000_001
	}
	return r
}

// unary draws a unary call.
func (g generator) unary() (name string, request proto.Message) {
	switch n := g.IntN(100); {
	case n < 28:
		return "put", g.putRequest()
	case n < 55:
		return "txn", g.txn()
	case n < 70:
		return "range", g.rangeRequest()
	case n < 73:
		r := g.rangeRequest()
		if r.SortOrder == pb.RangeRequest_NONE {
			r.SortTarget = pb.RangeRequest_KEY // etcd lets another one through, and sorts each message by itself
		}
		return "rangestream", r
	case n < 81:
		return "delete", g.deleteRequest()
	case n < 83:
		return "compact", g.compactRequest()
	case n < 88:
		return "grant", g.grantRequest()
	case n < 91:
		return "revoke", &pb.LeaseRevokeRequest{ID: g.leaseID()}
	case n < 95:
		return "ttl", &pb.LeaseTimeToLiveRequest{ID: g.leaseID(), Keys: g.chance(60)}
	case n < 98:
		return "keepalive", &pb.LeaseKeepAliveRequest{ID: g.leaseID()}
	default:
		return "leases", &pb.LeaseLeasesRequest{}
	}
}

// watchCreate draws a watch that starts now, in the past, or with a revision
// that is refused.
func (g generator) watchCreate() *pb.WatchCreateRequest {
	r := &pb.WatchCreateRequest{PrevKv: g.chance(50), Fragment: g.chance(20), ProgressNotify: g.chance(20)}
	r.Key, r.RangeEnd = g.interval(40)
	switch n := g.IntN(100); {
	case n < 35:
	case n < 80:
		r.StartRevision = min(g.rev, g.compacted+g.Int64N(g.rev-g.compacted+1))
	case n < 95:
		r.StartRevision = min(g.rev, max(1, g.compacted-1+g.Int64N(3)))
	default:
		r.StartRevision = -1
	}
	if g.chance(25) {
		r.WatchId = 1 + g.Int64N(4)
	}
	for _, filter := range []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT, pb.WatchCreateRequest_NODELETE} {
		if g.chance(15) {
			r.Filters = append(r.Filters, filter)
		}
	}
	return r
}
