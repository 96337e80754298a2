package etcdv3

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/node"
)

// Every method that etcd has is either served or refused by name.
func TestEveryMethodAnswers(t *testing.T) {
	refused := map[string]bool{} // none
	s := startServer(t)
	for _, svc := range (&face{}).services() {
		methods := map[string]*grpc.StreamDesc{}
		for _, m := range svc.desc.Methods {
			if svc.unary[m.MethodName] == nil {
				methods[m.MethodName] = &grpc.StreamDesc{}
			}
		}
		for i := range svc.desc.Streams {
			if d := &svc.desc.Streams[i]; svc.streams[d.StreamName] == nil {
				methods[d.StreamName] = d
			}
		}
		_, service, _ := strings.Cut(svc.desc.ServiceName, ".")
		for name, stream := range methods {
			short := service + "/" + name
			require.True(t, refused[short], short)
			delete(refused, short)
			call, err := s.conn.NewStream(s.ctx(), stream, "/"+svc.desc.ServiceName+"/"+name)
			require.NoError(t, err)
			_ = call.SendMsg(&pb.StatusRequest{}) // fails if the answer is there already
			requireStatus(t, codes.Unimplemented, "method "+name+" not implemented", call.RecvMsg(&pb.StatusResponse{}))
			kind := "unary"
			if stream.ServerStreams {
				kind = "server_stream"
			}
			require.InDelta(t, 1, scrape(t, s.registry)["grpc_server_handled_total,grpc_code=Unimplemented,grpc_method="+name+
				",grpc_service="+svc.desc.ServiceName+",grpc_type="+kind], 0)
		}
	}
	require.Empty(t, refused, "methods that are served")
}

