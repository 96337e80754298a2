package etcdv3

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"

	epb "github.com/triglot/triglot/frontends/etcdv3/v3electionpb"
)

func (s *server) elections() epb.ElectionClient { return epb.NewElectionClient(s.conn) }

func (s *server) campaign(name string, lease int64, value string) *epb.LeaderKey {
	s.Helper()
	resp, err := s.elections().Campaign(s.ctx(), &epb.CampaignRequest{Name: []byte(name), Lease: lease, Value: []byte(value)})
	require.NoError(s, err)
	return resp.Leader
}

// campaignLater campaigns and returns when the candidate is in the queue.
func (s *server) campaignLater(ctx context.Context, name string, lease int64, value string) chan error {
	s.Helper()
	done := make(chan error, 1)
	before := len(s.keys(name + "/"))
	go func() {
		_, err := s.elections().Campaign(ctx, &epb.CampaignRequest{Name: []byte(name), Lease: lease, Value: []byte(value)})
		done <- err
	}()
	require.Eventually(s, func() bool { return len(s.keys(name+"/")) > before }, 10*time.Second, time.Millisecond)
	return done
}

func (s *server) requireLeader(name, value string) {
	s.Helper()
	resp, err := s.elections().Leader(s.ctx(), &epb.LeaderRequest{Name: []byte(name)})
	require.NoError(s, err)
	require.Equal(s, value, string(resp.Kv.Value))
}

func TestCampaign(t *testing.T) {
	s := startServer(t)
	s.grantLease(0x1f)
	req := &epb.CampaignRequest{Name: []byte("e"), Lease: 0x1f, Value: []byte("v")}
	want := &epb.CampaignResponse{
		Header: s.header(2), Leader: &epb.LeaderKey{Name: []byte("e"), Key: []byte("e/1f"), Rev: 2, Lease: 0x1f},
	}
	got, err := s.elections().Campaign(s.ctx(), req)
	require.NoError(t, err)
	requireEqual(t, want, got)
	leader, err := s.elections().Leader(s.ctx(), &epb.LeaderRequest{Name: []byte("e")})
	require.NoError(t, err)
	requireEqual(t, &epb.LeaderResponse{Header: s.header(2), Kv: &mvccpb.KeyValue{
		Key: []byte("e/1f"), Value: []byte("v"), CreateRevision: 2, ModRevision: 2, Version: 1, Lease: 0x1f,
	}}, leader)

	got, err = s.elections().Campaign(s.ctx(), req) // leads already
	require.NoError(t, err)
	requireEqual(t, want, got)
	req.Value = []byte("w")
	got, err = s.elections().Campaign(s.ctx(), req)
	require.NoError(t, err)
	requireEqual(t, want, got) // the revision before the value was changed, as in etcd
	s.requireLeader("e", "w")
	require.EqualValues(t, 3, s.rev())
}

func TestElectionTurns(t *testing.T) {
	s := startServer(t)
	s.grantLease(1)
	s.grantLease(2)
	first := s.campaign("e", 1, "one")
	second := s.campaignLater(s.ctx(), "e", 2, "two")
	s.requireLeader("e", "one")
	proclaimed, err := s.elections().Proclaim(s.ctx(), &epb.ProclaimRequest{Leader: first, Value: []byte("one again")})
	require.NoError(t, err)
	requireEqual(t, &epb.ProclaimResponse{Header: s.header(4)}, proclaimed)
	s.requireLeader("e", "one again")
	resigned, err := s.elections().Resign(s.ctx(), &epb.ResignRequest{Leader: first})
	require.NoError(t, err)
	requireEqual(t, &epb.ResignResponse{Header: s.header(5)}, resigned)
	require.NoError(t, <-second)
	s.requireLeader("e", "two")

	_, err = s.elections().Proclaim(s.ctx(), &epb.ProclaimRequest{Leader: first, Value: []byte("late")})
	requireStatus(t, codes.Unknown, "election: not leader", err)
	resigned, err = s.elections().Resign(s.ctx(), &epb.ResignRequest{Leader: first}) // nothing to resign from
	require.NoError(t, err)
	requireEqual(t, &epb.ResignResponse{Header: s.header(5)}, resigned)
	s.requireLeader("e", "two")
}

