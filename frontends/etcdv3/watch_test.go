package etcdv3

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/triglot/triglot/core/node"
)

// watcher is a client's end of a watch stream.
type watcher struct {
	*server
	stream pb.Watch_WatchClient
}

func (s *server) watcher(ctx context.Context) *watcher {
	s.Helper()
	stream, err := s.watch.Watch(ctx)
	require.NoError(s, err)
	return &watcher{s, stream}
}

func (w *watcher) request(r *pb.WatchRequest) {
	w.Helper()
	require.NoError(w, w.stream.Send(r))
}

func (w *watcher) create(c *pb.WatchCreateRequest) {
	w.Helper()
	w.request(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: c}})
}

func (w *watcher) cancel(id int64) {
	w.Helper()
	w.request(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
		CancelRequest: &pb.WatchCancelRequest{WatchId: id},
	}})
}

func (w *watcher) requestProgress() {
	w.Helper()
	w.request(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{
		ProgressRequest: &pb.WatchProgressRequest{},
	}})
}

func (w *watcher) receive() *pb.WatchResponse {
	w.Helper()
	resp, err := w.stream.Recv()
	require.NoError(w, err)
	return resp
}

// received checks the next response. Its header is that of the server, at rev.
func (w *watcher) received(rev int64, want *pb.WatchResponse) {
	w.Helper()
	want.Header = w.header(rev)
	requireEqual(w, want, w.receive())
}

func putEvent(kv *mvccpb.KeyValue) *mvccpb.Event { return &mvccpb.Event{Kv: kv} }

func deleteEvent(key string, rev int64) *mvccpb.Event {
	return &mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev}}
}

func TestWatch(t *testing.T) {
	s := startServer(t)
	s.put("a", "0")
	w := s.watcher(s.ctx())
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), RangeEnd: []byte("c"), PrevKv: true})
	w.received(2, &pb.WatchResponse{Created: true})
	s.put("a", "1")
	s.put("x", "not watched")
	s.txn(&pb.TxnRequest{Success: ops(del("a", ""), put("b"), put("x"))})
	w.received(3, &pb.WatchResponse{Events: []*mvccpb.Event{
		{Kv: wireKV("a", "1", 2, 3, 2), PrevKv: wireKV("a", "0", 2, 2, 1)},
	}})
	deleted := deleteEvent("a", 5)
	deleted.PrevKv = wireKV("a", "1", 2, 3, 2)
	w.received(5, &pb.WatchResponse{Events: []*mvccpb.Event{deleted, putEvent(wireKV("b", "", 5, 5, 1))}})
	w.cancel(0)
	w.received(5, &pb.WatchResponse{Canceled: true})
	s.put("a", "2")
	w.requestProgress() // dropped: there are no watches
	w.create(&pb.WatchCreateRequest{Key: []byte("z")})
	w.received(6, &pb.WatchResponse{WatchId: 1, Created: true})
}

func TestWatchFilters(t *testing.T) {
	s := startServer(t)
	w := s.watcher(s.ctx())
	w.create(&pb.WatchCreateRequest{
		Key: []byte("a"), WatchId: 1, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT},
	})
	w.received(1, &pb.WatchResponse{WatchId: 1, Created: true})
	w.create(&pb.WatchCreateRequest{
		Key: []byte("b"), WatchId: 2, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE},
	})
	w.received(1, &pb.WatchResponse{WatchId: 2, Created: true})
	s.put("a", "1")
	s.put("b", "1")
	s.del("a", "z")
	w.received(3, &pb.WatchResponse{WatchId: 2, Events: []*mvccpb.Event{putEvent(wireKV("b", "1", 3, 3, 1))}})
	w.received(4, &pb.WatchResponse{WatchId: 1, Events: []*mvccpb.Event{deleteEvent("a", 4)}})
}

// A watch from the past catches up, and goes on with what happens.
func TestWatchFromThePast(t *testing.T) {
	s := startServer(t)
	for i := range 5 {
		s.put("a", fmt.Sprint(i)) // revisions 2 to 6
	}
	w := s.watcher(s.ctx())
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 4})
	w.received(6, &pb.WatchResponse{Created: true})
	s.put("a", "5")
	next := int64(4)
	for next <= 7 {
		resp := w.receive()
		require.GreaterOrEqual(t, resp.Header.Revision, next)
		for _, e := range resp.Events {
			requireEqual(t, putEvent(wireKV("a", fmt.Sprint(next-2), 2, next, next-1)), e)
			next++
		}
	}
}

