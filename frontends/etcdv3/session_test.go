package etcdv3

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"

	"github.com/triglot/triglot/core"
)

// What ZooKeeper's sessions look like to an etcd client.

func (s *server) do(cmd core.Command) core.Result {
	s.Helper()
	res, err := s.node.Do(s.ctx(), core.Principal{}, cmd)
	require.NoError(s, err)
	return res
}

// session opens a session with an ephemeral znode /lock, whose key is /zk/lock.
func (s *server) session(id core.LeaseID, timeout time.Duration) core.SessionRef {
	s.Helper()
	ref := s.do(&core.SessionOpen{ID: id, Timeout: timeout}).Outcome.(core.SessionOutcome).Session
	s.do(&core.ZnodeWrite{Session: ref, Ops: []core.ZnodeOp{
		{Type: core.ZnodeCreate, Path: "/lock", Data: []byte("me"), Kind: core.ZnodeEphemeral, OpenACL: true},
	}})
	return ref
}

func TestSessionSeenAsALease(t *testing.T) {
	s := startServer(t)
	s.session(7, 59_001*time.Millisecond)
	s.grant(8, 60)
	got := s.timeToLive(7)
	require.Contains(t, []int64{59, 60}, got.TTL, "rounded up, unless a moment has passed")
	got.TTL = 60
	requireEqual(t, &pb.LeaseTimeToLiveResponse{
		Header: s.header(2), ID: 7, TTL: 60, GrantedTTL: 60, Keys: [][]byte{[]byte("/zk/lock")},
	}, got)
	resp, err := s.lease.LeaseLeases(s.ctx(), &pb.LeaseLeasesRequest{})
	require.NoError(t, err)
	requireEqual(t, &pb.LeaseLeasesResponse{Header: s.header(2), Leases: []*pb.LeaseStatus{{ID: 7}, {ID: 8}}}, resp)
	_, err = s.lease.LeaseGrant(s.ctx(), &pb.LeaseGrantRequest{ID: 7, TTL: 60})
	requireStatus(t, codes.FailedPrecondition, "etcdserver: lease already exists", err)
}

func TestRoundUp(t *testing.T) {
	for d, want := range map[time.Duration]int64{
		0: 0, time.Millisecond: 1, 999 * time.Millisecond: 1, time.Second: 1, 1001 * time.Millisecond: 2, 40 * time.Second: 40,
	} {
		require.Equal(t, want, seconds(roundUp(d)), d)
	}
}

// The stream goes on, and renews what else it was opened for.
func TestSessionIsNotKeptAlive(t *testing.T) {
	s := startServer(t)
	s.session(7, time.Minute)
	s.grant(8, 60)
	stream, err := s.lease.LeaseKeepAlive(s.ctx())
	require.NoError(t, err)
	for _, tt := range []struct{ id, ttl int64 }{{8, 60}, {7, 0}, {8, 60}, {7, 0}, {9, 0}} {
		require.NoError(t, stream.Send(&pb.LeaseKeepAliveRequest{ID: tt.id}))
		got, err := stream.Recv()
		require.NoError(t, err)
		requireEqual(t, &pb.LeaseKeepAliveResponse{Header: s.header(2), ID: tt.id, TTL: tt.ttl}, got)
	}
	require.NoError(t, stream.CloseSend())
	_, err = stream.Recv()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, s.node.Sessions().Touch(s.ctx(), 7), "it is still there")
}

func TestSessionIsRevoked(t *testing.T) {
	s := startServer(t)
	ref := s.session(7, time.Minute)
	w := s.watcher(s.ctx())
	w.create(&pb.WatchCreateRequest{Key: []byte("/zk/lock")})
	w.received(2, &pb.WatchResponse{Created: true})
	ended := make(chan core.SessionRef, 1)
	defer s.node.Sessions().Follow(func(ref core.SessionRef) { ended <- ref })()
	resp, err := s.lease.LeaseRevoke(s.ctx(), &pb.LeaseRevokeRequest{ID: 7})
	require.NoError(t, err)
	requireEqual(t, &pb.LeaseRevokeResponse{Header: s.header(3)}, resp)
	w.received(3, &pb.WatchResponse{Events: []*mvccpb.Event{deleteEvent("/zk/lock", 3)}})
	require.Equal(t, core.SessionRef{ID: 7}, <-ended)
	_, err = s.node.Do(s.ctx(), core.Principal{}, &core.SessionClose{Session: ref})
	require.ErrorIs(t, err, core.SessionExpired)
}

// What would break the promise of an ephemeral is refused, whole; what would not is
// not.
func TestEphemeralsAreProtected(t *testing.T) {
	s := startServer(t)
	s.session(7, time.Minute)
	s.put("/zk/parent/child", "x")
	s.grant(8, 60)
	onto := &pb.PutRequest{Key: []byte("/zk/lock"), Value: []byte("mine")}
	for name, r := range map[string]*pb.PutRequest{
		"onto it":                     onto,
		"onto it, of another lease":   {Key: []byte("/zk/lock"), Lease: 8},
		"onto it, of its own lease":   {Key: []byte("/zk/lock"), Lease: 7},
		"below it":                    {Key: []byte("/zk/lock/child")},
		"far below it":                {Key: []byte("/zk/lock/child/child")},
		"onto one with keys below it": {Key: []byte("/zk/parent"), Lease: 7},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.rev()
			_, err := s.kv.Put(s.ctx(), r)
			requireStatus(t, codes.FailedPrecondition, ephemeralProtected, err)
			_, err = s.kv.Txn(s.ctx(), &pb.TxnRequest{Success: []*pb.RequestOp{
				{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("other")}}},
				{Request: &pb.RequestOp_RequestPut{RequestPut: r}},
			}})
			requireStatus(t, codes.FailedPrecondition, ephemeralProtected, err)
			require.Equal(t, before, s.rev())
			require.Empty(t, s.get("other").Kvs)
		})
	}
	onto.IgnoreLease = true
	s.putRequest(onto)
	kv := s.get("/zk/lock").Kvs[0]
	require.Equal(t, "mine", string(kv.Value))
	require.EqualValues(t, 7, kv.Lease)
	s.putRequest(&pb.PutRequest{Key: []byte("/zk/plain"), Lease: 8})
	s.put("/zk/plain", "a plain lease protects nothing")
	require.EqualValues(t, 1, s.del("/zk/lock", "").Deleted)
	s.put("/zk/lock", "nobody's")
}
