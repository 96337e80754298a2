package etcdv3

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/core"
)

// The tests of this file drive one watch stream by hand, through a feed and a
// connection of channels, to have its goroutines meet in orders that a real
// store seldom offers. service_test.go has the store.

// fixedStatus is a cluster of which only the status is known.
type fixedStatus struct {
	core.Cluster
	mu     sync.Mutex
	status core.Status
	// observer is set before others use it.
	observer bool
}

func (c *fixedStatus) Status() core.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

func (c *fixedStatus) Self() core.Self {
	s := c.Status()
	return core.Self{ClusterID: s.ClusterID, Member: s.Member, Leader: s.Leader, Term: s.Term, Learner: s.Learner, Observer: c.observer}
}

func (c *fixedStatus) setLeader(id core.MemberID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Leader = id
}

// call is what the stream asked of its feed.
type call struct {
	method string
	id     core.WatchID
	spec   core.WatchSpec
}

// handFeed notes calls and delivers what the test says.
type handFeed struct {
	calls      chan call
	deliveries chan core.Delivery
	removed    bool // what Remove reports
	closed     chan struct{}
}

func (f *handFeed) Add(id core.WatchID, spec core.WatchSpec) { f.calls <- call{"add", id, spec} }
func (f *handFeed) RequestProgress(id core.WatchID)          { f.calls <- call{method: "progress", id: id} }
func (f *handFeed) Close()                                   { close(f.closed) }

func (f *handFeed) Remove(id core.WatchID) bool {
	f.calls <- call{method: "remove", id: id}
	return f.removed
}

func (f *handFeed) Next(ctx context.Context) (core.Delivery, error) {
	select {
	case d, ok := <-f.deliveries:
		if !ok {
			return d, core.Stopped
		}
		return d, nil
	case <-ctx.Done():
		return core.Delivery{}, core.Canceled
	}
}

// handConn is a connection without a network.
type handConn struct {
	requests  chan *pb.WatchRequest
	responses chan *pb.WatchResponse
	failed    chan error
}

func (c *handConn) Recv() (*pb.WatchRequest, error) {
	select {
	case r, ok := <-c.requests:
		if !ok {
			return nil, io.EOF
		}
		return r, nil
	case err := <-c.failed:
		return nil, err
	}
}

func (c *handConn) Send(r *pb.WatchResponse) error {
	c.responses <- proto.Clone(r).(*pb.WatchResponse)
	return nil
}

func (c *handConn) SendMsg(m any) error {
	return c.Send(m.(*eventsMessage).response())
}

// storeOf opens one feed.
type storeOf struct {
	core.Store
	feed core.Feed
}

func (s storeOf) Watch(context.Context) (core.Feed, error) { return s.feed, nil }

func (storeOf) View(context.Context, core.Principal, core.Consistency) (core.View, error) {
	return halfView{}, nil
}

// halfView is a view of one who may not be told of what has the ACL 7.
type halfView struct {
	core.View
	core.ZnodeView
}

func (v halfView) Znodes() core.ZnodeView { return v }
func (halfView) Rev() core.Rev            { return 40 }
func (halfView) Close()                   {}

func (halfView) Visible(changes []core.Change) []core.Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c core.Change) bool { return c.KV.ACL == 7 })
}

type rig struct {
	*testing.T
	feed   *handFeed
	conn   *handConn
	ended  chan error
	cancel context.CancelCauseFunc
}

// startRig serves one stream.
func startRig(t *testing.T) *rig {
	r := &rig{
		T:     t,
		feed:  &handFeed{calls: make(chan call, 1000), deliveries: make(chan core.Delivery, 1000), closed: make(chan struct{})},
		conn:  &handConn{requests: make(chan *pb.WatchRequest), responses: make(chan *pb.WatchResponse, 1000), failed: make(chan error, 1)},
		ended: make(chan error, 1),
	}
	f := &face{Config: Config{
		Store:            storeOf{feed: r.feed},
		Cluster:          &fixedStatus{status: core.Status{ClusterID: 1, Member: 2, Term: 3, Rev: 40}},
		ProgressInterval: time.Minute,
		Logger:           slog.New(slog.DiscardHandler),
	}.withDefaults()}
	ctx, cancel := context.WithCancelCause(context.Background())
	r.cancel = cancel
	go func() { r.ended <- watchServer{f}.watch(ctx, r.conn) }()
	return r
}

// stop ends the stream as a client does that goes away.
func (r *rig) stop() {
	r.Helper()
	r.cancel(context.Canceled)
	require.Equal(r, rpctypes.ErrGRPCWatchCanceled, <-r.ended)
	<-r.feed.closed
	close(r.conn.requests)
	synctest.Wait()
}

func (r *rig) create(c *pb.WatchCreateRequest) {
	r.conn.requests <- &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: c}}
}

func (r *rig) cancelWatch(id int64) {
	r.conn.requests <- &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
		CancelRequest: &pb.WatchCancelRequest{WatchId: id},
	}}
}

