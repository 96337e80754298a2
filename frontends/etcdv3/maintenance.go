package etcdv3

import (
	"context"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/triglot/triglot/core"
)

// defaultQuota is what etcd reports, and uses, where no quota is set.
const defaultQuota = 2 << 30

// maintenanceServer is etcd's Maintenance service.
type maintenanceServer struct{ *face }

func (f *face) maintenance() service {
	s := maintenanceServer{f}
	return service{desc: pb.Maintenance_ServiceDesc, unary: map[string]grpc.MethodHandler{
		"Alarm":      unary(f, s.alarm),
		"MoveLeader": unary(f, s.moveLeader),
		"Downgrade":  unary(f, s.downgrade),
		"Status":     unary(f, s.status),
		"Hash":       unary(f, s.hash),
		"HashKV":     unary(f, s.hashKV),
		"Defragment": unary(f, s.defragment),
	}, streams: map[string]grpc.StreamHandler{
		"Snapshot": streaming(f, s.snapshot),
	}}
}

func (s maintenanceServer) status(
	_ context.Context, who core.Principal, _ *pb.StatusRequest,
) (*pb.StatusResponse, error) {
	if err := s.identified(who); err != nil {
		return nil, err
	}
	st := s.Cluster.Status()
	resp := &pb.StatusResponse{
		Header:           &pb.ResponseHeader{},
		Version:          s.ServerVersion,
		StorageVersion:   st.ClusterVersion, // it follows at once
		DbSize:           st.Size,
		DbSizeInUse:      st.InUse,
		DbSizeQuota:      st.Quota,
		Leader:           uint64(st.Leader),
		RaftTerm:         st.Term,
		RaftIndex:        st.Committed,
		RaftAppliedIndex: st.Applied,
		IsLearner:        st.Learner,
		DowngradeInfo:    &pb.DowngradeInfo{Enabled: st.DowngradeTo != "", TargetVersion: st.DowngradeTo},
	}
	if resp.DbSizeQuota == 0 {
		resp.DbSizeQuota = defaultQuota
	}
	if st.Leader == 0 {
		resp.Errors = append(resp.Errors, rpctypes.ErrorDesc(rpctypes.ErrGRPCNoLeader))
	}
	for _, a := range st.Alarms {
		resp.Errors = append(resp.Errors, alarmText(a))
	}
	s.fill(resp.Header, st.Rev)
	return resp, nil
}

func (s maintenanceServer) moveLeader(
	ctx context.Context, who core.Principal, r *pb.MoveLeaderRequest,
) (*pb.MoveLeaderResponse, error) {
	if err := s.Maintenance.MoveLeader(ctx, who, core.MemberID(r.TargetID)); err != nil {
		return nil, err
	}
	return &pb.MoveLeaderResponse{}, nil // without a header (etcd T-90)
}

// errUnknownDowngrade is what etcd says of a step that it does not know.
var errUnknownDowngrade = status.Error(codes.Unknown, "etcdserver: unknown method")

func (s maintenanceServer) downgrade(
	ctx context.Context, who core.Principal, r *pb.DowngradeRequest,
) (*pb.DowngradeResponse, error) {
	if _, known := pb.DowngradeRequest_DowngradeAction_name[int32(r.Action)]; !known {
		return nil, errUnknownDowngrade
	}
	d := core.Downgrade{Action: core.DowngradeAction(r.Action), Version: r.Version}
	version, err := s.Maintenance.Downgrade(ctx, who, d)
	if err != nil {
		return nil, err
	}
	if d.Action == core.DowngradeEnable {
		// etcd's monitor says so once the storage version has followed, which here is at
		// once. That the members have been replaced none of ours can live to see.
		s.Logger.Info("The server is ready to downgrade", "target-version", s.Cluster.Status().DowngradeTo, "server-version", s.ServerVersion)
	}
	return &pb.DowngradeResponse{Header: s.header(s.Cluster.Status().Rev), Version: version}, nil
}

// alarm lists, raises and clears alarms (etcd T-73). Whatever it does, it sees
// all that was acknowledged before.
func (s maintenanceServer) alarm(
	ctx context.Context, who core.Principal, r *pb.AlarmRequest,
) (*pb.AlarmResponse, error) {
	allowed := s.identified(who)
	if r.Action != pb.AlarmRequest_GET {
		allowed = s.administers(ctx, who)
	}
	if allowed != nil {
		return nil, allowed
	}
	if _, known := pb.AlarmType_name[int32(r.Alarm)]; !known {
		return nil, core.Errorf(core.InvalidArgument, "unknown alarm type %d", r.Alarm)
	}
	view, err := s.Store.View(ctx, who, core.Consistency{Linearizable: true})
	if err != nil {
		return nil, err
	}
	rev := view.Rev()
	view.Close()

	resp := &pb.AlarmResponse{Header: &pb.ResponseHeader{}}
	named := core.Alarm{Member: core.MemberID(r.MemberID), Type: core.AlarmType(r.Alarm)}
	standing := s.Cluster.Status().Alarms
	switch r.Action {
	case pb.AlarmRequest_GET:
		for _, a := range standing {
			if named.Type == core.AlarmNone || a.Type == named.Type {
				resp.Alarms = append(resp.Alarms, alarmMember(a))
			}
		}
	case pb.AlarmRequest_ACTIVATE:
		if named.Type == core.AlarmNone {
			break
		}
		if rev, err = s.setAlarm(ctx, who, named, true); err != nil {
			return nil, err
		}
		resp.Alarms = []*pb.AlarmMember{alarmMember(named)}
	case pb.AlarmRequest_DEACTIVATE:
		if !slices.Contains(standing, named) {
			break
		}
		if rev, err = s.setAlarm(ctx, who, named, false); err != nil {
			return nil, err
		}
		resp.Alarms = []*pb.AlarmMember{alarmMember(named)}
	default:
		return nil, core.Errorf(core.InvalidArgument, "unknown alarm action %d", r.Action)
	}
	s.fill(resp.Header, rev)
	return resp, nil
}

func (s maintenanceServer) setAlarm(
	ctx context.Context, who core.Principal, a core.Alarm, on bool,
) (core.Rev, error) {
	res, err := s.Store.Do(ctx, who, &core.SetAlarm{Alarm: a, On: on})
	return res.Rev, err
}

func alarmMember(a core.Alarm) *pb.AlarmMember {
	return &pb.AlarmMember{MemberID: uint64(a.Member), Alarm: pb.AlarmType(a.Type)}
}

// alarmText names an alarm as etcd does in a status: in protobuf's text format,
// but without the second space that protobuf-go puts there in some builds, to
// keep programs from relying on it.
func alarmText(a core.Alarm) string {
	return strings.ReplaceAll(alarmMember(a).String(), "  ", " ")
}
