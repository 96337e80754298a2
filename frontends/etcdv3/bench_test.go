package etcdv3

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/core"
)

// cannedStore answers at once with the same things, so that a benchmark measures
// the face alone.
type cannedStore struct {
	core.Store
	result core.Result
	kvs    []*core.KV
}

type cannedView struct {
	core.View
	kvs []*core.KV
}

func (s *cannedStore) Do(context.Context, core.Principal, core.Command) (core.Result, error) {
	return s.result, nil
}

func (s *cannedStore) View(context.Context, core.Principal, core.Consistency) (core.View, error) {
	return &cannedView{kvs: s.kvs}, nil
}

func (v *cannedView) Range(_ context.Context, q *core.Range) (core.RangeResult, error) {
	for _, kv := range v.kvs {
		if err := q.Each(kv); err != nil {
			return core.RangeResult{}, err
		}
	}
	return core.RangeResult{Count: int64(len(v.kvs))}, nil
}

// allSeen has nothing hidden.
type allSeen struct{ core.ZnodeView }

func (allSeen) Visible(changes []core.Change) []core.Change { return changes }

func (v *cannedView) Znodes() core.ZnodeView { return allSeen{} }

func (v *cannedView) Rev() core.Rev { return 1000 }
func (v *cannedView) Close()        {}

// constantStatus is a cluster whose status costs nothing.
type constantStatus struct{ core.Cluster }

func (constantStatus) Status() core.Status {
	return core.Status{ClusterID: 1 << 60, Member: 1 << 60, Leader: 1, Term: 7, Rev: 1000}
}

func (constantStatus) Self() core.Self {
	return core.Self{ClusterID: 1 << 60, Member: 1 << 60, Leader: 1, Term: 7}
}

// benchmarkCall measures what the face does for one unary call: decoding the
// request, the handler, encoding the reply. grpc-go's own work is left out.
func benchmarkCall(b *testing.B, store *cannedStore, method string, req proto.Message) {
	f := &face{Config: Config{Store: store, Cluster: constantStatus{}}.withDefaults()}
	desc := f.Metrics.instrument(f.kv().describe())
	var handler grpc.MethodHandler
	for _, m := range desc.Methods {
		if m.MethodName == method {
			handler = m.Handler
		}
	}
	wire, err := proto.Marshal(req)
	if err != nil {
		b.Fatal(err)
	}
	c, data := codec{metrics: f.Metrics}, mem.BufferSlice{mem.SliceBuffer(wire)}
	decode := func(m any) error { return c.Unmarshal(data, m) }
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		resp, err := handler(nil, ctx, decode, nil)
		if err != nil {
			b.Fatal(err)
		}
		out, err := c.Marshal(resp)
		if err != nil {
			b.Fatal(err)
		}
		out.Free()
	}
}

var benchKey, benchValue = []byte("config/0000000042"), bytes.Repeat([]byte{'v'}, 256)

func BenchmarkPut(b *testing.B) {
	benchmarkCall(b, &cannedStore{result: core.Result{Rev: 1000, Outcome: core.PutOutcome{}}}, "Put",
		&pb.PutRequest{Key: benchKey, Value: benchValue})
}

func BenchmarkGet(b *testing.B) {
	store := &cannedStore{kvs: []*core.KV{{Key: benchKey, Value: benchValue, CreateRev: 500, ModRev: 900, Version: 5}}}
	benchmarkCall(b, store, "Range", &pb.RangeRequest{Key: benchKey})
}

func BenchmarkList(b *testing.B) {
	for _, n := range []int{10, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			store := &cannedStore{}
			for range n {
				store.kvs = append(store.kvs, &core.KV{Key: benchKey, Value: benchValue, CreateRev: 500, ModRev: 900, Version: 5})
			}
			benchmarkCall(b, store, "Range", &pb.RangeRequest{Key: benchKey, RangeEnd: []byte("z")})
		})
	}
}

func BenchmarkTxn(b *testing.B) {
	store := &cannedStore{result: core.Result{Rev: 1000, Outcome: core.TxnOutcome{
		Succeeded: true, Ops: []core.OpOutcome{{Rev: 1000, Outcome: core.PutOutcome{}}},
	}}}
	benchmarkCall(b, store, "Txn", &pb.TxnRequest{
		Compare: []*pb.Compare{{Key: benchKey, Target: pb.Compare_MOD, TargetUnion: &pb.Compare_ModRevision{ModRevision: 9}}},
		Success: ops(opPut(&pb.PutRequest{Key: benchKey, Value: benchValue})),
		Failure: ops(opRange(&pb.RangeRequest{Key: benchKey})),
	})
}

// BenchmarkEvent measures what a stream does for one response with one event.
func BenchmarkEvent(b *testing.B) {
	f := &face{Config: Config{Store: &cannedStore{}, Cluster: constantStatus{}}.withDefaults()}
	c := codec{metrics: f.Metrics}
	ws := newWatchStream(f, nil, codecConn{c})
	w := &watch{id: 7, feedID: 1}
	ws.byFeedID[1] = w
	d := core.Delivery{Watch: 1, Rev: 900, Changes: []core.Change{
		{KV: &core.KV{Key: benchKey, Value: benchValue, CreateRev: 500, ModRev: 900, Version: 5}},
	}}
	b.ReportAllocs()
	for b.Loop() {
		if err := ws.deliver(b.Context(), &d); err != nil {
			b.Fatal(err)
		}
	}
}

// codecConn encodes what it is sent.
type codecConn struct{ codec codec }

func (codecConn) Recv() (*pb.WatchRequest, error) { panic("nothing to receive") }

func (c codecConn) Send(r *pb.WatchResponse) error { return c.SendMsg(r) }

func (c codecConn) SendMsg(m any) error {
	out, err := c.codec.Marshal(m)
	out.Free()
	return err
}

// BenchmarkEventToManyStreams measures what 1000 streams do for one event that the
// change feed gives to all of them.
func BenchmarkEventToManyStreams(b *testing.B) {
	const streams = 1000
	f := &face{Config: Config{Store: &cannedStore{}, Cluster: constantStatus{}}.withDefaults()}
	for _, size := range []int{256, 1 << 10, 30 << 10} {
		for _, prevKV := range []bool{false, true} {
			b.Run(fmt.Sprintf("value=%d/prev_kv=%v", size, prevKV), func(b *testing.B) {
				ws := newWatchStream(f, nil, codecConn{codec{metrics: f.Metrics}})
				ws.byFeedID[1] = &watch{id: 7, feedID: 1, prevKV: prevKV}
				version := &core.KV{Key: benchKey, Value: bytes.Repeat([]byte{'v'}, size), CreateRev: 500, ModRev: 900, Version: 5}
				b.ReportAllocs()
				b.SetBytes(streams * int64(size))
				for b.Loop() {
					d := core.Delivery{Watch: 1, Rev: 900, Changes: []core.Change{{KV: version, Prev: version, Memo: new(core.Memo)}}}
					for range streams {
						if err := ws.deliver(b.Context(), &d); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}