// called returns the next call of the feed.
func (r *rig) called() call {
	r.Helper()
	synctest.Wait()
	select {
	case c := <-r.feed.calls:
		return c
	default:
		r.Fatal("the feed was not called")
		panic("unreachable")
	}
}

// silent checks that nothing is sent and the feed is not called.
func (r *rig) silent() {
	r.Helper()
	synctest.Wait()
	require.Empty(r, r.conn.responses)
	require.Empty(r, r.feed.calls)
}

// sent checks the next response. Its header is that of the rig, at rev.
func (r *rig) sent(rev int64, want *pb.WatchResponse) {
	r.Helper()
	synctest.Wait()
	select {
	case got := <-r.conn.responses:
		want.Header = &pb.ResponseHeader{ClusterId: 1, MemberId: 2, RaftTerm: 3, Revision: rev}
		requireEqual(r, want, got)
	default:
		r.Fatal("no response was sent")
	}
}

// created has the feed confirm a watch, as the feed's id, and checks that the
// client hears of it under its own.
func (r *rig) created(feedID core.WatchID, id int64) {
	r.Helper()
	r.feed.deliveries <- core.Delivery{Kind: core.DeliverCreated, Watch: feedID, Rev: 41}
	r.sent(41, &pb.WatchResponse{WatchId: id, Created: true})
}

// pass lets time go by on the clock of a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

func onRig(t *testing.T, name string, test func(r *rig)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := startRig(t)
			test(r)
			r.stop()
		})
	})
}

