package etcdv3

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/triglot/triglot/core"
)

// Requests, which have passed their checks, to the core's commands. Keys and
// values are shared: a request is immutable once it is decoded.

func rangeOf(r *pb.RangeRequest) *core.Range {
	q := new(core.Range)
	setRange(q, r)
	return q
}

// setRange is rangeOf into a query that has at most its functions set.
func setRange(q *core.Range, r *pb.RangeRequest) {
	q.Interval = core.Interval{Key: r.Key, End: r.RangeEnd}
	q.Rev = core.Rev(r.Revision)
	q.Limit = r.Limit
	q.SortTarget = core.SortTarget(r.SortTarget) // in bounds: checkRange
	q.SortOrder = core.SortOrder(r.SortOrder)
	q.KeysOnly = r.KeysOnly
	q.CountOnly = r.CountOnly
	q.MinModRev, q.MaxModRev = core.Rev(r.MinModRevision), core.Rev(r.MaxModRevision)
	q.MinCreateRev, q.MaxCreateRev = core.Rev(r.MinCreateRevision), core.Rev(r.MaxCreateRevision)
}

func putOf(r *pb.PutRequest) *core.Put {
	return &core.Put{
		Key:         r.Key,
		Value:       r.Value,
		Lease:       core.LeaseID(r.Lease),
		PrevKV:      r.PrevKv,
		IgnoreValue: r.IgnoreValue,
		IgnoreLease: r.IgnoreLease,
	}
}

func deleteOf(r *pb.DeleteRangeRequest) *core.DeleteRange {
	return &core.DeleteRange{
		Interval: core.Interval{Key: r.Key, End: r.RangeEnd},
		PrevKV:   r.PrevKv,
	}
}

func txnOf(r *pb.TxnRequest) *core.Txn {
	return &core.Txn{
		Compares: comparesOf(r.Compare),
		Then:     opsOf(r.Success),
		Else:     opsOf(r.Failure),
	}
}

func opsOf(ops []*pb.RequestOp) []core.Op {
	if len(ops) == 0 {
		return nil
	}
	out := make([]core.Op, len(ops))
	for i, op := range ops {
		switch o := op.Request.(type) {
		case *pb.RequestOp_RequestRange:
			out[i].Range = rangeOf(o.RequestRange)
		case *pb.RequestOp_RequestPut:
			out[i].Put = putOf(o.RequestPut)
		case *pb.RequestOp_RequestDeleteRange:
			out[i].Delete = deleteOf(o.RequestDeleteRange)
		case *pb.RequestOp_RequestTxn:
			out[i].Txn = txnOf(o.RequestTxn)
		}
	}
	return out
}

func comparesOf(compares []*pb.Compare) []core.Compare {
	if len(compares) == 0 {
		return nil
	}
	out := make([]core.Compare, len(compares))
	for i, c := range compares {
		out[i] = compareOf(c)
	}
	return out
}

// compareOf translates a compare. An operand of another type than the target
// counts as zero (etcd T-34).
func compareOf(c *pb.Compare) core.Compare {
	out := core.Compare{
		Interval: core.Interval{Key: c.Key, End: c.RangeEnd},
		Target:   core.CompareTarget(c.Target),
		Result:   core.CompareResult(c.Result),
	}
	knownResult := c.Result >= pb.Compare_EQUAL && c.Result <= pb.Compare_NOT_EQUAL
	switch c.Target {
	case pb.Compare_VERSION:
		out.Number = c.GetVersion()
	case pb.Compare_CREATE:
		out.Number = c.GetCreateRevision()
	case pb.Compare_MOD:
		out.Number = c.GetModRevision()
	case pb.Compare_LEASE:
		out.Number = c.GetLease()
	case pb.Compare_VALUE:
		out.Value = c.GetValue()
		if !knownResult {
			return exists(out.Interval)
		}
	default:
		// etcd finds both sides of an unknown target equal.
		return constant(out.Interval, !knownResult || c.Result == pb.Compare_EQUAL)
	}
	if !knownResult {
		return constant(out.Interval, true) // so etcd evaluates an unknown relation
	}
	return out
}

// exists is a compare that holds where there are keys.
func exists(iv core.Interval) core.Compare {
	return core.Compare{Interval: iv, Target: core.CompareVersion, Result: core.CompareGreater}
}

// constant is a compare that always holds, or never does: no version is
// negative.
func constant(iv core.Interval, holds bool) core.Compare {
	result := core.CompareEqual
	if holds {
		result = core.CompareNotEqual
	}
	return core.Compare{Interval: iv, Target: core.CompareVersion, Result: result, Number: -1}
}

// The core's answers to responses.

