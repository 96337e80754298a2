package etcdv3

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/triglot/triglot/core"
)

// clusterServer is etcd's Cluster service: MemberList so far.
type clusterServer struct{ *face }

func (f *face) cluster() service {
	s := clusterServer{f}
	return service{desc: pb.Cluster_ServiceDesc, unary: map[string]grpc.MethodHandler{
		"MemberList": unary(f, s.list),
	}}
}

func (s clusterServer) list(
	ctx context.Context, _ core.Principal, r *pb.MemberListRequest,
) (*pb.MemberListResponse, error) {
	members, err := s.Cluster.Members(ctx, r.Linearizable)
	if err != nil {
		return nil, err
	}
	resp := &pb.MemberListResponse{Header: &pb.ResponseHeader{}, Members: make([]*pb.Member, len(members))}
	for i := range members {
		m := &members[i]
		resp.Members[i] = &pb.Member{
			ID:         uint64(m.ID),
			Name:       m.Name,
			PeerURLs:   m.PeerURLs,
			ClientURLs: m.ClientURLs,
			IsLearner:  m.Learner,
		}
	}
	s.fill(resp.Header, 0) // etcd gives no revision here (T-90)
	return resp, nil
}
