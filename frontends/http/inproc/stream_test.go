package inproc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

type (
	server = grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]
	client = grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse]
)

// open starts a stream, which is released when ctx ends.
func open(ctx context.Context, t *testing.T, c *Channel) client {
	t.Helper()
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, watchMethod)
	require.NoError(t, err)
	return &grpc.GenericClientStream[pb.WatchRequest, pb.WatchResponse]{ClientStream: s}
}

// create is a request that carries n, and created the reply to it.
func create(n int64) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{WatchId: n, Key: bytes.Repeat([]byte{byte(n)}, int(n%1000))},
	}}
}

func created(r *pb.WatchRequest) *pb.WatchResponse {
	return &pb.WatchResponse{WatchId: r.GetCreateRequest().GetWatchId(), CancelReason: string(r.GetCreateRequest().GetKey())}
}

// echo answers each request, and ends with them.
func echo(s server) error {
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(created(r)); err != nil {
			return err
		}
	}
}

func TestStreamBig(t *testing.T) {
	c := serve(nil, echo)
	s := open(t.Context(), t, c)
	const n = 5000
	sent := make(chan error, 1)
	go func() {
		request := create(0)
		for i := range int64(n) {
			request.GetCreateRequest().WatchId = i // the sender goes on using it
			if err := s.Send(request); err != nil {
				sent <- err
				return
			}
		}
		sent <- s.CloseSend()
	}()
	for i := range int64(n) {
		r, err := s.Recv()
		require.NoError(t, err)
		require.Equal(t, i, r.WatchId)
	}
	require.NoError(t, <-sent)
	_, err := s.Recv()
	require.ErrorIs(t, err, io.EOF)
	_, err = s.Recv()
	require.ErrorIs(t, err, io.EOF, "and again")
	c.Close()
}

// What a handler sends is copied: it may change it as soon as Send has returned.
func TestStreamCopies(t *testing.T) {
	c := serve(nil, func(s server) error {
		reply := &pb.WatchResponse{Header: &pb.ResponseHeader{}}
		for i := range int64(3) {
			reply.Header.Revision = i
			if err := s.Send(reply); err != nil {
				return err
			}
		}
		return nil
	})
	s := open(t.Context(), t, c)
	var got []*pb.WatchResponse
	for range 3 {
		r, err := s.Recv()
		require.NoError(t, err)
		got = append(got, r)
	}
	for i, r := range got {
		require.EqualValues(t, i, r.Header.Revision)
	}
	_, err := s.Recv()
	require.ErrorIs(t, err, io.EOF)
}

// A client that has nothing more to say still listens: a watch goes on.
func TestStreamHalfClose(t *testing.T) {
	c := serve(nil, func(s server) error {
		r, err := s.Recv()
		require.NoError(t, err)
		_, err = s.Recv()
		require.ErrorIs(t, err, io.EOF)
		for range 3 {
			if err := s.Send(created(r)); err != nil {
				return err
			}
		}
		return status.Error(codes.Aborted, "enough")
	})
	s := open(t.Context(), t, c)
	require.NoError(t, s.Send(create(4)))
	require.NoError(t, s.CloseSend())
	require.NoError(t, s.CloseSend(), "twice is once")
	for range 3 {
		r, err := s.Recv()
		require.NoError(t, err)
		require.EqualValues(t, 4, r.WatchId)
	}
	_, err := s.Recv()
	require.Equal(t, codes.Aborted, status.Code(err))
}

func TestStreamHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proceed := make(chan struct{})
		c := serve(nil, func(s server) error {
			require.NoError(t, s.SetHeader(metadata.Pairs("a", "1")))
			s.SetTrailer(metadata.Pairs("t", "2"))
			<-proceed
			return s.Send(&pb.WatchResponse{})
		})
		s := open(t.Context(), t, c)
		received := make(chan metadata.MD, 1)
		go func() {
			md, _ := s.Header()
			received <- md
		}()
		synctest.Wait()
		require.Empty(t, received, "headers wait for the first message")
		close(proceed)
		require.Equal(t, metadata.Pairs("a", "1"), <-received)
		_, err := s.Recv()
		require.NoError(t, err)
		_, err = s.Recv()
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, metadata.Pairs("t", "2"), s.Trailer())
	})
}

func TestStreamHeaderSentAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := serve(nil, func(s server) error {
			require.NoError(t, grpc.SendHeader(s.Context(), metadata.Pairs("a", "1")))
			<-s.Context().Done()
			return s.Context().Err()
		})
		s := open(ctx, t, c)
		md, err := s.Header()
		require.NoError(t, err)
		require.Equal(t, metadata.Pairs("a", "1"), md)
		cancel()
		c.Close()
	})
}

// A handler that ends without a message: no header, and Recv has the reason.
func TestStreamRefused(t *testing.T) {
	c := serve(nil, func(server) error { return status.Error(codes.Unavailable, "no leader") })
	s := open(t.Context(), t, c)
	md, err := s.Header()
	require.NoError(t, err)
	require.Empty(t, md)
	require.ErrorIs(t, s.Send(create(1)), io.EOF)
	_, err = s.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err))
}

// The cause for which the caller has ended a call is what it is told, whether or not the
// handler has ended of it by then.
func TestStreamEndedByItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := status.Error(codes.InvalidArgument, "what is this?")
		ctx, end := context.WithCancelCause(t.Context())
		c := serve(nil, func(s server) error {
			<-s.Context().Done()
			return s.Context().Err()
		})
		s := open(ctx, t, c)
		end(cause)
		synctest.Wait() // the handler has ended
		for range 100 {
			_, err := s.Header()
			require.Equal(t, codes.InvalidArgument, status.Code(err))
			_, err = s.Recv()
			require.Equal(t, codes.InvalidArgument, status.Code(err))
		}
		c.Close()
	})
}

// Generated code for a method with one request sends it before it can ask how the
// call ended.
func TestStreamOneRequest(t *testing.T) {
	c := serve(nil, nil)
	s, err := c.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, snapMethod)
	require.NoError(t, err)
	require.NoError(t, s.SendMsg(&pb.SnapshotRequest{}))
	require.NoError(t, s.CloseSend())
	err = s.RecvMsg(&pb.SnapshotResponse{})
	require.Equal(t, codes.Unimplemented, status.Code(err))
}

func TestStreamCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inner, outer error // as the handler and its goroutine see it
		c := serve(nil, func(s server) error {
			received := make(chan error, 1)
			go func() {
				_, err := s.Recv()
				received <- err
			}()
			<-s.Context().Done()
			inner, outer = <-received, context.Cause(s.Context())
			return outer
		})
		ctx, cancel := context.WithCancel(t.Context())
		s := open(ctx, t, c)
		ended := make(chan error, 1)
		go func() {
			_, err := s.Recv()
			ended <- err
		}()
		synctest.Wait()
		cancel()
		require.Equal(t, codes.Canceled, status.Code(<-ended))
		_, err := s.Header()
		require.True(t, err == nil || status.Code(err) == codes.Canceled)
		require.Error(t, s.Send(create(1)))
		c.Close() // waits for the handler
		require.Equal(t, codes.Canceled, status.Code(inner))
		require.ErrorIs(t, outer, context.Canceled)
	})
}

// Whoever ends the caller's context with a status gets it back.
func TestStreamEndedWithAStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := serve(nil, func(s server) error {
			<-s.Context().Done()
			<-time.After(time.Second) // slow to notice
			return s.Context().Err()
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		s := open(ctx, t, c)
		cancel(status.Error(codes.InvalidArgument, "no JSON"))
		_, err := s.Header()
		require.Equal(t, codes.InvalidArgument, status.Code(err))
		_, err = s.Recv()
		require.Equal(t, codes.InvalidArgument, status.Code(err))
		_, err = c.NewStream(ctx, &grpc.StreamDesc{}, watchMethod)
		require.Equal(t, codes.InvalidArgument, status.Code(err))
		c.Close()
	})
}

func TestStreamDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := serve(nil, echo)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := open(ctx, t, c).Recv()
		require.Equal(t, codes.DeadlineExceeded, status.Code(err))
		require.Equal(t, time.Minute, time.Since(start))
		c.Close()
	})
}

