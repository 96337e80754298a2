package etcdv3

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"

	"github.com/triglot/triglot/core/node"
)

// TestChangesOfMembers has what a member that stays alone refuses, and an update; what etcd
// answers is in compat-tests/oracle/testdata/cluster.txt.
func TestChangesOfMembers(t *testing.T) {
	s := startServer(t)
	self := s.header(0).MemberId
	_, err := s.cluster.MemberAdd(s.ctx(), &pb.MemberAddRequest{PeerURLs: []string{"nonsense"}})
	requireStatus(t, codes.InvalidArgument, "etcdserver: given member URLs are invalid", err)
	_, err = s.cluster.MemberAdd(s.ctx(), &pb.MemberAddRequest{PeerURLs: []string{"http://h:1"}})
	requireStatus(t, codes.Unimplemented,
		"not supported: this member is set up to stay alone: it listens to no peers", err)
	_, err = s.cluster.MemberRemove(s.ctx(), &pb.MemberRemoveRequest{ID: self})
	requireStatus(t, codes.Unknown, "etcdserver: re-configuration failed due to not enough started members", err)
	_, err = s.cluster.MemberPromote(s.ctx(), &pb.MemberPromoteRequest{ID: self})
	requireStatus(t, codes.FailedPrecondition, "etcdserver: can only promote a learner member", err)
	_, err = s.cluster.MemberUpdate(s.ctx(), &pb.MemberUpdateRequest{ID: 1})
	requireStatus(t, codes.NotFound, "etcdserver: member not found", err)
	updated, err := s.cluster.MemberUpdate(s.ctx(), &pb.MemberUpdateRequest{ID: self, PeerURLs: []string{"http://h:2"}})
	require.NoError(t, err)
	requireEqual(t, &pb.MemberUpdateResponse{Header: s.header(0), Members: []*pb.Member{{
		ID: self, Name: "default", PeerURLs: []string{"http://h:2"}, ClientURLs: []string{"http://localhost:2379"},
	}}}, updated)
}

func TestMoveLeader(t *testing.T) {
	s := startServer(t)
	_, err := s.maintenance.MoveLeader(s.ctx(), &pb.MoveLeaderRequest{TargetID: 1})
	requireStatus(t, codes.FailedPrecondition, "etcdserver: bad leader transferee", err)
	resp, err := s.maintenance.MoveLeader(s.ctx(), &pb.MoveLeaderRequest{TargetID: s.header(0).MemberId})
	require.NoError(t, err)
	requireEqual(t, &pb.MoveLeaderResponse{}, resp)
}

func TestDowngrade(t *testing.T) {
	var out bytes.Buffer // written to before a call returns
	s := startServer(t, func(_ *node.Config, c *Config) { c.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
	step := func(action pb.DowngradeRequest_DowngradeAction, version string) (*pb.DowngradeResponse, error) {
		return s.maintenance.Downgrade(s.ctx(), &pb.DowngradeRequest{Action: action, Version: version})
	}
	_, err := step(7, "3.6.0")
	requireStatus(t, codes.Unknown, "etcdserver: unknown method", err)
	_, err = step(pb.DowngradeRequest_ENABLE, "3.5")
	requireStatus(t, codes.InvalidArgument, "etcdserver: invalid downgrade target version", err)
	resp, err := step(pb.DowngradeRequest_ENABLE, "3.6")
	require.NoError(t, err)
	requireEqual(t, &pb.DowngradeResponse{Header: s.header(1), Version: "3.7"}, resp)
	require.Contains(t, out.String(), `msg="The server is ready to downgrade" target-version=3.6.0 server-version=3.7.3`)
	_, err = step(pb.DowngradeRequest_VALIDATE, "3.5")
	requireStatus(t, codes.FailedPrecondition, "etcdserver: cluster has a downgrade job in progress", err)
	st, err := s.maintenance.Status(s.ctx(), &pb.StatusRequest{})
	require.NoError(t, err)
	require.Equal(t, "3.6.0", st.StorageVersion)
	requireEqual(t, &pb.DowngradeInfo{Enabled: true, TargetVersion: "3.6.0"}, st.DowngradeInfo)
}
