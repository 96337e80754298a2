package etcdv3

import (
	"context"

	"google.golang.org/grpc"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/etcdv3/v3lockpb"
)

// lockServer is etcd's Lock service (etcd T-86).
type lockServer struct{ *face }

func (f *face) lock() service {
	s := lockServer{f}
	return service{desc: v3lockpb.Lock_ServiceDesc, unary: map[string]grpc.MethodHandler{
		"Lock":   asClient(f, s.lock),
		"Unlock": asClient(f, s.unlock),
	}}
}

// asClient is unary for the services that are clients of the others: who calls is
// found out whenever something is done in the caller's name.
func asClient[Req, Resp any](f *face, handle func(context.Context, *Req) (*Resp, error)) grpc.MethodHandler {
	return method(f, func(ctx context.Context, req *Req) (*Resp, error) {
		resp, err := handle(ctx, req)
		return resp, clientError(ctx, err)
	})
}

// lock waits for its turn. A caller who stops waiting leaves the queue.
func (s lockServer) lock(ctx context.Context, r *v3lockpb.LockRequest) (*v3lockpb.LockResponse, error) {
	p, found, err := s.enter(ctx, r.Name, r.Lease, nil)
	if err != nil {
		return nil, err
	}
	rev := found.rev
	if !found.first {
		if rev, err = p.wait(ctx); err != nil {
			p.abandon(ctx)
			return nil, err
		}
	}
	return &v3lockpb.LockResponse{Header: s.header(rev), Key: p.key}, nil
}

// unlock deletes a key: whose it is does not matter, nor whether it is there.
func (s lockServer) unlock(ctx context.Context, r *v3lockpb.UnlockRequest) (*v3lockpb.UnlockResponse, error) {
	if len(r.Key) == 0 {
		return nil, core.KeyEmpty
	}
	res, err := s.do(ctx, &core.DeleteRange{Interval: core.Interval{Key: r.Key}})
	if err != nil {
		return nil, err
	}
	return &v3lockpb.UnlockResponse{Header: s.header(res.Rev)}, nil
}
