package oracle

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/compat-tests/server"
)

// TestLongCatchUp watches a history of more revisions than etcd puts into one
// response. How many it puts there is its own affair; the events, their order
// and that no revision is split are not.
func TestLongCatchUp(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	p, err := startPair(context.Background(), target)
	require.NoError(t, err)
	defer func() { require.NoError(t, p.close()) }()

	const revisions = 1500
	for i := range revisions {
		put := func(key string) *pb.RequestOp {
			return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
				RequestPut: &pb.PutRequest{Key: []byte(key), Value: []byte(fmt.Sprint(i))},
			}}
		}
		o := p.call("txn", &pb.TxnRequest{Success: []*pb.RequestOp{put(fmt.Sprintf("k%03d", i%700)), put("same")}})
		require.Empty(t, diff(o))
	}
	const last = 1 + revisions
	for _, request := range []*pb.WatchCreateRequest{
		{Key: []byte("k"), RangeEnd: []byte{0}, StartRevision: 2},
		{Key: []byte("k"), RangeEnd: []byte{0}, StartRevision: 2, PrevKv: true, Fragment: true},
		{Key: []byte("same"), StartRevision: 700, PrevKv: true},
	} {
		name := fmt.Sprint(request)
		type history struct {
			events []string
			err    error
		}
		etcd, ours := on(p, func(s *side) (h history) {
			st, err := s.open(name, nil)
			if err != nil {
				return history{err: err}
			}
			create := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: proto.Clone(request).(*pb.WatchCreateRequest)}}
			if err := st.send(create); err != nil {
				return history{err: err}
			}
			responses, err := st.until(func(r *pb.WatchResponse) bool {
				return len(r.Events) > 0 && r.Events[len(r.Events)-1].Kv.ModRevision == last
			})
			if err != nil {
				return history{err: err}
			}
			var before int64
			for _, r := range responses {
				if r.Header.Revision != last || r.CompactRevision != 0 || r.Canceled || r.Fragment {
					return history{err: fmt.Errorf("unexpected response %v", r)}
				}
				if len(r.Events) > 0 && r.Events[0].Kv.ModRevision == before {
					return history{err: fmt.Errorf("revision %d is split", before)}
				}
				for _, e := range r.Events {
					h.events = append(h.events, p.usual.message(e.ProtoReflect()))
					before = e.Kv.ModRevision
				}
			}
			return h
		})
		require.NoError(t, etcd.err)
		require.NoError(t, ours.err)
		require.Empty(t, cmp.Diff(etcd.events, ours.events))
		require.GreaterOrEqual(t, len(etcd.events), last-700)
	}
}
