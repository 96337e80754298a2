package etcdload

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// What is written by hand is what etcd's own code reads.
func TestRequests(t *testing.T) {
	key, end, value := []byte("key"), []byte("kez"), []byte("value")
	read := rangeRequest{key: key, end: end, limit: 500, serializable: true, keysOnly: true, countOnly: true}
	u := update{key: key, value: value}
	for name, c := range map[string]struct {
		b    []byte
		want proto.Message
	}{
		"put":   {appendPut(nil, key, value), &pb.PutRequest{Key: key, Value: value}},
		"range": {read.append(nil), &pb.RangeRequest{Key: key, RangeEnd: end, Limit: 500, Serializable: true, KeysOnly: true, CountOnly: true}},
		"get":   {(&rangeRequest{key: key}).append(nil), &pb.RangeRequest{Key: key}},
		"txn":   {u.append(nil), updateOf(key, value, 0)},
		"txn again": {func() []byte {
			u.rev = math.MaxInt64
			return u.append(nil)
		}(), updateOf(key, value, math.MaxInt64)},
		"delete": {appendDelete(nil, key), &pb.DeleteRangeRequest{Key: key}},
		"watch": {appendWatch(nil, key, end, 7), &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{Key: key, RangeEnd: end, StartRevision: 7},
		}}},
		"cancel": {appendCancel(nil, 7), &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
			CancelRequest: &pb.WatchCancelRequest{WatchId: 7},
		}}},
		"grant":     {appendGrant(nil, 600), &pb.LeaseGrantRequest{TTL: 600}},
		"revoke":    {appendLease(nil, 7), &pb.LeaseRevokeRequest{ID: 7}},
		"keepalive": {appendLease(nil, 7), &pb.LeaseKeepAliveRequest{ID: 7}},
	} {
		got := proto.Clone(c.want)
		proto.Reset(got)
		require.NoError(t, proto.Unmarshal(c.b, got), name)
		require.True(t, proto.Equal(c.want, got), "%s: %v", name, got)
	}
}

func updateOf(key, value []byte, rev int64) *pb.TxnRequest {
	return &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Key: key, Target: pb.Compare_MOD, Result: pb.Compare_EQUAL, TargetUnion: &pb.Compare_ModRevision{ModRevision: rev},
		}},
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: value}}}},
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}},
	}
}

// read reads what etcd's own code writes, in one piece or in many.
func read(t *testing.T, m proto.Message, a answer) {
	t.Helper()
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	require.Error(t, codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(b[:len(b)-1])}, a), "cut short")
	if r, ok := a.(chunkAnswer); ok {
		r.reset()
	}
	pieces := mem.BufferSlice{}
	for i := range b {
		pieces = append(pieces, mem.SliceBuffer(b[i:i+1]))
	}
	require.NoError(t, codec{}.Unmarshal(pieces, a))
	require.NoError(t, codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, a))
}

func TestAnswers(t *testing.T) {
	header := &pb.ResponseHeader{ClusterId: 1, MemberId: 2, Revision: 30, RaftTerm: 4}
	kv := &mvccpb.KeyValue{Key: []byte("k"), CreateRevision: 5, ModRevision: 6, Version: 7, Value: []byte("v"), Lease: 8}

	rev := &revAnswer{}
	read(t, &pb.PutResponse{Header: header, PrevKv: kv}, rev)
	require.Equal(t, int64(30), rev.rev)
	require.Error(t, rev.read(nil), "every answer has a revision")

	var rows []row
	found := &rangeAnswer{}
	read(t, &pb.RangeResponse{Header: header, Kvs: []*mvccpb.KeyValue{kv}, More: true, Count: 9}, found)
	require.Equal(t, int64(9), found.count)
	require.Equal(t, int64(30), found.rev)
	require.True(t, found.more)
	found.reset()
	found.each = func(r row) { rows = append(rows, row{modRev: r.modRev, key: append([]byte(nil), r.key...)}) }
	read(t, &pb.RangeStreamResponse{RangeResponse: &pb.RangeResponse{Kvs: []*mvccpb.KeyValue{kv, kv}}}, chunkAnswer{found})
	require.Equal(t, row{modRev: 6, key: []byte("k")}, rows[0])
	require.Equal(t, int64(4), found.rows, "chunks add up")

	txn := &txnAnswer{}
	read(t, &pb.TxnResponse{Header: header, Succeeded: true, Responses: []*pb.ResponseOp{
		{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{}}},
	}}, txn)
	require.True(t, txn.succeeded)
	require.Equal(t, int64(30), txn.rev)
	txn.found.each = func(r row) { require.Equal(t, int64(6), r.modRev) }
	read(t, &pb.TxnResponse{Header: header, Responses: []*pb.ResponseOp{
		{Response: &pb.ResponseOp_ResponseRange{ResponseRange: &pb.RangeResponse{Kvs: []*mvccpb.KeyValue{kv}}}},
	}}, txn)
	require.False(t, txn.succeeded)

	numbers := &numbersAnswer{}
	read(t, &pb.DeleteRangeResponse{Header: header, Deleted: 3}, numbers)
	require.Equal(t, numbersAnswer{second: 3}, *numbers)
	read(t, &pb.LeaseKeepAliveResponse{Header: header, ID: 3, TTL: 600}, numbers)
	require.Equal(t, numbersAnswer{second: 3, third: 600}, *numbers)

	watch := &watchAnswer{each: func(id int64, r row) error {
		require.Equal(t, int64(4), id)
		require.Equal(t, "v", string(r.value))
		return nil
	}}
	read(t, &pb.WatchResponse{Header: header, WatchId: 4, Events: []*mvccpb.Event{{Kv: kv}, {Kv: kv}}}, watch)
	read(t, &pb.WatchResponse{Header: header, Canceled: true, CompactRevision: 5, CancelReason: "gone"}, watch)
	require.True(t, watch.canceled)
	require.ErrorContains(t, watch.refusal(), "compacted, up to 5")
	require.Zero(t, watch.events)
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte{0x0a, 2, 0x18, 30, 0x5a, 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		watch := &watchAnswer{each: func(int64, row) error { return nil }}
		found := &rangeAnswer{each: func(row) {}}
		for _, a := range []answer{&revAnswer{}, found, chunkAnswer{found}, &txnAnswer{}, &numbersAnswer{}, watch} {
			_ = a.read(b) // whatever it is, it does not panic
		}
	})
}
