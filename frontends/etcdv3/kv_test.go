package etcdv3

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func wireKV(key, value string, create, mod, version int64) *mvccpb.KeyValue {
	out := &mvccpb.KeyValue{Key: []byte(key), CreateRevision: create, ModRevision: mod, Version: version}
	if value != "" {
		out.Value = []byte(value)
	}
	return out
}

func TestPutAndGet(t *testing.T) {
	s := startServer(t)
	requireEqual(t, &pb.RangeResponse{Header: s.header(1)}, s.get("a"))
	requireEqual(t, &pb.PutResponse{Header: s.header(2)}, s.put("a", "1"))
	requireEqual(t, &pb.RangeResponse{
		Header: s.header(2), Kvs: []*mvccpb.KeyValue{wireKV("a", "1", 2, 2, 1)}, Count: 1,
	}, s.get("a"))
	requireEqual(t, &pb.PutResponse{Header: s.header(3), PrevKv: wireKV("a", "1", 2, 2, 1)},
		s.putRequest(&pb.PutRequest{Key: []byte("a"), Value: []byte("1"), PrevKv: true}))
	requireEqual(t, &pb.PutResponse{Header: s.header(4)}, s.putRequest(&pb.PutRequest{Key: []byte("b"), PrevKv: true}))
	requireEqual(t, &pb.PutResponse{Header: s.header(5)}, s.putRequest(&pb.PutRequest{Key: []byte("a"), IgnoreValue: true}))
	requireEqual(t, &pb.RangeResponse{
		Header: s.header(5), Kvs: []*mvccpb.KeyValue{wireKV("a", "1", 2, 5, 3)}, Count: 1,
	}, s.rangeRequest(&pb.RangeRequest{Key: []byte("a"), Serializable: true}))
}

// Failed puts say why, as etcd does, and take no revision.
func TestPutErrors(t *testing.T) {
	s := startServer(t)
	key := []byte("a")
	for _, tt := range []struct {
		req  *pb.PutRequest
		code codes.Code
		text string
	}{
		{&pb.PutRequest{}, codes.InvalidArgument, "etcdserver: key is not provided"},
		{&pb.PutRequest{Key: key, IgnoreValue: true}, codes.InvalidArgument, "etcdserver: key not found"},
		{&pb.PutRequest{Key: key, IgnoreLease: true}, codes.InvalidArgument, "etcdserver: key not found"},
		{&pb.PutRequest{Key: key, Value: key, IgnoreValue: true}, codes.InvalidArgument, "etcdserver: value is provided"},
		{&pb.PutRequest{Key: key, Lease: 1, IgnoreLease: true}, codes.InvalidArgument, "etcdserver: lease is provided"},
		{&pb.PutRequest{Key: key, Lease: 404}, codes.NotFound, "etcdserver: requested lease not found"},
		{
			&pb.PutRequest{Key: key, Value: bytes.Repeat(key, 64<<10)},
			codes.InvalidArgument, "etcdserver: request is too large",
		},
		{
			&pb.PutRequest{Key: key, Value: bytes.Repeat(key, 576<<10)},
			codes.ResourceExhausted, "grpc: received message larger than max (589831 vs. 589824)",
		},
	} {
		_, err := s.kv.Put(s.ctx(), tt.req)
		requireStatus(t, tt.code, tt.text, err)
	}
	require.EqualValues(t, 1, s.rev())
}