// A goroutine of the handler that outlives it is released, whatever it waits for.
func TestStreamLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left [2]chan error
		for i := range left {
			left[i] = make(chan error, 1)
		}
		c := serve(nil, func(s server) error {
			go func() {
				_, err := s.Recv()
				left[0] <- err
			}()
			go func() { left[1] <- s.Send(&pb.WatchResponse{}) }()
			synctest.Wait()
			return nil
		})
		open(t.Context(), t, c)
		for _, err := range left {
			require.Equal(t, codes.Canceled, status.Code(<-err))
		}
		c.Close()
	})
}

func TestStreamTooLarge(t *testing.T) {
	c := serveWith(Config{MaxRequestBytes: 1}, nil, func(s server) error {
		<-s.Context().Done()
		return context.Cause(s.Context())
	})
	s := open(t.Context(), t, c)
	request := create(1)
	request.GetCreateRequest().Key = make([]byte, 600<<10)
	require.Equal(t, codes.ResourceExhausted, status.Code(s.Send(request)))
	_, err := s.Recv()
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
}

func TestStreamTypesMustAgree(t *testing.T) {
	c := serve(nil, echo)
	ctx, cancel := context.WithCancel(t.Context())
	s := open(ctx, t, c)
	require.NoError(t, s.Send(create(1)))
	require.Equal(t, codes.Internal, status.Code(s.(grpc.ClientStream).RecvMsg(new(pb.PutResponse))))
	cancel()
	c.Close()
}

func TestStreamUnknown(t *testing.T) {
	c := serve(nil, echo)
	for _, method := range []string{"/test.Service/Nope", putMethod, "", "/"} {
		_, err := c.NewStream(t.Context(), &grpc.StreamDesc{}, method)
		require.Equal(t, codes.Unimplemented, status.Code(err), method)
	}
}

// Close ends what is open, with what a stopped server says, and takes nothing new.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := 0
		c := serve(func(context.Context, *pb.PutRequest) (*pb.PutResponse, error) { return &pb.PutResponse{}, nil },
			func(s server) error {
				<-s.Context().Done()
				ended++
				return context.Cause(s.Context())
			})
		s := open(t.Context(), t, c)
		synctest.Wait()
		c.Close()
		require.Equal(t, 1, ended, "Close waits for the handlers")
		_, err := s.Recv()
		require.Equal(t, errClosed.Error(), err.Error())

		_, err = c.NewStream(t.Context(), &grpc.StreamDesc{}, watchMethod)
		require.Equal(t, codes.Unavailable, status.Code(err))
		err = c.Invoke(t.Context(), putMethod, &pb.PutRequest{}, &pb.PutResponse{})
		require.Equal(t, codes.Unavailable, status.Code(err))
		c.Close()
	})
}

// Messages are counted at the sizes that they have when they are encoded, those that
// are refused are not.
func TestTransferred(t *testing.T) {
	var received, sent int // by this goroutine
	c := serveWith(Config{MaxRequestBytes: 1, Logger: slog.New(slog.DiscardHandler), Transferred: func(in, out int) {
		received, sent = received+in, sent+out
	}}, func(context.Context, *pb.PutRequest) (*pb.PutResponse, error) {
		return &pb.PutResponse{Header: &pb.ResponseHeader{Revision: 300}}, nil
	}, echo)
	defer c.Close()
	put := &pb.PutRequest{Key: []byte("key"), Value: []byte("value")}
	require.NoError(t, c.Invoke(t.Context(), putMethod, put, new(pb.PutResponse)))
	require.Equal(t, [2]int{12, 5}, [2]int{received, sent})
	require.Error(t, c.Invoke(t.Context(), putMethod, &pb.PutRequest{Key: make([]byte, 1<<20)}, new(pb.PutResponse)))
	require.Equal(t, [2]int{12, 5}, [2]int{received, sent})

	s := open(t.Context(), t, c)
	request := create(7)
	require.NoError(t, s.Send(request))
	reply, err := s.Recv()
	require.NoError(t, err)
	require.NoError(t, s.CloseSend())
	_, err = s.Recv()
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, [2]int{12 + proto.Size(request), 5 + proto.Size(reply)}, [2]int{received, sent})
}
