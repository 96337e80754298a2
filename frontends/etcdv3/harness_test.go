package etcdv3

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/triglot/triglot/core/node"
	"github.com/triglot/triglot/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a member of one with the face on it, and a client's stubs. The
// member's disk is in memory; everything else is real.
type server struct {
	testing.TB
	node     *node.Node
	stopNode func() // once
	registry *prometheus.Registry
	conn     *grpc.ClientConn

	kv          pb.KVClient
	watch       pb.WatchClient
	lease       pb.LeaseClient
	cluster     pb.ClusterClient
	maintenance pb.MaintenanceClient
}

// startServer starts a member with small limits: 64 KiB a request, 8 operations
// a transaction. The options change its configuration.
func startServer(t testing.TB, options ...func(*node.Config, *Config)) *server {
	const maxRequestBytes = 64 << 10
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	nodeConfig := node.Config{
		DataDir:             "data",
		AdvertiseClientURLs: []string{"http://localhost:2379"},
		Memory:              node.Memory{RowCache: 1 << 20, Ring: 1 << 20, BlockCache: 1 << 20, MemTable: 1 << 20},
		FS:                  storage.NewCrashableMemFS(),
		Limits:              node.Limits{RequestBytes: maxRequestBytes},
		Logger:              logger,
	}
	s := &server{TB: t, registry: prometheus.NewRegistry()}
	config := Config{
		Limits: Limits{TxnOps: 8, RequestBytes: maxRequestBytes}, Metrics: NewMetrics(s.registry), Logger: logger,
	}
	for _, option := range options {
		option(&nodeConfig, &config)
	}
	var err error
	s.node, err = node.Start(nodeConfig)
	require.NoError(t, err)
	s.stopNode = sync.OnceFunc(func() { require.NoError(t, s.node.Stop(context.Background())) })
	require.NoError(t, s.node.Ready(s.ctx())) // it leads, and writes nothing more of its own
	config.Store, config.Leases, config.Cluster, config.Maintenance = s.node, s.node.Leases(), s.node, s.node
	if config.Auth == nil {
		config.Auth = s.node.Auth()
	}
	config.Membership = s.node.Membership()

	g := grpc.NewServer(ServerOptions(ServerConfig{MaxRequestBytes: maxRequestBytes, Metrics: config.Metrics})...)
	Register(g, config)
	listener := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	s.conn, err = grpc.NewClient("passthrough:///member", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(t, err)
	s.kv, s.watch, s.lease = pb.NewKVClient(s.conn), pb.NewWatchClient(s.conn), pb.NewLeaseClient(s.conn)
	s.cluster, s.maintenance = pb.NewClusterClient(s.conn), pb.NewMaintenanceClient(s.conn)
	t.Cleanup(func() {
		require.NoError(t, s.conn.Close())
		g.Stop()
		require.NoError(t, <-served)
		s.stopNode()
	})
	return s
}

// ctx is a context that outlives every sane call.
func (s *server) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	s.Cleanup(cancel)
	return ctx
}

// rev is the current revision.
func (s *server) rev() int64 {
	s.Helper()
	return s.get("any").Header.Revision
}

func (s *server) put(key, value string) *pb.PutResponse {
	s.Helper()
	return s.putRequest(&pb.PutRequest{Key: []byte(key), Value: []byte(value)})
}

func (s *server) putRequest(r *pb.PutRequest) *pb.PutResponse {
	s.Helper()
	resp, err := s.kv.Put(s.ctx(), r)
	require.NoError(s, err)
	return resp
}

func (s *server) get(key string) *pb.RangeResponse {
	s.Helper()
	return s.rangeRequest(&pb.RangeRequest{Key: []byte(key)})
}

func (s *server) rangeRequest(r *pb.RangeRequest) *pb.RangeResponse {
	s.Helper()
	resp, err := s.kv.Range(s.ctx(), r)
	require.NoError(s, err)
	return resp
}

func (s *server) del(key, end string) *pb.DeleteRangeResponse {
	s.Helper()
	resp, err := s.kv.DeleteRange(s.ctx(), &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end)})
	require.NoError(s, err)
	return resp
}

func (s *server) txn(r *pb.TxnRequest) *pb.TxnResponse {
	s.Helper()
	resp, err := s.kv.Txn(s.ctx(), r)
	require.NoError(s, err)
	return resp
}

// header is the header of this member's replies at rev.
func (s *server) header(rev int64) *pb.ResponseHeader {
	st := s.node.Status()
	return &pb.ResponseHeader{ClusterId: st.ClusterID, MemberId: uint64(st.Member), RaftTerm: st.Term, Revision: rev}
}

func requireEqual(t testing.TB, want, got proto.Message) {
	t.Helper()
	if !proto.Equal(want, got) { // a diff of megabytes takes long, even of none
		require.Fail(t, "the messages differ", cmp.Diff(want, got, protocmp.Transform()))
	}
}

// requireStatus checks an error as a client sees it.
func requireStatus(t testing.TB, code codes.Code, text string, err error) {
	t.Helper()
	st, ok := status.FromError(err)
	require.True(t, ok, "not a status: %v", err)
	require.Equal(t, text, st.Message())
	require.Equal(t, code, st.Code())
}

// rawMessage is sent as it is.
type rawMessage string

var rawCodec = grpc.ForceCodecV2(rawEncoder{})

type rawEncoder struct{ codec }

func (rawEncoder) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.(rawMessage))}, nil
}