// A watch from the future is silent until then, and says nothing of progress.
func TestWatchFromTheFuture(t *testing.T) {
	s := startServer(t)
	w := s.watcher(s.ctx())
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 4})
	w.received(1, &pb.WatchResponse{Created: true})
	s.put("a", "2")
	w.requestProgress()
	s.put("a", "3")
	s.put("a", "4")
	w.received(4, &pb.WatchResponse{Events: []*mvccpb.Event{putEvent(wireKV("a", "4", 2, 4, 3))}})
}

// A client that cancels a watch as soon as it hears of its end is answered with the store's
// revision, whoever is faster.
func TestWatchCompactedIsCanceledAtOnce(t *testing.T) {
	s := startServer(t)
	for range 5 {
		s.put("a", "v")
	}
	_, err := s.kv.Compact(s.ctx(), &pb.CompactionRequest{Revision: 5, Physical: true})
	require.NoError(t, err)
	w := s.watcher(s.ctx())
	for id := int64(1); id <= 2000; id++ {
		w.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 4, WatchId: id})
		w.received(6, &pb.WatchResponse{WatchId: id, Created: true})
		w.received(0, &pb.WatchResponse{WatchId: id, Canceled: true, CompactRevision: 5})
		w.cancel(id)
		w.received(6, &pb.WatchResponse{WatchId: id, Canceled: true})
	}
}

func TestWatchCompacted(t *testing.T) {
	s := startServer(t)
	for range 5 {
		s.put("a", "v")
	}
	s.del("a", "") // revision 7
	s.put("b", "v")
	_, err := s.kv.Compact(s.ctx(), &pb.CompactionRequest{Revision: 7, Physical: true})
	require.NoError(t, err)
	w := s.watcher(s.ctx())
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 6, WatchId: 5})
	w.received(8, &pb.WatchResponse{WatchId: 5, Created: true})
	w.received(0, &pb.WatchResponse{WatchId: 5, Canceled: true, CompactRevision: 7})
	w.cancel(5)
	w.received(8, &pb.WatchResponse{WatchId: 5, Canceled: true})
	// From the compacted revision itself there is all that is needed.
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 7, PrevKv: true})
	w.received(8, &pb.WatchResponse{Created: true})
	w.received(8, &pb.WatchResponse{Events: []*mvccpb.Event{deleteEvent("a", 7)}})
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: -1})
	w.received(8, &pb.WatchResponse{
		WatchId: -1, Created: true, Canceled: true,
		CancelReason: "etcdserver: mvcc: required revision has been compacted",
	})
}

func TestWatchProgressRequest(t *testing.T) {
	s := startServer(t)
	w := s.watcher(s.ctx())
	for i := range 2 {
		w.create(&pb.WatchCreateRequest{Key: []byte{byte('a' + i)}})
		w.received(1, &pb.WatchResponse{WatchId: int64(i), Created: true})
	}
	s.put("a", "1")
	s.put("x", "not watched")
	w.received(2, &pb.WatchResponse{Events: []*mvccpb.Event{putEvent(wireKV("a", "1", 2, 2, 1))}})
	w.requestProgress()
	w.received(3, &pb.WatchResponse{WatchId: -1})
	const sendLoop = "etcd_debugging_server_watch_send_loop_"
	require.Eventually(t, func() bool { // what is sent is counted a moment later
		got := scrape(t, s.registry)
		return got[sendLoop+"control_stream_duration_seconds"] == 3 &&
			got[sendLoop+"watch_stream_duration_seconds"] == 1 &&
			got[sendLoop+"watch_stream_duration_per_event_seconds"] == 1
	}, 10*time.Second, time.Millisecond)
}

func TestWatchProgressNotify(t *testing.T) {
	s := startServer(t, func(_ *node.Config, c *Config) { c.ProgressInterval = time.Millisecond }) // is 100 ms
	s.put("x", "1")
	w := s.watcher(s.ctx())
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), ProgressNotify: true, WatchId: 7})
	w.received(2, &pb.WatchResponse{WatchId: 7, Created: true})
	for range 2 {
		w.received(2, &pb.WatchResponse{WatchId: 7})
	}
}