func TestRange(t *testing.T) {
	s := startServer(t)
	for _, kv := range []string{"a=3", "b=1", "c=2", "d=0"} {
		key, value, _ := strings.Cut(kv, "=")
		s.put(key, value)
	}
	s.put("b", "9") // revision 6
	all := func(change func(*pb.RangeRequest)) *pb.RangeRequest {
		r := &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("z")}
		change(r)
		return r
	}
	for _, tt := range []struct {
		name  string
		req   *pb.RangeRequest
		keys  string
		count int64
		more  bool
	}{
		{"all", all(func(*pb.RangeRequest) {}), "abcd", 4, false},
		{"half-open", all(func(r *pb.RangeRequest) { r.RangeEnd = []byte("c") }), "ab", 2, false},
		{"from key", all(func(r *pb.RangeRequest) { r.Key, r.RangeEnd = []byte("c"), []byte{0} }), "cd", 2, false},
		{"everything", all(func(r *pb.RangeRequest) { r.Key, r.RangeEnd = []byte{0}, []byte{0} }), "abcd", 4, false},
		{"inverted", all(func(r *pb.RangeRequest) { r.Key, r.RangeEnd = []byte("z"), []byte("a") }), "", 0, false},
		{"limit", all(func(r *pb.RangeRequest) { r.Limit = 3 }), "abc", 4, true},
		{"limit reached", all(func(r *pb.RangeRequest) { r.Limit = 4 }), "abcd", 4, false},
		{"negative limit", all(func(r *pb.RangeRequest) { r.Limit = -1 }), "abcd", 4, false},
		{"count", all(func(r *pb.RangeRequest) { r.CountOnly, r.Limit = true, 1 }), "", 4, false},
		{"earlier", all(func(r *pb.RangeRequest) { r.Revision = 3 }), "ab", 2, false},
		{"before all", all(func(r *pb.RangeRequest) { r.Revision = 1 }), "", 0, false},
		{"negative revision", all(func(r *pb.RangeRequest) { r.Revision = -7 }), "abcd", 4, false},
		{"descending", all(func(r *pb.RangeRequest) { r.SortOrder, r.Limit = pb.RangeRequest_DESCEND, 2 }), "dc", 4, true},
		{"by value", all(func(r *pb.RangeRequest) {
			r.SortTarget, r.SortOrder = pb.RangeRequest_VALUE, pb.RangeRequest_ASCEND
		}), "dcab", 4, false},
		{"by revision, the newest", all(func(r *pb.RangeRequest) {
			r.SortTarget, r.SortOrder, r.Limit = pb.RangeRequest_MOD, pb.RangeRequest_DESCEND, 1
		}), "b", 4, true},
		// The limit and one more are cut by key, then sorted.
		{"by value without an order", all(func(r *pb.RangeRequest) {
			r.SortTarget, r.Limit = pb.RangeRequest_VALUE, 2
		}), "ca", 4, true},
		{"not before", all(func(r *pb.RangeRequest) { r.MinModRevision = 4 }), "bcd", 4, false},
		{"not after", all(func(r *pb.RangeRequest) { r.MaxModRevision, r.Limit = 4, 1 }), "a", 4, true},
		{"created between", all(func(r *pb.RangeRequest) { r.MinCreateRevision, r.MaxCreateRevision = 3, 4 }), "bc", 4, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := s.rangeRequest(tt.req)
			keys := ""
			for _, kv := range resp.Kvs {
				keys += string(kv.Key)
			}
			require.Equal(t, tt.keys, keys)
			require.Equal(t, tt.count, resp.Count)
			require.Equal(t, tt.more, resp.More)
			requireEqual(t, s.header(6), resp.Header) // the current revision, whatever was asked for
		})
	}
	_, err := s.kv.Range(s.ctx(), &pb.RangeRequest{Key: []byte("a"), Revision: 7})
	requireStatus(t, codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision", err)
	_, err = s.kv.Range(s.ctx(), &pb.RangeRequest{Key: []byte("a"), SortOrder: 7})
	requireStatus(t, codes.InvalidArgument, "etcdserver: invalid sort option", err)
	_, err = s.kv.Range(s.ctx(), &pb.RangeRequest{})
	requireStatus(t, codes.InvalidArgument, "etcdserver: key is not provided", err)
}

func TestKeysOnly(t *testing.T) {
	s := startServer(t)
	lease, err := s.lease.LeaseGrant(s.ctx(), &pb.LeaseGrantRequest{TTL: 60})
	require.NoError(t, err)
	s.putRequest(&pb.PutRequest{Key: []byte("a"), Value: []byte("1"), Lease: lease.ID})
	requireEqual(t, &pb.RangeResponse{
		Header: s.header(2), Kvs: []*mvccpb.KeyValue{wireKV("a", "", 2, 2, 1)}, Count: 1,
	}, s.rangeRequest(&pb.RangeRequest{Key: []byte("a"), KeysOnly: true}))
	require.Equal(t, lease.ID, s.get("a").Kvs[0].Lease, "keys_only must not change the cached key")
}

func TestDeleteRange(t *testing.T) {
	s := startServer(t)
	s.put("a", "1")
	s.put("b", "2")
	requireEqual(t, &pb.DeleteRangeResponse{Header: s.header(3)}, s.del("x", ""))
	resp, err := s.kv.DeleteRange(s.ctx(), &pb.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte{0}, PrevKv: true})
	require.NoError(t, err)
	requireEqual(t, &pb.DeleteRangeResponse{
		Header: s.header(4), Deleted: 2,
		PrevKvs: []*mvccpb.KeyValue{wireKV("a", "1", 2, 2, 1), wireKV("b", "2", 3, 3, 1)},
	}, resp)
	_, err = s.kv.DeleteRange(s.ctx(), &pb.DeleteRangeRequest{})
	requireStatus(t, codes.InvalidArgument, "etcdserver: key is not provided", err)
	requireEqual(t, &pb.PutResponse{Header: s.header(5)}, s.put("a", "new"))
	requireEqual(t, wireKV("a", "new", 5, 5, 1), s.get("a").Kvs[0])
}

