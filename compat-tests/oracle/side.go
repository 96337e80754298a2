package oracle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/compat-tests/server"
)

// patience is how long a reply that is due may take. It is generous: it passes
// only when a reply is missing.
const patience = 10 * time.Second

// maxReply bounds a reply, in bytes; etcd sends at most a request's size and
// large ranges.
const maxReply = 64 << 20

// method is one unary call.
type method struct {
	path     string // gRPC's full method name
	request  func() proto.Message
	response func() proto.Message
}

// unary returns the method with the given message types.
func unary[Q, R any, PQ interface {
	*Q
	proto.Message
}, PR interface {
	*R
	proto.Message
}](path string,
) method {
	return method{
		path:     "/etcdserverpb." + path,
		request:  func() proto.Message { return PQ(new(Q)) },
		response: func() proto.Message { return PR(new(R)) },
	}
}

// methods are the unary calls that scripts and the generator name.
var methods = map[string]method{
	"range":          unary[pb.RangeRequest, pb.RangeResponse]("KV/Range"),
	"put":            unary[pb.PutRequest, pb.PutResponse]("KV/Put"),
	"delete":         unary[pb.DeleteRangeRequest, pb.DeleteRangeResponse]("KV/DeleteRange"),
	"txn":            unary[pb.TxnRequest, pb.TxnResponse]("KV/Txn"),
	"compact":        unary[pb.CompactionRequest, pb.CompactionResponse]("KV/Compact"),
	"grant":          unary[pb.LeaseGrantRequest, pb.LeaseGrantResponse]("Lease/LeaseGrant"),
	"revoke":         unary[pb.LeaseRevokeRequest, pb.LeaseRevokeResponse]("Lease/LeaseRevoke"),
	"ttl":            unary[pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse]("Lease/LeaseTimeToLive"),
	"leases":         unary[pb.LeaseLeasesRequest, pb.LeaseLeasesResponse]("Lease/LeaseLeases"),
	"members":        unary[pb.MemberListRequest, pb.MemberListResponse]("Cluster/MemberList"),
	"alarm":          unary[pb.AlarmRequest, pb.AlarmResponse]("Maintenance/Alarm"),
	"status":         unary[pb.StatusRequest, pb.StatusResponse]("Maintenance/Status"),
	"member-add":     unary[pb.MemberAddRequest, pb.MemberAddResponse]("Cluster/MemberAdd"),
	"member-remove":  unary[pb.MemberRemoveRequest, pb.MemberRemoveResponse]("Cluster/MemberRemove"),
	"member-update":  unary[pb.MemberUpdateRequest, pb.MemberUpdateResponse]("Cluster/MemberUpdate"),
	"member-promote": unary[pb.MemberPromoteRequest, pb.MemberPromoteResponse]("Cluster/MemberPromote"),

	"defragment":  unary[pb.DefragmentRequest, pb.DefragmentResponse]("Maintenance/Defragment"),
	"hash":        unary[pb.HashRequest, pb.HashResponse]("Maintenance/Hash"),
	"hashkv":      unary[pb.HashKVRequest, pb.HashKVResponse]("Maintenance/HashKV"),
	"move-leader": unary[pb.MoveLeaderRequest, pb.MoveLeaderResponse]("Maintenance/MoveLeader"),
	"downgrade":   unary[pb.DowngradeRequest, pb.DowngradeResponse]("Maintenance/Downgrade"),

	"auth-enable":      unary[pb.AuthEnableRequest, pb.AuthEnableResponse]("Auth/AuthEnable"),
	"auth-disable":     unary[pb.AuthDisableRequest, pb.AuthDisableResponse]("Auth/AuthDisable"),
	"auth-status":      unary[pb.AuthStatusRequest, pb.AuthStatusResponse]("Auth/AuthStatus"),
	"authenticate":     unary[pb.AuthenticateRequest, pb.AuthenticateResponse]("Auth/Authenticate"),
	"user-add":         unary[pb.AuthUserAddRequest, pb.AuthUserAddResponse]("Auth/UserAdd"),
	"user-get":         unary[pb.AuthUserGetRequest, pb.AuthUserGetResponse]("Auth/UserGet"),
	"user-list":        unary[pb.AuthUserListRequest, pb.AuthUserListResponse]("Auth/UserList"),
	"user-delete":      unary[pb.AuthUserDeleteRequest, pb.AuthUserDeleteResponse]("Auth/UserDelete"),
	"user-passwd":      unary[pb.AuthUserChangePasswordRequest, pb.AuthUserChangePasswordResponse]("Auth/UserChangePassword"),
	"user-grant-role":  unary[pb.AuthUserGrantRoleRequest, pb.AuthUserGrantRoleResponse]("Auth/UserGrantRole"),
	"user-revoke-role": unary[pb.AuthUserRevokeRoleRequest, pb.AuthUserRevokeRoleResponse]("Auth/UserRevokeRole"),
	"role-add":         unary[pb.AuthRoleAddRequest, pb.AuthRoleAddResponse]("Auth/RoleAdd"),
	"role-get":         unary[pb.AuthRoleGetRequest, pb.AuthRoleGetResponse]("Auth/RoleGet"),
	"role-list":        unary[pb.AuthRoleListRequest, pb.AuthRoleListResponse]("Auth/RoleList"),
	"role-delete":      unary[pb.AuthRoleDeleteRequest, pb.AuthRoleDeleteResponse]("Auth/RoleDelete"),
	"role-grant":       unary[pb.AuthRoleGrantPermissionRequest, pb.AuthRoleGrantPermissionResponse]("Auth/RoleGrantPermission"),
	"role-revoke":      unary[pb.AuthRoleRevokePermissionRequest, pb.AuthRoleRevokePermissionResponse]("Auth/RoleRevokePermission"),

	"rangestream": {
		request:  func() proto.Message { return new(pb.RangeRequest) },
		response: func() proto.Message { return new(pb.RangeResponse) },
	},
	"check": {
		path:     healthpb.Health_Check_FullMethodName,
		request:  func() proto.Message { return new(healthpb.HealthCheckRequest) },
		response: func() proto.Message { return new(healthpb.HealthCheckResponse) },
	},
}