func TestWatchFragments(t *testing.T) {
	s := startServer(t, func(n *node.Config, _ *Config) { n.Limits.RequestBytes = 1 << 20 })
	value := string(bytes.Repeat([]byte{'v'}, 40<<10))
	var puts []*pb.RequestOp
	for i := range 8 {
		puts = append(puts, opPut(&pb.PutRequest{Key: []byte{byte('a' + i)}, Value: []byte(value)}))
	}
	ctx := s.ctx()
	whole, parts := s.watcher(ctx), s.watcher(ctx)
	whole.create(&pb.WatchCreateRequest{Key: []byte("a"), RangeEnd: []byte("z"), PrevKv: true})
	whole.received(1, &pb.WatchResponse{Created: true})
	parts.create(&pb.WatchCreateRequest{Key: []byte("a"), RangeEnd: []byte("z"), PrevKv: true, Fragment: true})
	parts.received(1, &pb.WatchResponse{Created: true})
	s.txn(&pb.TxnRequest{Success: puts}) // 320 KiB of events: below the limit of 576 KiB
	for _, w := range []*watcher{whole, parts} {
		resp := w.receive()
		require.Len(t, resp.Events, 8)
		require.False(t, resp.Fragment)
	}
	// Only now: a late stream is told of several revisions at once.
	s.txn(&pb.TxnRequest{Success: puts}) // 640 KiB, with the previous versions
	require.Len(t, whole.receive().Events, 8)
	first, second := parts.receive(), parts.receive()
	requireEqual(t, s.header(3), first.Header)
	requireEqual(t, s.header(3), second.Header)
	require.True(t, first.Fragment)
	require.False(t, second.Fragment)
	require.Len(t, first.Events, 7)
	require.Len(t, second.Events, 1)
}

func TestWatchHalfClose(t *testing.T) {
	s := startServer(t)
	w := s.watcher(s.ctx())
	w.create(&pb.WatchCreateRequest{Key: []byte("a")})
	w.received(1, &pb.WatchResponse{Created: true})
	require.NoError(t, w.stream.CloseSend())
	s.put("a", "1")
	w.received(2, &pb.WatchResponse{Events: []*mvccpb.Event{putEvent(wireKV("a", "1", 2, 2, 1))}})
}

func TestWatchEnds(t *testing.T) {
	s := startServer(t)
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "hasleader", "true"))
	w := s.watcher(ctx)
	w.create(&pb.WatchCreateRequest{Key: []byte("a")})
	w.received(1, &pb.WatchResponse{Created: true})
	cancel()
	_, err := w.stream.Recv()
	requireStatus(t, codes.Canceled, "context canceled", err)

	w = s.watcher(s.ctx())
	w.create(&pb.WatchCreateRequest{Key: []byte("a")})
	w.received(1, &pb.WatchResponse{Created: true})
	s.stopNode()
	_, err = w.stream.Recv()
	requireStatus(t, codes.Unavailable, "etcdserver: server stopped", err)
}

// Many watches on many streams each see every put of their key, in order.
func TestWatchesOfManyStreams(t *testing.T) {
	s := startServer(t)
	const streams, watches, puts = 5, 20, 10
	var all []*watcher
	for range streams {
		w := s.watcher(s.ctx())
		all = append(all, w)
		for i := range watches {
			w.create(&pb.WatchCreateRequest{Key: fmt.Append(nil, i%2), WatchId: int64(i + 1)})
		}
		for i := range watches {
			require.Equal(t, int64(i+1), w.receive().WatchId)
		}
	}
	for i := range puts {
		s.put("0", fmt.Sprint(i))
	}
	for _, w := range all {
		seen := map[int64]int{}
		for events := 0; events < watches/2*puts; {
			resp := w.receive() // with the events of several revisions, if the stream is late
			require.NotEmpty(t, resp.Events)
			for _, e := range resp.Events {
				require.Equal(t, fmt.Sprint(seen[resp.WatchId]), string(e.Kv.Value))
				seen[resp.WatchId]++
				events++
			}
		}
		require.Len(t, seen, watches/2)
	}
}
