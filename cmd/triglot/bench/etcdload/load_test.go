package etcdload

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
	"github.com/triglot/triglot/cmd/triglot/bench/keyspace"
	"github.com/triglot/triglot/cmd/triglot/bench/measure"
)

// fake is a server that a test makes up. It has no RangeStream.
type fake struct {
	pb.UnimplementedKVServer
	pb.UnimplementedWatchServer
	rows  int    // of any range
	value []byte // of any row

	// watch is what a watch stream does once it is confirmed.
	watch func(s grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse], puts <-chan *pb.PutRequest) error
	puts  chan *pb.PutRequest
}

var header = &pb.ResponseHeader{Revision: 7}

func (f *fake) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	a := &pb.RangeResponse{Header: header, Count: int64(f.rows)}
	if !r.CountOnly {
		for range f.rows {
			a.Kvs = append(a.Kvs, &mvccpb.KeyValue{Key: r.Key, Value: f.value, ModRevision: 7})
		}
	}
	return a, nil
}

func (f *fake) Put(_ context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	f.puts <- r
	return &pb.PutResponse{Header: header}, nil
}

func (f *fake) Watch(s grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]) error {
	if _, err := s.Recv(); err != nil {
		return err
	}
	if err := s.Send(&pb.WatchResponse{Header: header, Created: true}); err != nil {
		return err
	}
	return f.watch(s, f.puts)
}

// serve runs a fake, and opens a load on it.
func serve(t *testing.T, f *fake, load string, c Config) (*Load, error) {
	t.Helper()
	f.puts = make(chan *pb.PutRequest, 100)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	pb.RegisterKVServer(server, f)
	pb.RegisterWatchServer(server, f)
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		wg.Wait()
	})
	c.Endpoints, c.Connections, c.Clients = []string{listener.Addr().String()}, 1, 1
	c.Keys = keyspace.New("p/", 10, 32)
	l, err := New(t.Context(), load, c)
	if err == nil {
		t.Cleanup(func() { require.NoError(t, l.Close()) })
	}
	return l, err
}

func TestRangeStreamFallsBack(t *testing.T) {
	var notes []string
	l, err := serve(t, &fake{rows: 10}, "range-stream", Config{Note: func(text string) { notes = append(notes, text) }})
	require.NoError(t, err)
	require.NoError(t, l.Prepare(t.Context()))
	require.Equal(t, []string{"the server has no RangeStream: Range is measured instead"}, notes)
	call, err := l.Client(0, rand.New(rand.NewPCG(1, 1)))
	require.NoError(t, err)
	require.NoError(t, call(t.Context(), time.Now()))
}

// A read that finds something else than what was written is no success.
func TestWrongAnswersAreErrors(t *testing.T) {
	for load, want := range map[string]string{
		"get": "got 3 rows of one key instead of 1", "range": "got 3 rows instead of 10", "count": "got 3 keys instead of 10",
	} {
		l, err := serve(t, &fake{rows: 3}, load, Config{})
		require.NoError(t, err)
		filled, err := l.Filled(t.Context())
		require.NoError(t, err)
		require.False(t, filled)
		call, err := l.Client(0, rand.New(rand.NewPCG(1, 1)))
		require.NoError(t, err)
		require.EqualError(t, call(t.Context(), time.Now()), want)
	}
	_, err := serve(t, &fake{}, "dance", Config{})
	require.ErrorContains(t, err, "dance")
}

// Keys with values of another length are not those that are asked for.
func TestFilled(t *testing.T) {
	for length, want := range map[int]bool{0: false, 31: false, 32: true} {
		l, err := serve(t, &fake{rows: 10, value: make([]byte, length)}, "get", Config{})
		require.NoError(t, err)
		filled, err := l.Filled(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, filled, length)
	}
}

// put makes one write of a watch load, and returns what was counted, and why the load could
// not go on.
func put(t *testing.T, f *fake) (_ *measure.Recorder, failed, err error) {
	t.Helper()
	record := &measure.Recorder{}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	l, err := serve(t, f, "watch-fanout", Config{Watchers: 1, Streams: 1, Record: record, Fail: cancel})
	require.NoError(t, err)
	require.NoError(t, l.Prepare(t.Context()))
	_, err = drive.Run(ctx, l, drive.Pace{Clients: 1, Ops: 1}, record)
	return record, context.Cause(ctx), err
}

