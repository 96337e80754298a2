package etcdv3

import (
	"context"
	"io"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"

	"github.com/triglot/triglot/core/node"
)

func (s *server) grant(id, ttl int64) *pb.LeaseGrantResponse {
	s.Helper()
	resp, err := s.lease.LeaseGrant(s.ctx(), &pb.LeaseGrantRequest{ID: id, TTL: ttl})
	require.NoError(s, err)
	return resp
}

func (s *server) timeToLive(id int64) *pb.LeaseTimeToLiveResponse {
	s.Helper()
	resp, err := s.lease.LeaseTimeToLive(s.ctx(), &pb.LeaseTimeToLiveRequest{ID: id, Keys: true})
	require.NoError(s, err)
	return resp
}

func TestLeaseGrant(t *testing.T) {
	s := startServer(t)
	for _, tt := range []struct{ id, ttl, want int64 }{
		{7, 60, 60},
		{-7, 2, 2},
		{math.MaxInt64, 1, 2},
		{8, 0, 2},
		{9, -5, 2},
		{10, math.MinInt64, 2},
		{11, 9_000_000_000, 9_000_000_000},
	} {
		requireEqual(t, &pb.LeaseGrantResponse{Header: s.header(1), ID: tt.id, TTL: tt.want}, s.grant(tt.id, tt.ttl))
	}
	require.Positive(t, s.grant(0, 60).ID)
	_, err := s.lease.LeaseGrant(s.ctx(), &pb.LeaseGrantRequest{ID: 7, TTL: 60})
	requireStatus(t, codes.FailedPrecondition, "etcdserver: lease already exists", err)
	for _, ttl := range []int64{9_000_000_001, math.MaxInt64} {
		_, err = s.lease.LeaseGrant(s.ctx(), &pb.LeaseGrantRequest{ID: 12, TTL: ttl})
		requireStatus(t, codes.OutOfRange, "etcdserver: too large lease TTL", err)
	}
}

func TestLeaseTimeToLive(t *testing.T) {
	s := startServer(t)
	s.grant(7, 60)
	s.putRequest(&pb.PutRequest{Key: []byte("b"), Lease: 7})
	s.putRequest(&pb.PutRequest{Key: []byte("a"), Lease: 7})
	got := s.timeToLive(7)
	require.Contains(t, []int64{59, 60}, got.TTL)
	got.TTL = 60
	requireEqual(t, &pb.LeaseTimeToLiveResponse{
		Header: s.header(3), ID: 7, TTL: 60, GrantedTTL: 60, Keys: [][]byte{[]byte("a"), []byte("b")},
	}, got)
	got, err := s.lease.LeaseTimeToLive(s.ctx(), &pb.LeaseTimeToLiveRequest{ID: 7})
	require.NoError(t, err)
	require.Empty(t, got.Keys)
	requireEqual(t, &pb.LeaseTimeToLiveResponse{Header: s.header(3), ID: 8, TTL: -1}, s.timeToLive(8))
}

func TestLeaseRevoke(t *testing.T) {
	s := startServer(t)
	s.grant(7, 60)
	s.putRequest(&pb.PutRequest{Key: []byte("b"), Lease: 7})
	s.putRequest(&pb.PutRequest{Key: []byte("a"), Lease: 7})
	w := s.watcher(s.ctx())
	w.create(&pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	w.received(3, &pb.WatchResponse{Created: true})
	resp, err := s.lease.LeaseRevoke(s.ctx(), &pb.LeaseRevokeRequest{ID: 7})
	require.NoError(t, err)
	requireEqual(t, &pb.LeaseRevokeResponse{Header: s.header(4)}, resp)
	w.received(4, &pb.WatchResponse{Events: []*mvccpb.Event{deleteEvent("a", 4), deleteEvent("b", 4)}})
	_, err = s.lease.LeaseRevoke(s.ctx(), &pb.LeaseRevokeRequest{ID: 7})
	requireStatus(t, codes.NotFound, "etcdserver: requested lease not found", err)
}

func TestLeaseLeases(t *testing.T) {
	s := startServer(t)
	s.grant(7, 300)
	s.grant(8, 100)
	s.grant(9, 200)
	resp, err := s.lease.LeaseLeases(s.ctx(), &pb.LeaseLeasesRequest{})
	require.NoError(t, err)
	requireEqual(t, &pb.LeaseLeasesResponse{
		Header: s.header(1), Leases: []*pb.LeaseStatus{{ID: 8}, {ID: 9}, {ID: 7}},
	}, resp)
}

func TestLeaseKeepAlive(t *testing.T) {
	s := startServer(t)
	s.grant(7, 60)
	stream, err := s.lease.LeaseKeepAlive(s.ctx())
	require.NoError(t, err)
	for _, tt := range []struct{ id, ttl int64 }{{7, 60}, {8, 0}, {7, 60}} {
		require.NoError(t, stream.Send(&pb.LeaseKeepAliveRequest{ID: tt.id}))
		got, err := stream.Recv()
		require.NoError(t, err)
		requireEqual(t, &pb.LeaseKeepAliveResponse{Header: s.header(1), ID: tt.id, TTL: tt.ttl}, got)
	}
	require.NoError(t, stream.CloseSend())
	_, err = stream.Recv()
	require.ErrorIs(t, err, io.EOF)
}

// A lease lives as long as it is renewed; then its keys go.
func TestLeaseRunsOut(t *testing.T) {
	s := startServer(t, func(_ *node.Config, c *Config) { c.Limits.MinLeaseTTL = time.Second })
	s.grant(7, 1)
	s.putRequest(&pb.PutRequest{Key: []byte("a"), Lease: 7})
	w := s.watcher(s.ctx())
	w.create(&pb.WatchCreateRequest{Key: []byte("a")})
	w.received(2, &pb.WatchResponse{Created: true})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := s.lease.LeaseKeepAlive(ctx)
	require.NoError(t, err)
	renew := time.NewTicker(100 * time.Millisecond)
	defer renew.Stop()
	start := time.Now()
	for time.Since(start) < 1500*time.Millisecond {
		<-renew.C
		require.NoError(t, stream.Send(&pb.LeaseKeepAliveRequest{ID: 7}))
		got, err := stream.Recv()
		require.NoError(t, err)
		require.EqualValues(t, 1, got.TTL)
	}
	cancel()
	_, err = stream.Recv()
	requireStatus(t, codes.Canceled, "context canceled", err)
	w.received(3, &pb.WatchResponse{Events: []*mvccpb.Event{deleteEvent("a", 3)}})
	require.GreaterOrEqual(t, time.Since(start), 2*time.Second)
	requireEqual(t, &pb.LeaseTimeToLiveResponse{Header: s.header(3), ID: 7, TTL: -1}, s.timeToLive(7))
}
