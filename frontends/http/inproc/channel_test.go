package inproc

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// The service of the tests: a unary method and a stream each way, with messages of
// etcd's.
const (
	putMethod   = "/test.Service/Put"
	watchMethod = "/test.Service/Watch"
	snapMethod  = "/test.Service/Snapshot"
)

type (
	putHandler   func(context.Context, *pb.PutRequest) (*pb.PutResponse, error)
	watchHandler func(grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]) error
)

// serve makes a channel with the service; either handler may be nil.
func serve(put putHandler, watch watchHandler) *Channel {
	return serveWith(Config{Logger: slog.New(slog.DiscardHandler)}, put, watch)
}

func serveWith(cfg Config, put putHandler, watch watchHandler) *Channel {
	c := New(cfg)
	c.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Service",
		Methods: []grpc.MethodDesc{{
			MethodName: "Put",
			Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				req := new(pb.PutRequest)
				if err := decode(req); err != nil {
					return nil, err
				}
				return put(ctx, req)
			},
		}},
		Streams: []grpc.StreamDesc{{
			StreamName: "Watch", ClientStreams: true, ServerStreams: true,
			Handler: func(_ any, ss grpc.ServerStream) error {
				return watch(&grpc.GenericServerStream[pb.WatchRequest, pb.WatchResponse]{ServerStream: ss})
			},
		}, {
			StreamName: "Snapshot", ServerStreams: true,
			Handler: func(any, grpc.ServerStream) error { return status.Error(codes.Unimplemented, "later") },
		}},
	}, nil)
	return c
}

func TestUnary(t *testing.T) {
	var seen context.Context
	var got *pb.PutRequest
	c := serve(func(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
		seen, got = ctx, r
		require.NoError(t, grpc.SetHeader(ctx, metadata.Pairs("h", "1")))
		require.NoError(t, grpc.SendHeader(ctx, metadata.Pairs("h", "2")))
		require.NoError(t, grpc.SetTrailer(ctx, metadata.Pairs("t", "3")))
		return &pb.PutResponse{Header: &pb.ResponseHeader{Revision: 5}}, nil
	}, nil)
	caller := &peer.Peer{Addr: &net.TCPAddr{Port: 7}}
	ctx := peer.NewContext(t.Context(), caller)
	ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("forged", "yes"))
	ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs("Token", "x"))
	request, reply := &pb.PutRequest{Key: []byte("k"), Lease: 3}, new(pb.PutResponse)
	var header, trailer metadata.MD
	require.NoError(t, c.Invoke(ctx, putMethod, request, reply, grpc.Header(&header), grpc.Trailer(&trailer)))
	require.EqualValues(t, 5, reply.Header.Revision)
	require.Equal(t, "k", string(got.Key))
	require.EqualValues(t, 3, got.Lease)
	require.Equal(t, metadata.Pairs("h", "1", "h", "2"), header)
	require.Equal(t, metadata.Pairs("t", "3"), trailer)

	md, ok := metadata.FromIncomingContext(seen)
	require.True(t, ok)
	require.Equal(t, metadata.Pairs("token", "x"), md, "the caller's own request is not the handler's")
	who, ok := peer.FromContext(seen)
	require.True(t, ok)
	require.Same(t, caller, who)
	method, ok := grpc.Method(seen)
	require.True(t, ok)
	require.Equal(t, putMethod, method)
	require.Error(t, seen.Err(), "the handler's context ends with the call")
}