func TestHealth(t *testing.T) {
	s := startServer(t)
	health := healthpb.NewHealthClient(s.conn)
	resp, err := health.Check(s.ctx(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, resp.Status)
	watch, err := health.Watch(s.ctx(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	resp, err = watch.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, resp.Status)
	_, err = health.Check(s.ctx(), &healthpb.HealthCheckRequest{Service: "no such"})
	requireStatus(t, codes.NotFound, "unknown service", err)
}

func TestMemberList(t *testing.T) {
	s := startServer(t)
	header := s.header(0) // etcd gives no revision here
	for _, linearizable := range []bool{false, true} {
		require.Eventually(t, func() bool {
			resp, err := s.cluster.MemberList(s.ctx(), &pb.MemberListRequest{Linearizable: linearizable})
			require.NoError(t, err)
			if resp.Members[0].Name == "" {
				return false // it has not introduced itself yet
			}
			requireEqual(t, &pb.MemberListResponse{Header: header, Members: []*pb.Member{{
				ID: header.MemberId, Name: "default",
				PeerURLs: []string{"http://localhost:2380"}, ClientURLs: []string{"http://localhost:2379"},
			}}}, resp)
			return true
		}, 10*time.Second, time.Millisecond)
	}
}

func TestStatus(t *testing.T) {
	s := startServer(t)
	s.put("a", "1")
	got, err := s.maintenance.Status(s.ctx(), &pb.StatusRequest{})
	require.NoError(t, err)
	require.Positive(t, got.RaftAppliedIndex)
	require.GreaterOrEqual(t, got.RaftIndex, got.RaftAppliedIndex)
	require.Positive(t, got.DbSize)
	require.LessOrEqual(t, got.DbSizeInUse, got.DbSize)
	header := s.header(2)
	requireEqual(t, &pb.StatusResponse{
		Header: header, Version: "3.7.3", StorageVersion: "3.7.0",
		Leader: header.MemberId, RaftTerm: header.RaftTerm, DbSizeQuota: 2 << 30, DowngradeInfo: &pb.DowngradeInfo{},
		RaftIndex: got.RaftIndex, RaftAppliedIndex: got.RaftAppliedIndex, DbSize: got.DbSize, DbSizeInUse: got.DbSizeInUse,
	}, got)
}

func TestStatusNamesTroubles(t *testing.T) {
	f := &face{Config: Config{ServerVersion: "3.6.1", Cluster: &fixedStatus{status: core.Status{
		Quota: 5, Learner: true, Alarms: []core.Alarm{{Member: 7, Type: core.AlarmNoSpace}},
	}}}}
	got, err := maintenanceServer{f}.status(t.Context(), core.Principal{}, nil)
	require.NoError(t, err)
	require.Equal(t, "3.6.1", got.Version)
	require.EqualValues(t, 5, got.DbSizeQuota)
	require.True(t, got.IsLearner)
	require.Equal(t, []string{
		"etcdserver: no leader",
		"memberID:7 alarm:NOSPACE",
	}, got.Errors)
}

func TestAlarm(t *testing.T) {
	s := startServer(t)
	alarm := func(action pb.AlarmRequest_AlarmAction, member uint64, kind pb.AlarmType, want ...*pb.AlarmMember) {
		t.Helper()
		resp, err := s.maintenance.Alarm(s.ctx(), &pb.AlarmRequest{Action: action, MemberID: member, Alarm: kind})
		require.NoError(t, err)
		requireEqual(t, &pb.AlarmResponse{Header: s.header(1), Alarms: want}, resp)
	}
	const get, activate, deactivate = pb.AlarmRequest_GET, pb.AlarmRequest_ACTIVATE, pb.AlarmRequest_DEACTIVATE
	const none, noSpace, corrupt = pb.AlarmType_NONE, pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT
	noSpaceOf7 := &pb.AlarmMember{MemberID: 7, Alarm: noSpace}

	alarm(get, 0, none)
	alarm(activate, 7, none) // does nothing
	alarm(get, 0, none)
	alarm(activate, 7, noSpace, noSpaceOf7)
	alarm(activate, 7, noSpace, noSpaceOf7)
	alarm(get, 0, none, noSpaceOf7)
	alarm(get, 99, noSpace, noSpaceOf7)
	alarm(get, 0, corrupt)
	_, err := s.kv.Put(s.ctx(), &pb.PutRequest{Key: []byte("a")})
	requireStatus(t, codes.ResourceExhausted, "etcdserver: mvcc: database space exceeded", err)
	alarm(deactivate, 8, noSpace) // not as it was raised
	alarm(deactivate, 7, none)
	alarm(get, 0, none, noSpaceOf7)
	alarm(deactivate, 7, noSpace, noSpaceOf7)
	alarm(deactivate, 7, noSpace)
	alarm(get, 0, none)
	require.EqualValues(t, 2, s.put("a", "1").Header.Revision)

	_, err = s.maintenance.Alarm(s.ctx(), &pb.AlarmRequest{Action: 9})
	requireStatus(t, codes.InvalidArgument, "invalid argument: unknown alarm action 9", err)
	_, err = s.maintenance.Alarm(s.ctx(), &pb.AlarmRequest{Alarm: 257})
	requireStatus(t, codes.InvalidArgument, "invalid argument: unknown alarm type 257", err)
}

// The quota raises the alarm, and clearing it is up to the operator.
func TestQuota(t *testing.T) {
	s := startServer(t, func(n *node.Config, _ *Config) { n.Limits.QuotaBytes = 40_000 })
	value := make([]byte, 4096)
	var err error
	for i := 0; err == nil; i++ {
		require.Less(t, i, 10)
		_, err = s.kv.Put(s.ctx(), &pb.PutRequest{Key: []byte{byte('a' + i)}, Value: value})
	}
	requireStatus(t, codes.ResourceExhausted, "etcdserver: mvcc: database space exceeded", err)
	resp, err := s.maintenance.Alarm(s.ctx(), &pb.AlarmRequest{})
	require.NoError(t, err)
	require.Len(t, resp.Alarms, 1)
	require.Equal(t, pb.AlarmType_NOSPACE, resp.Alarms[0].Alarm)
	require.Equal(t, uint64(s.node.Status().Member), resp.Alarms[0].MemberID)
	_, err = s.lease.LeaseGrant(s.ctx(), &pb.LeaseGrantRequest{TTL: 60})
	requireStatus(t, codes.ResourceExhausted, "etcdserver: mvcc: database space exceeded", err)
	require.EqualValues(t, 1, s.del("a", "").Deleted)
}

// What a member may not serve is refused before the handler.
func TestAdmission(t *testing.T) {
	cluster := &fixedStatus{}
	f := &face{Config: Config{Cluster: cluster}.withDefaults()}
	with := func(pairs ...string) context.Context {
		return metadata.NewIncomingContext(t.Context(), metadata.Pairs(pairs...))
	}
	put, get := &pb.PutRequest{}, &pb.RangeRequest{}
	admit := func(ctx context.Context, req any) error { return f.admit(ctx, req, f.Metrics.unaryClients) }

	// Without a leader only those are refused that ask for one.
	require.NoError(t, admit(t.Context(), put))
	require.NoError(t, admit(with("hasleader", "false"), put))
	require.Equal(t, rpctypes.ErrGRPCNoLeader, admit(with("hasleader", "true"), put))
	cluster.setLeader(1)
	require.NoError(t, admit(with("hasleader", "true"), put))
	require.Equal(t, rpctypes.ErrGRPCInvalidClientAPIVersion, admit(with("client-api-version", "\xff"), put))

	cluster.status.Learner = true
	require.Equal(t, rpctypes.ErrGRPCNotSupportedForLearner, admit(t.Context(), put))
	require.Equal(t, rpctypes.ErrGRPCNotSupportedForLearner, admit(t.Context(), get))
	require.Equal(t, rpctypes.ErrGRPCNotSupportedForLearner, admit(t.Context(), (*pb.RangeRequest)(nil)), "RangeStream")
	require.Equal(t, rpctypes.ErrGRPCNotSupportedForLearner, admit(t.Context(), (*pb.WatchRequest)(nil)))
	require.NoError(t, admit(t.Context(), &pb.RangeRequest{Serializable: true}))
	require.NoError(t, admit(t.Context(), &pb.StatusRequest{}))
	require.NoError(t, admit(t.Context(), (*pb.SnapshotRequest)(nil)))

	// An observer is a learner that clients are sent to.
	cluster.observer = true
	require.NoError(t, admit(t.Context(), put))
	require.NoError(t, admit(t.Context(), (*pb.WatchRequest)(nil)))
}

// Of the streams, a learner serves Snapshot alone (etcd T-91).
func TestLearnerStreams(t *testing.T) {
	f := &face{Config: Config{Cluster: &fixedStatus{status: core.Status{Learner: true}}}.withDefaults()}
	served := false
	require.NoError(t, streaming(f, func(context.Context, stream[pb.SnapshotRequest, pb.SnapshotResponse]) error {
		served = true
		return nil
	})(nil, contextStream{ctx: t.Context()}))
	require.True(t, served)
	require.Equal(t, rpctypes.ErrGRPCNotSupportedForLearner,
		streaming(f, func(context.Context, stream[pb.RangeRequest, pb.RangeStreamResponse]) error {
			panic("served by a learner")
		})(nil, contextStream{ctx: t.Context()}))
}

// contextStream is a stream that has a context, and nothing comes or goes.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // a stream has one
}

func (s contextStream) Context() context.Context { return s.ctx }

func TestLeaderGuard(t *testing.T) {
	const period = time.Second
	ended := func(ctx context.Context) bool {
		synctest.Wait()
		return ctx.Err() != nil
	}
	synctest.Test(t, func(t *testing.T) {
		cluster := &fixedStatus{status: core.Status{Leader: 1}}
		ctx, release := guardLeader(t.Context(), cluster, period)
		defer release()
		pass(10 * period)
		require.False(t, ended(ctx))
		cluster.setLeader(0)
		pass(2*period + period/2)
		require.False(t, ended(ctx))
		cluster.setLeader(2) // just in time
		pass(period)
		cluster.setLeader(0)
		pass(2 * period)
		require.False(t, ended(ctx))
		pass(period)
		require.True(t, ended(ctx))
		require.Equal(t, rpctypes.ErrGRPCNoLeader, context.Cause(ctx))
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, release := guardLeader(t.Context(), &fixedStatus{}, period)
		release()
		require.True(t, ended(ctx))
		require.Equal(t, context.Canceled, context.Cause(ctx))
	})
}

// Interceptors that a server is given see the calls.
func TestInterceptor(t *testing.T) {
	f := &face{Config: Config{Cluster: &fixedStatus{}}.withDefaults()}
	handler := unary(f, func(_ context.Context, _ core.Principal, r *pb.PutRequest) (*pb.PutResponse, error) {
		return nil, core.LeaseNotFound
	})
	decode := func(m any) error { m.(*pb.PutRequest).Key = []byte("k"); return nil }
	_, err := handler(nil, t.Context(), decode,
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			require.Equal(t, "k", string(req.(*pb.PutRequest).Key))
			return next(ctx, req)
		})
	require.Equal(t, rpctypes.ErrGRPCLeaseNotFound, err)
}