func equalValue(key, value string) *pb.Compare {
	return &pb.Compare{
		Key: []byte(key), Target: pb.Compare_VALUE, Result: pb.Compare_EQUAL,
		TargetUnion: &pb.Compare_Value{Value: []byte(value)},
	}
}

func TestTxn(t *testing.T) {
	s := startServer(t)
	s.put("a", "1")
	get := opRange(&pb.RangeRequest{Key: []byte("a")})
	resp := s.txn(&pb.TxnRequest{
		Compare: []*pb.Compare{equalValue("a", "1")},
		Success: ops(
			get,
			opPut(&pb.PutRequest{Key: []byte("a"), Value: []byte("2"), PrevKv: true}),
			get,
			del("x", ""),
			// Compares see the state before the transaction.
			opTxn(&pb.TxnRequest{Compare: []*pb.Compare{equalValue("a", "2")}, Failure: ops(put("c"))}),
		),
		Failure: ops(del("a", "")),
	})
	requireEqual(t, &pb.TxnResponse{Header: s.header(3), Succeeded: true, Responses: []*pb.ResponseOp{
		{Response: &pb.ResponseOp_ResponseRange{ResponseRange: &pb.RangeResponse{
			Header: &pb.ResponseHeader{Revision: 2}, Kvs: []*mvccpb.KeyValue{wireKV("a", "1", 2, 2, 1)}, Count: 1,
		}}},
		{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{
			Header: &pb.ResponseHeader{Revision: 3}, PrevKv: wireKV("a", "1", 2, 2, 1),
		}}},
		{Response: &pb.ResponseOp_ResponseRange{ResponseRange: &pb.RangeResponse{
			Header: &pb.ResponseHeader{Revision: 3}, Kvs: []*mvccpb.KeyValue{wireKV("a", "2", 2, 3, 2)}, Count: 1,
		}}},
		{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: &pb.DeleteRangeResponse{
			Header: &pb.ResponseHeader{Revision: 3},
		}}},
		{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: &pb.TxnResponse{
			Header: &pb.ResponseHeader{},
			Responses: []*pb.ResponseOp{{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{
				Header: &pb.ResponseHeader{Revision: 3},
			}}}},
		}}},
	}}, resp)

	// The other branch, in which nothing happens, takes no revision.
	requireEqual(t, &pb.TxnResponse{Header: s.header(3), Responses: []*pb.ResponseOp{
		{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: &pb.DeleteRangeResponse{
			Header: &pb.ResponseHeader{Revision: 3},
		}}},
	}}, s.txn(&pb.TxnRequest{
		Compare: []*pb.Compare{equalValue("missing", "")}, Success: ops(put("a")), Failure: ops(del("x", "")),
	}))
}

// A transaction that only reads does not go through the log.
func TestReadOnlyTxn(t *testing.T) {
	s := startServer(t)
	s.put("a", "1")
	for _, serializable := range []bool{false, true} {
		requireEqual(t, &pb.TxnResponse{Header: s.header(2), Succeeded: true, Responses: []*pb.ResponseOp{
			{Response: &pb.ResponseOp_ResponseRange{ResponseRange: &pb.RangeResponse{
				Header: &pb.ResponseHeader{Revision: 2}, Kvs: []*mvccpb.KeyValue{wireKV("a", "", 2, 2, 1)}, Count: 1,
			}}},
		}}, s.txn(&pb.TxnRequest{
			Compare: []*pb.Compare{equalValue("a", "1")},
			Success: ops(opRange(&pb.RangeRequest{Key: []byte("a"), KeysOnly: true, Serializable: serializable})),
		}))
	}
	requireEqual(t, &pb.TxnResponse{Header: s.header(2), Succeeded: true}, s.txn(&pb.TxnRequest{}))

	// The log has the founding, the leader's own entry, that of the member's name, and
	// the two puts. The status may tell of the last a moment after its reply.
	const entries = 5
	s.put("a", "2")
	require.Eventually(t, func() bool { return s.node.Status().Applied >= entries }, 10*time.Second, time.Millisecond)
	require.EqualValues(t, entries, s.node.Status().Applied)
}

func TestTxnIsSerializable(t *testing.T) {
	local := opRange(&pb.RangeRequest{Key: []byte("a"), Serializable: true})
	require.True(t, serializable(&pb.TxnRequest{}), "so etcd takes one without operations")
	require.True(t, serializable(&pb.TxnRequest{Success: ops(local), Failure: ops(local)}))
	require.False(t, serializable(&pb.TxnRequest{Success: ops(local), Failure: ops(opRange(&pb.RangeRequest{}))}))
}