// setKV writes kv, a live key, into an empty message.
func setKV(out *mvccpb.KeyValue, kv *core.KV) {
	out.Key = kv.Key
	out.CreateRevision = int64(kv.CreateRev)
	out.ModRevision = int64(kv.ModRev)
	out.Version = kv.Version
	out.Value = kv.Value
	out.Lease = int64(kv.Lease)
}

// kvOf translates a key that may be absent.
func kvOf(kv *core.KV) *mvccpb.KeyValue {
	if kv == nil {
		return nil
	}
	out := new(mvccpb.KeyValue)
	setKV(out, kv)
	return out
}

// kvsOf translates keys with two allocations, however many there are.
func kvsOf(kvs []*core.KV) []*mvccpb.KeyValue {
	if len(kvs) == 0 {
		return nil
	}
	slab := make([]mvccpb.KeyValue, len(kvs))
	out := make([]*mvccpb.KeyValue, len(kvs))
	for i, kv := range kvs {
		setKV(&slab[i], kv)
		out[i] = &slab[i]
	}
	return out
}

// rangeReply is a RangeResponse within a transaction's, with its header and, as most
// have just one, its first key, in one allocation.
type rangeReply struct {
	pb.RangeResponse
	op     pb.ResponseOp
	kind   pb.ResponseOp_ResponseRange
	header pb.ResponseHeader
	kv     mvccpb.KeyValue
	kvs    [1]*mvccpb.KeyValue
}

// putOpReply is a PutResponse within a transaction's, in one allocation.
type putOpReply struct {
	op       pb.ResponseOp
	kind     pb.ResponseOp_ResponsePut
	response pb.PutResponse
	header   pb.ResponseHeader
}

// rangeResponse translates the answer to r. The header is there and empty.
func rangeResponse(r *core.Range, res *core.RangeResult) *rangeReply {
	reply := new(rangeReply)
	reply.Header = &reply.header
	reply.More = res.More
	reply.Count = res.Count
	if len(res.KVs) == 1 {
		setKV(&reply.kv, res.KVs[0])
		reply.kvs[0] = &reply.kv
		reply.Kvs = reply.kvs[:]
	} else {
		reply.Kvs = kvsOf(res.KVs)
	}
	if r.KeysOnly {
		stripKVs(r, reply.Kvs)
	}
	return reply
}

// stripKVs leaves of each key what etcd returns with keys_only. Unless it needs
// the values to sort by, etcd reads its index alone, which knows of no leases
// (T-14).
func stripKVs(r *core.Range, kvs []*mvccpb.KeyValue) {
	for _, kv := range kvs {
		kv.Value = nil
		if r.SortTarget != core.SortByValue {
			kv.Lease = 0
		}
	}
}

// txnResponse translates the outcome of t, which has been applied or evaluated.
// The header is there and empty, as it stays in nested responses.
func txnResponse(t *core.Txn, out *core.TxnOutcome) *pb.TxnResponse {
	resp := &pb.TxnResponse{Header: &pb.ResponseHeader{}}
	setTxnResponse(resp, t, out)
	return resp
}

// setTxnResponse is txnResponse into a message with nothing but a header.
func setTxnResponse(resp *pb.TxnResponse, t *core.Txn, out *core.TxnOutcome) {
	branch := t.Then
	if !out.Succeeded {
		branch = t.Else
	}
	resp.Succeeded = out.Succeeded
	resp.Responses = make([]*pb.ResponseOp, len(out.Ops))
	for i := range out.Ops {
		resp.Responses[i] = opResponse(&branch[i], &out.Ops[i])
	}
}

func opResponse(op *core.Op, out *core.OpOutcome) *pb.ResponseOp {
	switch o := out.Outcome.(type) {
	case *core.RangeOutcome:
		r := rangeResponse(op.Range, &o.RangeResult)
		r.header.Revision = int64(out.Rev)
		r.kind.ResponseRange, r.op.Response = &r.RangeResponse, &r.kind
		return &r.op
	case core.PutOutcome:
		r := new(putOpReply)
		r.header.Revision = int64(out.Rev)
		r.response.Header, r.response.PrevKv = &r.header, kvOf(o.Prev)
		r.kind.ResponsePut, r.op.Response = &r.response, &r.kind
		return &r.op
	case core.DeleteOutcome:
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: &pb.DeleteRangeResponse{
			Header:  &pb.ResponseHeader{Revision: int64(out.Rev)},
			Deleted: o.Deleted,
			PrevKvs: kvsOf(o.Prev),
		}}}
	case core.TxnOutcome:
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: txnResponse(op.Txn, &o)}}
	default:
		panic("etcdv3: an operation of a transaction has an outcome of an unknown type")
	}
}
