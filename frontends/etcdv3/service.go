package etcdv3

import (
	"context"
	"unicode/utf8"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/triglot/triglot/core"
)

// service is one of etcd's services: its generated description and the handlers
// that there are. Methods without one answer Unimplemented by name.
type service struct {
	desc    grpc.ServiceDesc
	unary   map[string]grpc.MethodHandler
	streams map[string]grpc.StreamHandler
}

// describe makes the description under which svc is registered. Its handlers
// close over the face, so the implementation to register beside it is nil.
func (svc service) describe() grpc.ServiceDesc {
	desc := svc.desc
	desc.Methods = append([]grpc.MethodDesc(nil), desc.Methods...)
	for i := range desc.Methods {
		m := &desc.Methods[i]
		if m.Handler = svc.unary[m.MethodName]; m.Handler == nil {
			m.Handler = unimplementedUnary(m.MethodName)
		}
	}
	desc.Streams = append([]grpc.StreamDesc(nil), desc.Streams...)
	for i := range desc.Streams {
		s := &desc.Streams[i]
		if s.Handler = svc.streams[s.StreamName]; s.Handler == nil {
			s.Handler = unimplementedStream(s.StreamName)
		}
	}
	return desc
}

func unimplemented(method string) error {
	return status.Errorf(codes.Unimplemented, "method %s not implemented", method)
}

func unimplementedUnary(method string) grpc.MethodHandler {
	err := unimplemented(method)
	return func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
		return nil, err
	}
}

func unimplementedStream(method string) grpc.StreamHandler {
	err := unimplemented(method)
	return func(any, grpc.ServerStream) error { return err }
}

// unary makes a method of a handler that is free of the transport.
func unary[Req, Resp any](
	f *face, handle func(context.Context, core.Principal, *Req) (*Resp, error),
) grpc.MethodHandler {
	return method(f, identified(f, handle))
}

// unidentified is unary for a method that does not care who calls it, nor whether the
// token is good.
func unidentified[Req, Resp any](
	f *face, handle func(context.Context, core.Principal, *Req) (*Resp, error),
) grpc.MethodHandler {
	return method(f, func(ctx context.Context, req *Req) (*Resp, error) {
		return handle(ctx, core.Principal{}, req)
	})
}

func method[Req, Resp any](f *face, handle func(context.Context, *Req) (*Resp, error)) grpc.MethodHandler {
	return decoding(serving(f, handle))
}

// identified finds out who calls.
func identified[Req, Resp any](
	f *face, handle func(context.Context, core.Principal, *Req) (*Resp, error),
) func(context.Context, *Req) (*Resp, error) {
	return func(ctx context.Context, req *Req) (*Resp, error) {
		who, err := f.requester(ctx)
		if err != nil {
			if malformed := f.checkAlone(req); malformed != nil {
				err = malformed // etcd looks at the request first
			}
			return nil, err
		}
		return handle(ctx, who, req)
	}
}

// serving is what a unary call has done to it whatever it is about.
func serving[Req, Resp any](
	f *face, handle func(context.Context, *Req) (*Resp, error),
) func(context.Context, *Req) (*Resp, error) {
	return func(ctx context.Context, req *Req) (*Resp, error) {
		if err := f.admit(ctx, req, f.Metrics.unaryClients); err != nil {
			return nil, err
		}
		ctx, c := begin(ctx, req)
		resp, err := handle(ctx, req)
		f.end(ctx, &c, req, resp, err)
		if err != nil {
			return nil, wireError(err)
		}
		return resp, nil
	}
}

// decoding makes a method of what serves a decoded request.
func decoding[Req, Resp any](serve func(context.Context, *Req) (*Resp, error)) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		req := new(Req)
		if err := decode(req); err != nil {
			return nil, err
		}
		if intercept == nil {
			return serve(ctx, req)
		}
		method, _ := grpc.Method(ctx)
		return intercept(ctx, req, &grpc.UnaryServerInfo{Server: srv, FullMethod: method},
			func(ctx context.Context, req any) (any, error) { return serve(ctx, req.(*Req)) })
	}
}

// stream is what a streaming handler sees of its transport. Send is for one
// goroutine at a time and Recv for one, which may be another. Both fail for good
// once the stream has ended; Recv returns io.EOF when the client has nothing
// more to say. Send is done with its argument when it returns.
type stream[Req, Resp any] interface {
	Send(*Resp) error
	// SendMsg is Send of a message that only stands for a Resp.
	SendMsg(m any) error
	Recv() (*Req, error)
}

// streaming makes a streaming method of a handler that is free of the
// transport. The handler must return when ctx ends, with context.Cause(ctx).
func streaming[Req, Resp any](
	f *face, handle func(context.Context, stream[Req, Resp]) error,
) grpc.StreamHandler {
	return func(_ any, ss grpc.ServerStream) error {
		ctx := ss.Context()
		if err := f.admit(ctx, (*Req)(nil), f.Metrics.streamClients); err != nil {
			return err
		}
		if requiresLeader(ctx) {
			guarded, release := guardLeader(ctx, f.Cluster, f.ElectionTimeout)
			defer release()
			ctx = guarded
		}
		err := handle(ctx, &grpc.GenericServerStream[Req, Resp]{ServerStream: ss})
		if err != nil {
			return wireError(err)
		}
		return nil
	}
}

// admit refuses what this member may not serve now: a learner serves little, unless it
// is an observer, whose client URLs clients know; and
// a client may demand that there be a leader (etcd T-50, T-91).
func (f *face) admit(ctx context.Context, req any, clients *clientCounter) error {
	self := f.Cluster.Self()
	if self.Learner && !self.Observer && !servedByLearner(req) {
		return rpctypes.ErrGRPCNotSupportedForLearner
	}
	version := "unknown"
	if vs := metadata.ValueFromIncomingContext(ctx, rpctypes.MetadataClientAPIVersionKey); len(vs) > 0 {
		version = vs[0]
		if !utf8.ValidString(version) {
			return rpctypes.ErrGRPCInvalidClientAPIVersion
		}
	}
	clients.inc(version)
	if self.Leader == 0 && requiresLeader(ctx) {
		return rpctypes.ErrGRPCNoLeader
	}
	return nil
}

func requiresLeader(ctx context.Context) bool {
	vs := metadata.ValueFromIncomingContext(ctx, rpctypes.MetadataRequireLeaderKey)
	return len(vs) > 0 && vs[0] == rpctypes.MetadataHasLeader
}

func servedByLearner(req any) bool {
	switch r := req.(type) {
	case *pb.StatusRequest, *pb.SnapshotRequest:
		return true
	case *pb.RangeRequest:
		return r.GetSerializable() // false for RangeStream, whose request is not there yet
	default:
		return false
	}
}