func TestTxnErrors(t *testing.T) {
	s := startServer(t)
	s.put("a", "1")
	many := make([]*pb.RequestOp, 9)
	for i := range many {
		many[i] = opRange(&pb.RangeRequest{Key: []byte("a")})
	}
	for _, tt := range []struct {
		req  *pb.TxnRequest
		code codes.Code
		text string
	}{
		{&pb.TxnRequest{Success: many}, codes.InvalidArgument, "etcdserver: too many operations in txn request"},
		{&pb.TxnRequest{Success: ops(put("a"), put("a"))}, codes.InvalidArgument, "etcdserver: duplicate key given in txn request"},
		{&pb.TxnRequest{Failure: ops(put("a"), put("a"))}, codes.InvalidArgument, "etcdserver: duplicate key given in txn request"},
		{&pb.TxnRequest{Success: ops(&pb.RequestOp{})}, codes.InvalidArgument, "etcdserver: key not found"},
		{&pb.TxnRequest{Success: ops(put(""))}, codes.InvalidArgument, "etcdserver: key is not provided"},
		{
			&pb.TxnRequest{Success: ops(put("b"), opPut(&pb.PutRequest{Key: []byte("c"), Lease: 404}))},
			codes.NotFound, "etcdserver: requested lease not found",
		},
		{
			&pb.TxnRequest{Success: ops(put("b"), opRange(&pb.RangeRequest{Key: []byte("a"), Revision: 99}))},
			codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision",
		},
		{
			&pb.TxnRequest{Success: ops(opRange(&pb.RangeRequest{Key: []byte("a"), Revision: 99}))},
			codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision",
		},
	} {
		_, err := s.kv.Txn(s.ctx(), tt.req)
		requireStatus(t, tt.code, tt.text, err)
	}
	requireEqual(t, &pb.RangeResponse{Header: s.header(2)}, s.get("b"))
}

func TestCompact(t *testing.T) {
	s := startServer(t)
	for range 4 {
		s.put("a", "v")
	}
	for _, tt := range []struct {
		rev      int64
		physical bool
		want     string
	}{
		{6, false, "etcdserver: mvcc: required revision is a future revision"},
		{3, false, ""},
		{3, false, "etcdserver: mvcc: required revision has been compacted"},
		{4, true, ""},
	} {
		resp, err := s.kv.Compact(s.ctx(), &pb.CompactionRequest{Revision: tt.rev, Physical: tt.physical})
		if tt.want != "" {
			requireStatus(t, codes.OutOfRange, tt.want, err)
			continue
		}
		require.NoError(t, err)
		requireEqual(t, &pb.CompactionResponse{Header: s.header(5)}, resp)
	}
	_, err := s.kv.Range(s.ctx(), &pb.RangeRequest{Key: []byte("a"), Revision: 3})
	requireStatus(t, codes.OutOfRange, "etcdserver: mvcc: required revision has been compacted", err)
	requireEqual(t, wireKV("a", "v", 2, 4, 3), s.rangeRequest(&pb.RangeRequest{Key: []byte("a"), Revision: 4}).Kvs[0])
}

func TestMalformedRequest(t *testing.T) {
	s := startServer(t)
	for _, hostile := range []string{"\x0a\xff\xff\xff\xff\x0f", "\x80", "\x0b\x0a\x01k"} {
		err := s.conn.Invoke(s.ctx(), pb.KV_Put_FullMethodName, rawMessage(hostile), &pb.PutResponse{}, rawCodec)
		requireStatus(t, codes.Internal, "grpc: failed to unmarshal the received message: "+errWire.Error(), err)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	s := startServer(t)
	s.get("a") // the server has told its limits
	ctx := metadata.AppendToOutgoingContext(s.ctx(), "token", strings.Repeat("t", headerLimit))
	_, err := s.kv.Range(ctx, &pb.RangeRequest{Key: []byte("a")})
	require.Equal(t, codes.Internal, status.Code(err))
	require.ErrorContains(t, err, "header list size")
	s.get("a")
}

func TestRequestMetadata(t *testing.T) {
	s := startServer(t)
	ctx := metadata.AppendToOutgoingContext(s.ctx(), "hasleader", "true", "client-api-version", "3.7")
	_, err := s.kv.Range(ctx, &pb.RangeRequest{Key: []byte("a")})
	require.NoError(t, err)
	s.get("a")
	got := scrape(t, s.registry)
	require.InDelta(t, 1, got["etcd_server_client_requests_total,client_api_version=3.7,type=unary"], 0)
	require.InDelta(t, 1, got["etcd_server_client_requests_total,client_api_version=unknown,type=unary"], 0)
	require.InDelta(t, 2, got["grpc_server_handled_total,grpc_code=OK,grpc_method=Range,grpc_service=etcdserverpb.KV,grpc_type=unary"], 0)
	require.Positive(t, got["etcd_network_client_grpc_sent_bytes_total"])
	require.Positive(t, got["etcd_network_client_grpc_received_bytes_total"])
}
