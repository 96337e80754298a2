package oracle

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/compat-tests/server"
)

// TestWhatEtcdDiesOf sends requests that end etcd 3.7.3's process. They cannot be
// compared, so what the server under test must answer is written here: it says
// what is wrong, or does what was asked, and lives on. With TARGET=etcd the test
// shows that etcd does die; when it no longer does, they belong in the script.
func TestWhatEtcdDiesOf(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	everything := []byte{0}
	all := &pb.RangeRequest{Key: everything, RangeEnd: everything}
	deleteAll := &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{
		RequestDeleteRange: &pb.DeleteRangeRequest{Key: everything, RangeEnd: everything},
	}}
	put := func(r *pb.PutRequest) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: r}}
	}
	type call struct {
		name    string
		request proto.Message
	}
	for _, test := range []struct {
		name   string
		calls  []call
		refuse string // the text of the last call's error; empty: it succeeds
		rev    int64  // of the store in the end
	}{
		{
			name: "a put that ignores the value of a key deleted in the same txn",
			calls: []call{
				{"txn", &pb.TxnRequest{Success: []*pb.RequestOp{deleteAll, put(&pb.PutRequest{Key: []byte("k"), IgnoreValue: true})}}},
			},
			refuse: "etcdserver: key not found",
			rev:    2,
		},
		{
			name: "a put that ignores the lease of a key deleted in the same txn",
			calls: []call{
				{"txn", &pb.TxnRequest{Success: []*pb.RequestOp{deleteAll, put(&pb.PutRequest{Key: []byte("k"), IgnoreLease: true})}}},
			},
			refuse: "etcdserver: key not found",
			rev:    2,
		},
		{
			name: "a read after the compaction of a revision that deletes and puts a key",
			calls: []call{
				{"txn", &pb.TxnRequest{Success: []*pb.RequestOp{deleteAll, put(&pb.PutRequest{Key: []byte("k"), Value: []byte("2")})}}},
				{"put", &pb.PutRequest{Key: []byte("other")}},
				{"compact", &pb.CompactionRequest{Revision: 3, Physical: true}},
				{"range", &pb.RangeRequest{Key: everything, RangeEnd: everything, Revision: 3}},
			},
			rev: 4,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := newSide(context.Background(), server.Options{Target: target})
			require.NoError(t, err)
			stopped := false
			defer func() {
				if !stopped {
					require.NoError(t, s.close())
				}
			}()
			require.Nil(t, s.call(methods["put"], &pb.PutRequest{Key: []byte("k"), Value: []byte("1")}).err)
			var last reply
			for _, c := range test.calls {
				last = s.call(methods[c.name], c.request)
			}
			if target == server.Etcd {
				require.Equal(t, codes.Unavailable, last.err.Code(), last.err.Message())
				<-s.host.(*server.Process).Done()
				stopped = true
				require.ErrorContains(t, s.close(), "the server has ended")
				return
			}
			if test.refuse != "" {
				require.Equal(t, test.refuse, last.err.Message())
			} else {
				require.Nil(t, last.err, last.err.Message())
			}
			after := s.call(methods["range"], all)
			require.Nil(t, after.err)
			require.Equal(t, test.rev, after.message.(*pb.RangeResponse).Header.Revision)
			require.Equal(t, "k", string(after.message.(*pb.RangeResponse).Kvs[0].Key))
		})
	}
}
