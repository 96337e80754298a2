package clients

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/compat-tests/server"
)

// both are connections to an etcd and to a Triglot of their own.
func both(t *testing.T) (etcd, triglot *grpc.ClientConn) {
	t.Helper()
	dial := func(target server.Target) *grpc.ClientConn {
		p, err := server.Start(t.Context(), server.Options{Target: target})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, p.Stop()) })
		conn, err := grpc.NewClient(p.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		return conn
	}
	return dial(server.Etcd), dial(server.Triglot)
}

// rangeStream is the messages of a stream and the error that ended it, without what
// tells two servers apart.
func rangeStream(ctx context.Context, t *testing.T, conn *grpc.ClientConn, r *pb.RangeRequest) (messages []*pb.RangeStreamResponse, end string) {
	t.Helper()
	stream, err := pb.NewKVClient(conn).RangeStream(ctx, r)
	require.NoError(t, err)
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return messages, ""
		case err != nil:
			return messages, status.Code(err).String() + ": " + status.Convert(err).Message()
		}
		if h := m.RangeResponse.GetHeader(); h != nil {
			require.NotZero(t, h.ClusterId)
			require.NotZero(t, h.MemberId)
			require.NotZero(t, h.RaftTerm)
			h.ClusterId, h.MemberId, h.RaftTerm = 0, 0, 0
		}
		messages = append(messages, m)
	}
}

// T-15: message by message, a stream is what a real etcd sends.
func TestRangeStreamIsEtcds(t *testing.T) {
	etcd, triglot := both(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	onBoth := func(do func(kv pb.KVClient) error) {
		t.Helper()
		require.NoError(t, do(pb.NewKVClient(etcd)))
		require.NoError(t, do(pb.NewKVClient(triglot)))
	}
	// puts writes so many keys below a prefix, some in each transaction.
	puts := func(prefix string, keys, each int, size func(i int) int) {
		t.Helper()
		for i := 0; i < keys; i += each {
			txn := &pb.TxnRequest{}
			for n := i; n < min(i+each, keys); n++ {
				put := &pb.PutRequest{Key: fmt.Appendf(nil, "%s%03d", prefix, n), Value: []byte(strings.Repeat("v", size(n)))}
				txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})
			}
			onBoth(func(kv pb.KVClient) error {
				_, err := kv.Txn(ctx, txn)
				return err
			})
		}
	}
	puts("small/", 120, 6, func(int) int { return 20 })
	puts("large/", 45, 10, func(int) int { return 100_000 }) // chunks that reach half the target, and that exceed it
	puts("mixed/", 12, 2, func(i int) int { return i % 2 * 1_000_000 })
	onBoth(func(kv pb.KVClient) error {
		_, err := kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte("small/050"), RangeEnd: []byte("small/060")})
		return err
	})
	onBoth(func(kv pb.KVClient) error {
		_, err := kv.Compact(ctx, &pb.CompactionRequest{Revision: 18})
		return err
	})
	small := func(change func(r *pb.RangeRequest)) *pb.RangeRequest {
		r := &pb.RangeRequest{Key: []byte("small/"), RangeEnd: []byte("small0")}
		change(r)
		return r
	}
	everything := []byte{0}
	for name, r := range map[string]*pb.RangeRequest{
		"one key":              {Key: []byte("small/001")},
		"no such key":          {Key: []byte("small/050")},
		"nothing":              {Key: []byte("none"), RangeEnd: []byte("nonf")},
		"end before key":       {Key: []byte("small0"), RangeEnd: []byte("small/")},
		"small":                small(func(*pb.RangeRequest) {}),
		"large":                {Key: []byte("large/"), RangeEnd: []byte("large0")},
		"mixed":                {Key: []byte("mixed/"), RangeEnd: []byte("mixed0")},
		"everything":           {Key: everything, RangeEnd: everything},
		"from a key":           {Key: []byte("mixed/005"), RangeEnd: everything},
		"keys only":            {Key: everything, RangeEnd: everything, KeysOnly: true},
		"count only":           {Key: everything, RangeEnd: everything, CountOnly: true, Limit: 3},
		"serializable":         small(func(r *pb.RangeRequest) { r.Serializable = true }),
		"limit 1":              small(func(r *pb.RangeRequest) { r.Limit = 1 }),
		"limit 10":             small(func(r *pb.RangeRequest) { r.Limit = 10 }),
		"limit 11":             small(func(r *pb.RangeRequest) { r.Limit = 11 }),
		"limit 109":            small(func(r *pb.RangeRequest) { r.Limit = 109 }),
		"limit 110, all":       small(func(r *pb.RangeRequest) { r.Limit = 110 }),
		"limit 111":            small(func(r *pb.RangeRequest) { r.Limit = 111 }),
		"the past":             small(func(r *pb.RangeRequest) { r.Revision = 19 }),
		"the past, limited":    small(func(r *pb.RangeRequest) { r.Revision, r.Limit = 19, 12 }),
		"as compacted":         small(func(r *pb.RangeRequest) { r.Revision = 18 }),
		"compacted":            small(func(r *pb.RangeRequest) { r.Revision = 17 }),
		"compacted, counted":   small(func(r *pb.RangeRequest) { r.Revision, r.CountOnly = 17, true }),
		"the future":           small(func(r *pb.RangeRequest) { r.Revision = 100_000 }),
		"negative":             small(func(r *pb.RangeRequest) { r.Revision = -3 }),
		"ascending":            small(func(r *pb.RangeRequest) { r.SortOrder = pb.RangeRequest_ASCEND }),
		"descending":           small(func(r *pb.RangeRequest) { r.SortOrder = pb.RangeRequest_DESCEND }),
		"by value, ascending":  small(func(r *pb.RangeRequest) { r.SortTarget, r.SortOrder = 4, 1 }),
		"unknown order":        small(func(r *pb.RangeRequest) { r.SortOrder = 3 }),
		"unknown target":       small(func(r *pb.RangeRequest) { r.SortTarget = 5 }),
		"no key":               {RangeEnd: everything},
		"min mod":              small(func(r *pb.RangeRequest) { r.MinModRevision = 5 }),
		"max create":           small(func(r *pb.RangeRequest) { r.MaxCreateRevision = 5 }),
		"sorted and filtered":  small(func(r *pb.RangeRequest) { r.SortOrder, r.MinModRevision = 2, 5 }),
		"counted and filtered": small(func(r *pb.RangeRequest) { r.CountOnly, r.MinModRevision = true, 5 }),
	} {
		t.Run(name, func(t *testing.T) {
			want, wantEnd := rangeStream(ctx, t, etcd, r)
			got, gotEnd := rangeStream(ctx, t, triglot, r)
			require.Equal(t, wantEnd, gotEnd)
			require.Equal(t, len(want), len(got), "messages")
			for i := range want { // not cmp.Diff, which takes minutes for megabytes
				require.True(t, proto.Equal(want[i], got[i]), "message %d: want %.500v\ngot %.500v", i, want[i], got[i])
			}
		})
	}
}