// reply is what one side answered: a message, or an error.
type reply struct {
	message proto.Message
	err     *status.Status // nil: message holds
}

// side is one server and everything this package holds open towards it. One
// goroutine uses it at a time.
type side struct {
	host       host
	endpoint   string // of host; it never changes
	conn       *grpc.ClientConn
	names      *names                                   // nil if the host is a lone server
	keepAlives map[string]pb.Lease_LeaseKeepAliveClient // by user; opened by the first keep-alive
	streams    map[string]*stream
	aliases    aliases
	callers    callers

	ctx    context.Context // of all streams
	cancel context.CancelFunc
	wg     sync.WaitGroup // the streams' readers
}

// host is the server of a side: one process, or the members of a cluster.
type host interface {
	Endpoint() string // of what the side speaks to, as host:port
	URL() string
	Kill() error // SIGKILL; of a cluster, the leader
	Terminate() error
	Restart(ctx context.Context) error // after Kill or Terminate
	Stop() error
}

func newSide(ctx context.Context, o server.Options) (*side, error) {
	process, err := server.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	return sideOf(ctx, process)
}

// sideOf takes over the host.
func sideOf(ctx context.Context, h host) (*side, error) {
	conn, err := dial(h.Endpoint())
	if err != nil {
		return nil, errors.Join(err, h.Stop())
	}
	s := &side{host: h, endpoint: h.Endpoint(), conn: conn, streams: make(map[string]*stream), aliases: make(aliases)}
	s.keepAlives = make(map[string]pb.Lease_LeaseKeepAliveClient)
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return s, nil
}

func dial(endpoint string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply), grpc.MaxCallSendMsgSize(maxReply)))
}

// close ends all streams and the server.
func (s *side) close() error {
	s.cancel()
	s.wg.Wait()
	return errors.Join(s.conn.Close(), s.names.close(), s.host.Stop())
}

// call makes a unary call.
func (s *side) call(m method, request proto.Message) reply {
	if m.path == "" {
		return s.rangeStream(request.(*pb.RangeRequest))
	}
	ctx, cancel := context.WithTimeout(s.calling(s.ctx), patience)
	defer cancel()
	response := m.response()
	conn, err := s.connFor(ctx, request)
	if err != nil {
		return reply{err: status.Convert(err)}
	}
	if err := conn.Invoke(ctx, m.path, request, response); err != nil {
		return reply{err: status.Convert(err)}
	}
	s.callers.learn(request, response)
	return reply{message: response}
}

// rawCodec sends bytes as they are, to show what a server makes of nonsense.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = slices.Clone(data)
	return nil
}

// raw makes a call with bytes instead of a message, and returns the error or the
// bytes of the reply.
func (s *side) raw(path string, request []byte) string {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	var response []byte
	if err := s.conn.Invoke(ctx, path, &request, &response, grpc.ForceCodec(rawCodec{})); err != nil {
		return errorText(status.Convert(err))
	}
	return fmt.Sprintf("%q\n", response)
}

// renew sends one keep-alive on the side's keep-alive stream and waits for its
// answer. A stream that has ended is replaced by the next call.
func (s *side) renew(request *pb.LeaseKeepAliveRequest) reply {
	caller := s.callers.now
	stream := s.keepAlives[caller]
	if stream == nil {
		var err error
		if stream, err = pb.NewLeaseClient(s.conn).LeaseKeepAlive(s.calling(s.ctx)); err != nil {
			return reply{err: status.Convert(err)}
		}
		s.keepAlives[caller] = stream
	}
	type answer struct {
		response *pb.LeaseKeepAliveResponse
		err      error
	}
	answers := make(chan answer, 1)
	s.wg.Go(func() {
		if err := stream.Send(request); err != nil && !errors.Is(err, io.EOF) {
			answers <- answer{err: err}
			return
		}
		response, err := stream.Recv() // shows the reason if Send said EOF
		answers <- answer{response, err}
	})
	select {
	case a := <-answers:
		if a.err != nil {
			delete(s.keepAlives, caller)
			return reply{err: status.Convert(a.err)}
		}
		return reply{message: a.response}
	case <-time.After(patience):
		delete(s.keepAlives, caller)
		return reply{err: status.FromContextError(context.DeadlineExceeded)}
	}
}

// fetch makes an HTTP request to the client port and returns the reply's status,
// content type and body.
func (s *side) fetch(method, path string) (status, contentType, body string, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, s.host.URL()+path, nil)
	if err != nil {
		return "", "", "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", "", "", err
	}
	all, err := io.ReadAll(response.Body)
	err = errors.Join(err, response.Body.Close())
	if err != nil {
		return "", "", "", err
	}
	return response.Status, response.Header.Get("Content-Type"), string(all), nil
}
