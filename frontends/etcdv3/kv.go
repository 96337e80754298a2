package etcdv3

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/triglot/triglot/core"
)

// kvServer is etcd's KV service.
type kvServer struct{ *face }

func (f *face) kv() service {
	s := kvServer{f}
	return service{desc: pb.KV_ServiceDesc, unary: map[string]grpc.MethodHandler{
		"Range":       s.rangeMethod(),
		"Put":         unary(f, s.put),
		"DeleteRange": unary(f, s.deleteRange),
		"Txn":         unary(f, s.txn),
		"Compact":     unary(f, s.compact),
	}, streams: map[string]grpc.StreamHandler{
		"RangeStream": streaming(f, s.rangeStream),
	}}
}

func (s kvServer) rangeKeys(ctx context.Context, who core.Principal, r *pb.RangeRequest) (*encodedRange, error) {
	if err := checkRange(r); err != nil {
		return nil, err
	}
	view, err := s.Store.View(ctx, who, core.Consistency{Linearizable: !r.Serializable})
	if err != nil {
		return nil, err
	}
	defer view.Close()
	reply := newEncodedRange(ctx, r, s.ranges)
	s.fill(&reply.header, view.Rev())
	reply.begin()
	res, err := view.Range(ctx, &reply.query)
	if err != nil {
		return nil, reply.drop(err)
	}
	reply.end(res.More, res.Count, &reply.header)
	return reply, nil
}

// rangeMethod is unary for rangeKeys, without memory of its own for the request.
func (s kvServer) rangeMethod() grpc.MethodHandler {
	serve := serving(s.face, identified(s.face, s.rangeKeys))
	intercepted := decoding(serve)
	return func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		if intercept != nil { // it may keep the request
			return intercepted(srv, ctx, decode, intercept)
		}
		req := rangeRequests.Get().(*rangeRequest)
		defer req.recycle()
		if err := decode(req); err != nil {
			return nil, err
		}
		return serve(ctx, &req.RangeRequest)
	}
}

// putReply is a PutResponse with its header in one allocation.
type putReply struct {
	pb.PutResponse
	header pb.ResponseHeader
}

func (s kvServer) put(ctx context.Context, who core.Principal, r *pb.PutRequest) (*pb.PutResponse, error) {
	if err := checkPut(r); err != nil {
		return nil, err
	}
	res, err := s.Store.Do(ctx, who, putOf(r))
	if err != nil {
		return nil, err
	}
	reply := new(putReply)
	reply.Header = &reply.header
	s.fill(reply.Header, res.Rev)
	if out, ok := res.Outcome.(core.PutOutcome); ok {
		reply.PrevKv = kvOf(out.Prev)
	}
	return &reply.PutResponse, nil
}

func (s kvServer) deleteRange(
	ctx context.Context, who core.Principal, r *pb.DeleteRangeRequest,
) (*pb.DeleteRangeResponse, error) {
	if err := checkDelete(r); err != nil {
		return nil, err
	}
	res, err := s.Store.Do(ctx, who, deleteOf(r))
	if err != nil {
		return nil, err
	}
	resp := &pb.DeleteRangeResponse{Header: &pb.ResponseHeader{}}
	s.fill(resp.Header, res.Rev)
	if out, ok := res.Outcome.(core.DeleteOutcome); ok {
		resp.Deleted = out.Deleted
		resp.PrevKvs = kvsOf(out.Prev)
	}
	return resp, nil
}

// txnReply is a TxnResponse that, if it is large, holds a part of the budget until it
// has been sent.
type txnReply struct {
	pb.TxnResponse
	header pb.ResponseHeader
	hold   *rangeHold
}

// withoutHold is a reply of this package as what it is on the wire.
func withoutHold(reply any) any {
	r, ok := reply.(*txnReply)
	switch {
	case !ok:
		return reply
	case r == nil:
		return (*pb.TxnResponse)(nil)
	}
	return &r.TxnResponse
}

func (s kvServer) txn(ctx context.Context, who core.Principal, r *pb.TxnRequest) (*txnReply, error) {
	if err := checkTxn(r, int(s.Limits.TxnOps)); err != nil {
		return nil, err
	}
	// After the check, which bounds the nesting. The branches of the outermost
	// transaction need not be compared with each other either.
	if _, err := checkBranches(r); err != nil {
		return nil, err
	}
	txn := txnOf(r)
	reply := &txnReply{}
	if txn.ReadOnly() {
		reply.hold = s.ranges.hold(ctx)
		for _, branch := range [2][]core.Op{txn.Then, txn.Else} {
			for i := range branch {
				branch[i].Range.Grow = reply.hold.grow
			}
		}
	}
	out, rev, err := s.runTxn(ctx, who, txn, serializable(r))
	if err != nil {
		return nil, reply.hold.refuse(err)
	}
	if out.TooLarge {
		return nil, errTxnTooLarge
	}
	reply.Header = &reply.header
	setTxnResponse(&reply.TxnResponse, txn, &out)
	s.fill(reply.Header, rev)
	return reply, nil
}

// runTxn evaluates a transaction that cannot change anything on a view, and has
// any other replicated (etcd T-38).
func (s kvServer) runTxn(
	ctx context.Context, who core.Principal, txn *core.Txn, serializable bool,
) (core.TxnOutcome, core.Rev, error) {
	if !txn.ReadOnly() {
		res, err := s.Store.Do(ctx, who, txn)
		if err != nil {
			return core.TxnOutcome{}, 0, err
		}
		out, ok := res.Outcome.(core.TxnOutcome)
		if !ok {
			panic("etcdv3: a transaction has an outcome that is not a transaction's")
		}
		return out, res.Rev, nil
	}
	view, err := s.Store.View(ctx, who, core.Consistency{Linearizable: !serializable})
	if err != nil {
		return core.TxnOutcome{}, 0, err
	}
	defer view.Close()
	out, err := view.Txn(ctx, txn)
	return out, view.Rev(), err
}

// serializable reports whether a read-only transaction may be served from local
// state: if all its ranges may, and so if it has none.
func serializable(r *pb.TxnRequest) bool {
	for _, branch := range [2][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range branch {
			if rng := op.GetRequestRange(); rng == nil || !rng.Serializable {
				return false
			}
		}
	}
	return true
}

func (s kvServer) compact(
	ctx context.Context, who core.Principal, r *pb.CompactionRequest,
) (*pb.CompactionResponse, error) {
	rev := core.Rev(r.Revision)
	res, err := s.Store.Do(ctx, who, &core.Compact{Rev: rev})
	if err != nil {
		return nil, err
	}
	current := res.Rev
	if r.Physical {
		if err := s.Maintenance.WaitCompacted(ctx, rev); err != nil {
			return nil, err
		}
		current = max(current, s.Cluster.Status().Rev) // that of the reply, not of the request
	}
	resp := &pb.CompactionResponse{Header: &pb.ResponseHeader{}}
	s.fill(resp.Header, current)
	return resp, nil
}