func TestWatchStream(t *testing.T) {
	key := []byte("k")
	refused := &pb.WatchResponse{WatchId: -1, Created: true, Canceled: true, CancelReason: reasonDuplicateID}

	onRig(t, "ids are the smallest never drawn", func(r *rig) {
		for i, ask := range []struct{ id, want int64 }{{0, 0}, {2, 2}, {0, 1}, {0, 3}, {-5, -5}} {
			r.create(&pb.WatchCreateRequest{Key: key, WatchId: ask.id})
			require.Equal(r, "add", r.called().method)
			r.created(core.WatchID(i+1), ask.want)
		}
		r.cancelWatch(1)
		require.Equal(r, call{method: "remove", id: 3}, r.called())
		r.feed.deliveries <- core.Delivery{Kind: core.DeliverCanceled, Watch: 3, Rev: 42}
		r.sent(42, &pb.WatchResponse{WatchId: 1, Canceled: true})
		r.create(&pb.WatchCreateRequest{Key: key})
		r.called()
		r.created(6, 4) // 1 was drawn before
	})

	onRig(t, "specification", func(r *rig) {
		r.create(&pb.WatchCreateRequest{
			RangeEnd: []byte{0}, StartRevision: 7, PrevKv: true,
			Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT, pb.WatchCreateRequest_NODELETE, 9},
		})
		require.Equal(r, core.WatchSpec{
			Interval: core.Interval{Key: []byte{0}, End: core.FromKey}, Start: 7, PrevKV: true, NoPut: true, NoDelete: true,
		}, r.called().spec)
	})

	onRig(t, "refusals", func(r *rig) {
		r.create(&pb.WatchCreateRequest{Key: key, StartRevision: -1})
		r.sent(40, &pb.WatchResponse{
			WatchId: -1, Created: true, Canceled: true,
			CancelReason: "etcdserver: mvcc: required revision has been compacted",
		})
		for _, end := range []string{"k", "a"} {
			r.create(&pb.WatchCreateRequest{Key: key, RangeEnd: []byte(end)})
			r.sent(40, &pb.WatchResponse{
				WatchId: -1, Created: true, Canceled: true, CancelReason: "mvcc: watcher range is empty",
			})
		}
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5})
		r.called()
		r.created(1, 5)
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5})
		r.sent(40, &pb.WatchResponse{
			WatchId: -1, Created: true, Canceled: true,
			CancelReason: "mvcc: duplicate watch ID provided on the WatchStream",
		})
	})

	onRig(t, "answers come in the order of the requests", func(r *rig) {
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5})
		r.called()
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5})
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 6})
		r.called()
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 6})
		r.silent()
		r.created(1, 5)
		r.sent(40, refused)
		r.silent()
		r.created(2, 6)
		r.sent(40, refused)
		r.silent()
	})

	onRig(t, "unknown ids and requests are passed over", func(r *rig) {
		r.cancelWatch(9)
		r.conn.requests <- &pb.WatchRequest{}
		r.silent()
	})

	onRig(t, "an id is free once it is cancelled", func(r *rig) {
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5})
		r.called()
		r.created(1, 5)
		r.feed.removed = true
		r.cancelWatch(5)
		require.Equal(r, call{method: "remove", id: 1}, r.called())
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5})
		require.Equal(r, core.WatchID(2), r.called().id)
		// What was queued for the old watch is still its own.
		r.feed.deliveries <- core.Delivery{Watch: 1, Rev: 42, Changes: []core.Change{{KV: kv("k", 42, 42, 1, "v", 0)}}}
		r.sent(42, &pb.WatchResponse{WatchId: 5, Events: []*mvccpb.Event{{Kv: kvOf(kv("k", 42, 42, 1, "v", 0))}}})
		r.feed.deliveries <- core.Delivery{Kind: core.DeliverCanceled, Watch: 1, Rev: 43}
		r.sent(43, &pb.WatchResponse{WatchId: 5, Canceled: true})
		r.created(2, 5)
	})

	onRig(t, "a compacted watch keeps its id until it is cancelled", func(r *rig) {
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5})
		r.called()
		r.created(1, 5)
		r.feed.deliveries <- core.Delivery{Kind: core.DeliverCompacted, Watch: 1, Rev: 44, CompactRev: 30}
		r.sent(0, &pb.WatchResponse{WatchId: 5, Canceled: true, CompactRevision: 30})
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5})
		r.sent(40, refused)
		r.conn.requests <- &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}
		r.silent() // etcd takes the stream for behind
		r.cancelWatch(5)
		r.sent(40, &pb.WatchResponse{WatchId: 5, Canceled: true})
		r.conn.requests <- &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}
		require.Equal(r, call{method: "progress", id: core.AllWatches}, r.called())
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5})
		r.called()
		r.created(2, 5)
	})

	onRig(t, "cancelled while compaction ends it", func(r *rig) {
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5})
		r.called()
		r.created(1, 5)
		r.cancelWatch(5) // the feed has ended it already
		r.called()
		r.silent()
		r.feed.deliveries <- core.Delivery{Kind: core.DeliverCompacted, Watch: 1, CompactRev: 30}
		r.sent(0, &pb.WatchResponse{WatchId: 5, Canceled: true, CompactRevision: 30})
		r.sent(40, &pb.WatchResponse{WatchId: 5, Canceled: true})
		r.silent()
	})

	onRig(t, "progress", func(r *rig) {
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5})
		r.called()
		r.created(1, 5)
		r.feed.deliveries <- core.Delivery{Kind: core.DeliverProgress, Watch: core.AllWatches, Rev: 44}
		r.sent(44, &pb.WatchResponse{WatchId: -1})
		r.feed.deliveries <- core.Delivery{Kind: core.DeliverProgress, Watch: 1, Rev: 45}
		r.sent(45, &pb.WatchResponse{WatchId: 5})
	})

	onRig(t, "progress is asked for when a watch is quiet", func(r *rig) {
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5, ProgressNotify: true})
		r.called()
		r.created(1, 5)
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 6})
		r.called()
		r.created(2, 6)
		pass(59 * time.Second)
		r.silent()
		pass(7 * time.Second) // beyond a minute and a tenth
		require.Equal(r, call{method: "progress", id: 1}, r.called())
		r.feed.deliveries <- core.Delivery{Watch: 1, Rev: 42, Changes: []core.Change{{KV: &core.KV{Key: key, ModRev: 42}}}}
		r.sent(42, &pb.WatchResponse{WatchId: 5, Events: []*mvccpb.Event{
			{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: key, ModRevision: 42}},
		}})
		pass(66 * time.Second)
		r.silent() // it was not quiet
		pass(66 * time.Second)
		require.Equal(r, call{method: "progress", id: 1}, r.called())
	})

	onRig(t, "a client that does not read is not read from", func(r *rig) {
		r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5})
		r.called()
		for range maxReplies - 1 {
			r.create(&pb.WatchCreateRequest{Key: key, WatchId: 5})
		}
		go r.create(&pb.WatchCreateRequest{Key: key, WatchId: 6}) // read, but not acted upon
		r.silent()
		r.created(1, 5)
		for range maxReplies - 1 {
			r.sent(40, refused)
		}
		require.Equal(r, core.WatchID(2), r.called().id)
		r.created(2, 6)
	})

	onRig(t, "half-close leaves the watches", func(r *rig) {
		r.create(&pb.WatchCreateRequest{Key: key})
		r.called()
		close(r.conn.requests)
		r.conn.requests = make(chan *pb.WatchRequest) // for stop to close
		r.created(1, 0)
		r.feed.deliveries <- core.Delivery{Kind: core.DeliverProgress, Watch: 1, Rev: 45}
		r.sent(45, &pb.WatchResponse{WatchId: 0})
	})
}

func TestWatchStreamEnds(t *testing.T) {
	gone := status.Error(codes.Internal, "bad frame")
	for _, tt := range []struct {
		name string
		end  func(r *rig)
		want error
	}{
		{"client gone", func(r *rig) { r.cancel(context.Canceled) }, rpctypes.ErrGRPCWatchCanceled},
		{"deadline", func(r *rig) { r.cancel(context.DeadlineExceeded) }, context.DeadlineExceeded},
		{"no leader", func(r *rig) { r.cancel(rpctypes.ErrGRPCNoLeader) }, rpctypes.ErrGRPCNoLeader},
		{"transport fails", func(r *rig) { r.conn.failed <- gone }, gone},
		{"member stops", func(r *rig) { close(r.feed.deliveries) }, core.Stopped},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startRig(t)
				tt.end(r)
				require.Equal(t, tt.want, <-r.ended)
				<-r.feed.closed
				if tt.want != gone {
					close(r.conn.requests)
				}
			})
		})
	}
}
