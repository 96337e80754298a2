package oracle

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// compared returns what compare makes of two replies, on sides that never run.
func compared(etcd, ours reply) outcome {
	newSide := func() *side { return &side{endpoint: "127.0.0.1:1", aliases: make(aliases)} }
	p := &pair{etcd: newSide(), ours: newSide(), usual: usual{cluster: 1, member: 2, term: 3}}
	return p.compare(etcd, ours)
}

func header(rev int64) *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: 1, MemberId: 2, RaftTerm: 3, Revision: rev}
}

func TestWhatDiffersIsSeen(t *testing.T) {
	base := func() *pb.RangeResponse {
		return &pb.RangeResponse{Header: header(7), Count: 1, Kvs: []*mvccpb.KeyValue{{Key: []byte("k"), Value: []byte("v"), Lease: 5}}}
	}
	require.True(t, compared(reply{message: base()}, reply{message: base()}).same())
	for name, change := range map[string]func(*pb.RangeResponse){
		"revision":     func(r *pb.RangeResponse) { r.Header.Revision++ },
		"cluster":      func(r *pb.RangeResponse) { r.Header.ClusterId++ },
		"term":         func(r *pb.RangeResponse) { r.Header.RaftTerm = 0 },
		"no header":    func(r *pb.RangeResponse) { r.Header = nil },
		"empty header": func(r *pb.RangeResponse) { r.Header = &pb.ResponseHeader{} },
		"count":        func(r *pb.RangeResponse) { r.Count = 0 },
		"more":         func(r *pb.RangeResponse) { r.More = true },
		"value":        func(r *pb.RangeResponse) { r.Kvs[0].Value = nil },
		"long value":   func(r *pb.RangeResponse) { r.Kvs[0].Value = make([]byte, 2*longValue) },
		"lease":        func(r *pb.RangeResponse) { r.Kvs[0].Lease = 0 },
		"another kv":   func(r *pb.RangeResponse) { r.Kvs = append(r.Kvs, r.Kvs[0]) },
		"unknown field": func(r *pb.RangeResponse) {
			r.ProtoReflect().SetUnknown(protowire.AppendTag(nil, 99, protowire.VarintType))
		},
	} {
		changed := base()
		change(changed)
		require.False(t, compared(reply{message: base()}, reply{message: changed}).same(), name)
	}

	refused := func(c codes.Code, text string) reply { return reply{err: status.New(c, text)} }
	require.True(t, compared(refused(codes.NotFound, "x"), refused(codes.NotFound, "x")).same())
	require.False(t, compared(refused(codes.NotFound, "x"), refused(codes.NotFound, "y")).same())
	require.False(t, compared(refused(codes.NotFound, "x"), refused(codes.Unknown, "x")).same())
	require.False(t, compared(refused(codes.NotFound, "x"), reply{message: base()}).same())
}

func TestAnAllowanceCoversNoMore(t *testing.T) {
	ttl := func(left int64, keys ...string) reply {
		r := &pb.LeaseTimeToLiveResponse{ID: 1, TTL: left, GrantedTTL: 100}
		for _, key := range keys {
			r.Keys = append(r.Keys, []byte(key))
		}
		return reply{message: r}
	}
	require.True(t, compared(ttl(99, "a", "b"), ttl(98, "b", "a")).same())
	require.False(t, compared(ttl(99, "a"), ttl(98, "b")).same())
	require.False(t, compared(ttl(99), ttl(97)).same())
	require.False(t, compared(ttl(0), ttl(-1)).same())
	require.False(t, compared(ttl(99), ttl(100)).same(), "never more than a tick below what was granted")

	size := func(size, inUse int64) reply {
		return reply{message: &pb.StatusResponse{DbSize: size, DbSizeInUse: inUse}}
	}
	require.True(t, compared(size(9, 8), size(100, 50)).same())
	require.False(t, compared(size(9, 8), size(0, 0)).same())
	require.False(t, compared(size(9, 8), size(50, 100)).same(), "more in use than there is")
}

func TestLeaseIDsThatAServerDrawsAreAliased(t *testing.T) {
	a := aliases{}
	a.learn(77)
	a.learn(77)
	a.learn(88)
	r := &pb.TxnResponse{Responses: []*pb.ResponseOp{{Response: &pb.ResponseOp_ResponseRange{
		ResponseRange: &pb.RangeResponse{Kvs: []*mvccpb.KeyValue{{Lease: 88, Version: 77}}},
	}}}}
	a.replace(r.ProtoReflect())
	kv := r.Responses[0].GetResponseRange().Kvs[0]
	require.EqualValues(t, firstAlias+1, kv.Lease)
	require.EqualValues(t, 77, kv.Version, "no lease")

	s := &side{aliases: a}
	request := &pb.PutRequest{Key: []byte("k"), Lease: firstAlias}
	require.EqualValues(t, 77, s.resolve(request).(*pb.PutRequest).Lease)
	require.EqualValues(t, firstAlias, request.Lease, "the request is shared between the sides")
}

func TestOnlyAKeysLastEventOfARevisionCounts(t *testing.T) {
	event := func(key string, rev int64, kind mvccpb.Event_EventType) *mvccpb.Event {
		return &mvccpb.Event{Type: kind, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev}}
	}
	r := &pb.WatchResponse{Events: []*mvccpb.Event{
		event("a", 4, mvccpb.Event_DELETE), event("b", 4, mvccpb.Event_PUT), event("a", 4, mvccpb.Event_PUT), event("a", 5, mvccpb.Event_PUT),
	}}
	lastStates(r)
	want := &pb.WatchResponse{Events: []*mvccpb.Event{
		event("b", 4, mvccpb.Event_PUT), event("a", 4, mvccpb.Event_PUT), event("a", 5, mvccpb.Event_PUT),
	}}
	require.True(t, proto.Equal(want, r), r)
}

func TestRenderFoldsEqualNeighbours(t *testing.T) {
	r := &pb.DeleteRangeResponse{PrevKvs: []*mvccpb.KeyValue{{Version: 1}, {Version: 1}, {Version: 2}}}
	require.Equal(t, "prev_kvs: {version: 1} (2 times)\nprev_kvs: {version: 2}\n", usual{}.render(r))
	require.Equal(t, "(empty)\n", usual{}.render(&pb.DeleteRangeResponse{}))
	require.True(t, strings.Contains(usual{cluster: 1, member: 2, term: 3}.render(&pb.PutResponse{Header: header(4)}), "{* revision: 4}"))
}
