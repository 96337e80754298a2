package etcdv3

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/triglot/triglot/core"
)

// clusterServer is etcd's Cluster service. Its replies carry no revision (etcd T-90).
type clusterServer struct{ *face }

func (f *face) cluster() service {
	s := clusterServer{f}
	return service{desc: pb.Cluster_ServiceDesc, unary: map[string]grpc.MethodHandler{
		"MemberList":    unary(f, s.list),
		"MemberAdd":     unary(f, s.add),
		"MemberRemove":  unary(f, s.remove),
		"MemberUpdate":  unary(f, s.update),
		"MemberPromote": unary(f, s.promote),
	}}
}

func (s clusterServer) list(
	ctx context.Context, who core.Principal, r *pb.MemberListRequest,
) (*pb.MemberListResponse, error) {
	members, err := s.Cluster.Members(ctx, r.Linearizable)
	if err != nil {
		return nil, err
	}
	if err := s.identified(who); err != nil {
		return nil, err
	}
	return &pb.MemberListResponse{Header: s.header(0), Members: membersToPB(members)}, nil
}

func (s clusterServer) add(
	ctx context.Context, who core.Principal, r *pb.MemberAddRequest,
) (*pb.MemberAddResponse, error) {
	added, members, err := s.Membership.Add(ctx, who, r.PeerURLs, r.IsLearner)
	if err != nil {
		return nil, err
	}
	return &pb.MemberAddResponse{Header: s.header(0), Member: memberToPB(&added), Members: membersToPB(members)}, nil
}

func (s clusterServer) remove(
	ctx context.Context, who core.Principal, r *pb.MemberRemoveRequest,
) (*pb.MemberRemoveResponse, error) {
	members, err := s.Membership.Remove(ctx, who, core.MemberID(r.ID))
	if err != nil {
		return nil, err
	}
	return &pb.MemberRemoveResponse{Header: s.header(0), Members: membersToPB(members)}, nil
}

func (s clusterServer) update(
	ctx context.Context, who core.Principal, r *pb.MemberUpdateRequest,
) (*pb.MemberUpdateResponse, error) {
	members, err := s.Membership.Update(ctx, who, core.MemberID(r.ID), r.PeerURLs)
	if err != nil {
		return nil, err
	}
	return &pb.MemberUpdateResponse{Header: s.header(0), Members: membersToPB(members)}, nil
}

func (s clusterServer) promote(
	ctx context.Context, who core.Principal, r *pb.MemberPromoteRequest,
) (*pb.MemberPromoteResponse, error) {
	members, err := s.Membership.Promote(ctx, who, core.MemberID(r.ID))
	if err != nil {
		return nil, err
	}
	return &pb.MemberPromoteResponse{Header: s.header(0), Members: membersToPB(members)}, nil
}

func membersToPB(members []core.Member) []*pb.Member {
	all := make([]*pb.Member, len(members))
	for i := range members {
		all[i] = memberToPB(&members[i])
	}
	return all
}

func memberToPB(m *core.Member) *pb.Member {
	return &pb.Member{
		ID:         uint64(m.ID),
		Name:       m.Name,
		PeerURLs:   m.PeerURLs,
		ClientURLs: m.ClientURLs,
		IsLearner:  m.Learner,
	}
}