func TestElectionErrors(t *testing.T) {
	s := startServer(t)
	c := s.elections()
	_, err := c.Leader(s.ctx(), &epb.LeaderRequest{Name: []byte("e")})
	requireStatus(t, codes.Unknown, "election: no leader", err)
	_, err = c.Proclaim(s.ctx(), &epb.ProclaimRequest{})
	requireStatus(t, codes.Unknown, `"leader" field must be provided`, err)
	_, err = c.Resign(s.ctx(), &epb.ResignRequest{})
	requireStatus(t, codes.Unknown, `"leader" field must be provided`, err)
	_, err = c.Proclaim(s.ctx(), &epb.ProclaimRequest{Leader: &epb.LeaderKey{}})
	requireStatus(t, codes.Unknown, "etcdserver: key is not provided", err)
	_, err = c.Resign(s.ctx(), &epb.ResignRequest{Leader: &epb.LeaderKey{}})
	requireStatus(t, codes.Unknown, "etcdserver: key is not provided", err)
	_, err = c.Campaign(s.ctx(), &epb.CampaignRequest{Name: []byte("e"), Lease: 7})
	requireStatus(t, codes.Unknown, "etcdserver: requested lease not found", err)
	require.Empty(t, s.keys("e/"))
}

// A proclamation without a lease moves the leadership to a lease of its own, as in
// etcd.
func TestProclaimWithoutALease(t *testing.T) {
	s := startServer(t)
	s.grantLease(1)
	leader := s.campaign("e", 1, "one")
	leader.Lease = 0
	_, err := s.elections().Proclaim(s.ctx(), &epb.ProclaimRequest{Leader: leader, Value: []byte("two")})
	require.NoError(t, err)
	kv := s.get("e/1").Kvs[0]
	require.Equal(t, "two", string(kv.Value))
	require.NotZero(t, kv.Lease)
	require.NotEqual(t, int64(1), kv.Lease)
}

func TestCampaignCanceled(t *testing.T) {
	s := startServer(t)
	s.grantLease(1)
	s.grantLease(2)
	s.campaign("e", 1, "one")
	ctx, cancel := context.WithCancel(s.ctx())
	second := s.campaignLater(ctx, "e", 2, "two")
	cancel()
	requireStatus(t, codes.Canceled, "context canceled", <-second)
	s.requireQueue("e/", "e/1")
}

// Who is no candidate any more is not told that he leads.
func TestCampaignOfALostPlace(t *testing.T) {
	s := startServer(t)
	s.grantLease(1)
	s.grantLease(2)
	s.campaign("e", 1, "one")
	second := s.campaignLater(s.ctx(), "e", 2, "two")
	_, err := s.lease.LeaseRevoke(s.ctx(), &pb.LeaseRevokeRequest{ID: 2})
	require.NoError(t, err)
	requireStatus(t, codes.Unknown, "election: not leader", <-second)
}

func TestObserve(t *testing.T) {
	s := startServer(t)
	for lease := int64(1); lease <= 2; lease++ {
		s.grantLease(lease)
	}
	ctx, cancel := context.WithCancel(s.ctx())
	observed, err := s.elections().Observe(ctx, &epb.LeaderRequest{Name: []byte("e")})
	require.NoError(t, err)
	next := func(rev int64, key, value string) {
		t.Helper()
		got, err := observed.Recv()
		require.NoError(t, err)
		require.Equal(t, key, string(got.Kv.Key))
		require.Equal(t, value, string(got.Kv.Value))
		requireEqual(t, s.header(rev), got.Header)
	}
	s.put("e0", "of another election")
	first := s.campaign("e", 1, "one")
	next(3, "e/1", "one")
	_, err = s.elections().Proclaim(s.ctx(), &epb.ProclaimRequest{Leader: first, Value: []byte("one again")})
	require.NoError(t, err)
	next(4, "e/1", "one again")
	second := s.campaignLater(s.ctx(), "e", 2, "two")
	_, err = s.elections().Resign(s.ctx(), &epb.ResignRequest{Leader: first})
	require.NoError(t, err)
	require.NoError(t, <-second)
	next(6, "e/2", "two")
	_, err = s.elections().Resign(s.ctx(), &epb.ResignRequest{Leader: &epb.LeaderKey{Key: []byte("e/2"), Rev: 5}})
	require.NoError(t, err)
	s.campaign("e", 1, "three")
	next(8, "e/1", "three")
	cancel()
	_, err = observed.Recv()
	requireStatus(t, codes.Canceled, "context canceled", err)
}

func TestObserveOfAStoppingServer(t *testing.T) {
	s := startServer(t)
	observed, err := s.elections().Observe(s.ctx(), &epb.LeaderRequest{Name: []byte("e")})
	require.NoError(t, err)
	s.stopNode()
	_, err = observed.Recv()
	require.NotErrorIs(t, err, io.EOF)
	requireStatus(t, codes.Unavailable, "etcdserver: server stopped", err)
}