func TestUnaryErrors(t *testing.T) {
	expired, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	caused, cancelCause := context.WithCancelCause(t.Context())
	cancelCause(status.Error(codes.InvalidArgument, "no JSON"))
	tests := []struct {
		name   string
		ctx    context.Context
		method string
		err    error // the handler's
		code   codes.Code
		text   string
	}{
		{"a status", t.Context(), putMethod, status.Error(codes.OutOfRange, "compacted"), codes.OutOfRange, "compacted"},
		{"another error", t.Context(), putMethod, errors.New("odd"), codes.Unknown, "odd"},
		{"the handler gave up", t.Context(), putMethod, context.DeadlineExceeded, codes.DeadlineExceeded, "context deadline exceeded"},
		{"expired before", expired, putMethod, nil, codes.DeadlineExceeded, "context deadline exceeded"},
		{"canceled before", canceled, putMethod, nil, codes.Canceled, "context canceled"},
		{"ended with a status", caused, putMethod, nil, codes.InvalidArgument, "no JSON"},
		{"unknown method", t.Context(), "/test.Service/Nope", nil, codes.Unimplemented, "unknown method Nope for service test.Service"},
		{"unknown service", t.Context(), "/other/Put", nil, codes.Unimplemented, "unknown method Put for service other"},
		{"a stream's method", t.Context(), watchMethod, nil, codes.Unimplemented, "unknown method Watch for service test.Service"},
		{"no method", t.Context(), "", nil, codes.Unimplemented, "unknown method  for service "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(func(context.Context, *pb.PutRequest) (*pb.PutResponse, error) { return nil, tt.err }, nil)
			err := c.Invoke(tt.ctx, tt.method, &pb.PutRequest{}, &pb.PutResponse{})
			require.Equal(t, tt.code, status.Code(err))
			require.Equal(t, tt.text, status.Convert(err).Message())
		})
	}
}

func TestUnaryTypesMustAgree(t *testing.T) {
	called := false
	c := serve(func(context.Context, *pb.PutRequest) (*pb.PutResponse, error) {
		called = true
		return &pb.PutResponse{}, nil
	}, nil)
	require.Equal(t, codes.Internal, status.Code(c.Invoke(t.Context(), putMethod, &pb.RangeRequest{}, &pb.PutResponse{})))
	require.False(t, called)
	require.Equal(t, codes.Internal, status.Code(c.Invoke(t.Context(), putMethod, &pb.PutRequest{}, &pb.RangeResponse{})))
	require.True(t, called)
}

func TestUnaryTooLarge(t *testing.T) {
	c := serveWith(Config{MaxRequestBytes: 1000},
		func(context.Context, *pb.PutRequest) (*pb.PutResponse, error) { return &pb.PutResponse{}, nil }, nil)
	err := c.Invoke(t.Context(), putMethod, &pb.PutRequest{Value: make([]byte, 1000+requestOverhead)}, &pb.PutResponse{})
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.Contains(t, err.Error(), "grpc: received message larger than max (525292 vs. 525288)")
	require.NoError(t, c.Invoke(t.Context(), putMethod,
		&pb.PutRequest{Value: make([]byte, 1000+requestOverhead-4)}, &pb.PutResponse{}))
}

func TestUnaryDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := serve(func(ctx context.Context, _ *pb.PutRequest) (*pb.PutResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := c.Invoke(ctx, putMethod, &pb.PutRequest{}, &pb.PutResponse{})
		require.Equal(t, codes.DeadlineExceeded, status.Code(err))
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestPanicIsAnError(t *testing.T) {
	var log bytes.Buffer
	c := serveWith(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))},
		func(context.Context, *pb.PutRequest) (*pb.PutResponse, error) { panic("broken") },
		func(grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]) error { panic("broken too") })
	err := c.Invoke(t.Context(), putMethod, &pb.PutRequest{}, &pb.PutResponse{})
	require.Equal(t, codes.Internal, status.Code(err))
	require.Contains(t, log.String(), "panic=broken")
	require.Contains(t, log.String(), "channel_test.go", "the stack says where")

	_, err = open(t.Context(), t, c).Recv()
	require.Equal(t, codes.Internal, status.Code(err))
	c.Close()
	require.Contains(t, log.String(), `panic="broken too"`)
}

func TestRegisteredTwice(t *testing.T) {
	c := serve(nil, nil)
	require.PanicsWithValue(t, "inproc: registered twice: "+putMethod, func() {
		c.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Service", Methods: []grpc.MethodDesc{{MethodName: "Put"}}}, nil)
	})
}