// eventOf is what a watch says of a write.
func eventOf(r *pb.PutRequest, rev int64) *pb.WatchResponse {
	return &pb.WatchResponse{Header: header, Events: []*mvccpb.Event{{Kv: &mvccpb.KeyValue{Key: r.Key, Value: r.Value, ModRevision: rev}}}}
}

type watchStream = grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]

func TestAnEventThatComesTwiceIsAnError(t *testing.T) {
	record, _, err := put(t, &fake{watch: func(s watchStream, puts <-chan *pb.PutRequest) error {
		r := <-puts
		stale := eventOf(&pb.PutRequest{Key: r.Key, Value: append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, r.Value[12:]...)}, 7)
		foreign := eventOf(&pb.PutRequest{Key: r.Key, Value: []byte("other")}, 8)
		for _, m := range []*pb.WatchResponse{foreign, foreign, stale, eventOf(r, 9)} {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		<-s.Context().Done()
		return nil
	}})
	require.NoError(t, err)
	require.Equal(t, int64(1), record.Done())
	require.Equal(t, map[string]int64{
		errNoStamp.Error(): 1, "an event of a watch came twice, or out of order": 2,
	}, record.Errors())
}

func TestAWatchThatEndsEndsTheLoad(t *testing.T) {
	_, failed, err := put(t, &fake{watch: func(watchStream, <-chan *pb.PutRequest) error { return errors.New("away") }})
	require.ErrorContains(t, failed, "away")
	require.ErrorContains(t, err, "away")
	_, failed, _ = put(t, &fake{watch: func(s watchStream, _ <-chan *pb.PutRequest) error {
		if err := s.Send(&pb.WatchResponse{Header: header, Canceled: true, CancelReason: "no right"}); err != nil {
			return err
		}
		<-s.Context().Done()
		return nil
	}})
	require.ErrorContains(t, failed, "the watch was canceled: no right")
}

// A catch-up with other events than the one before is an error and nothing else, and its
// stream, of which nobody knows what is still to come, ends.
func TestACatchUpThatDeviates(t *testing.T) {
	ended := make(chan struct{})
	record := &measure.Recorder{}
	l, err := serve(t, &fake{watch: func(s watchStream, _ <-chan *pb.PutRequest) error {
		defer close(ended)
		event := eventOf(&pb.PutRequest{Key: []byte("p/1")}, 7).Events[0]
		if err := s.Send(&pb.WatchResponse{Header: header, Events: []*mvccpb.Event{event}}); err != nil {
			return err
		}
		for _, answer := range []*pb.WatchResponse{
			{Header: header, Canceled: true}, {Header: header, Created: true, Events: []*mvccpb.Event{event, event}},
		} {
			if _, err := s.Recv(); err != nil {
				return err
			}
			if err := s.Send(answer); err != nil {
				return err
			}
		}
		<-s.Context().Done()
		return nil
	}}, "watch-catchup", Config{FromRevision: 7, Record: record})
	require.NoError(t, err)
	require.NoError(t, l.Prepare(t.Context()))
	call, err := l.Client(0, rand.New(rand.NewPCG(1, 1)))
	require.NoError(t, err)
	require.NoError(t, call(t.Context(), time.Now()))
	require.EqualError(t, call(t.Context(), time.Now()), "a watch had 2 events, and the one before 1")
	require.Equal(t, int64(1), record.Done())
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the stream is still open")
	}
}

func TestBoard(t *testing.T) {
	b := newBoard(2)
	value := make([]byte, 32)
	b.begin(1, 2, time.Now().Add(-time.Second), value)
	for i := range 2 {
		latency, whole, err := b.delivered(value)
		require.NoError(t, err)
		if i == 0 {
			require.Nil(t, whole)
		} else {
			whole.tell()
		}
		require.GreaterOrEqual(t, latency, time.Second)
		require.Less(t, latency, time.Minute)
	}
	require.NoError(t, b.await(t.Context(), 1))
	_, _, err := b.delivered(value)
	require.ErrorIs(t, err, errExtra, "a third of two")
	_, _, err = b.delivered(value[:10])
	require.ErrorIs(t, err, errNoStamp)

	b.begin(1, 1, time.Now(), value)
	b.abandon(1)
	_, _, err = b.delivered(value)
	require.ErrorIs(t, err, errExtra)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.await(ctx, 1), context.Canceled)
}
