package httpfront

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/etcdserverpb/gw"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/triglot/triglot/frontends/etcdv3/v3electionpb"
	"github.com/triglot/triglot/frontends/etcdv3/v3lockpb"
)

// gateway serves etcd's gRPC API as JSON over HTTP: POST /v3/..., as etcd 3.7 does
// (embed.registerGateway).
type gateway struct {
	mux     *runtime.ServeMux
	maxBody int64
	bodies  *bodyBudget
}

// defaultMaxRequestBytes is etcd's --max-request-bytes.
const defaultMaxRequestBytes = 1536 << 10

// bodyFactor is how much larger than its message, with the 512 KiB that gRPC
// allows it beyond the limit, a JSON body may be: base64 takes 4/3, and the rest is
// for names and white space. etcd has no limit of its own on the text.
const (
	bodyFactor      = 4
	requestOverhead = 512 << 10
)

// maxBodies is what the bodies of all requests under way may hold, in bytes. Decoded
// they take several times as much, of what a member sets aside for requests beside its
// caches.
const maxBodies = 64 << 20

// bodyTimeout is how long a client may take to send the body of a unary request.
// Those of streams go on for as long as the client likes.
const bodyTimeout = time.Minute

// newGateway makes the gateway to the services behind conn. maxRequest is the
// store's limit on an encoded command.
func newGateway(conn grpc.ClientConnInterface, maxRequest uint) *gateway {
	maxBody := bodyFactor * (int64(maxRequest) + requestOverhead)
	g := &gateway{maxBody: maxBody, bodies: newBodyBudget(max(maxBodies, maxBody))}
	g.mux = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newJSONCodec()),
		runtime.WithErrorHandler(writeError),
		runtime.WithIncomingHeaderMatcher(metadataKey),
		runtime.WithMetadata(token),
	)
	ctx := context.Background() // the handlers take each request's own
	// The last that is registered is tried first, and each attempt costs.
	for _, err := range []error{
		v3electionpb.RegisterElectionHandlerClient(ctx, g.mux, v3electionpb.NewElectionClient(conn)),
		v3lockpb.RegisterLockHandlerClient(ctx, g.mux, v3lockpb.NewLockClient(conn)),
		gw.RegisterAuthHandlerClient(ctx, g.mux, pb.NewAuthClient(conn)),
		gw.RegisterMaintenanceHandlerClient(ctx, g.mux, pb.NewMaintenanceClient(conn)),
		gw.RegisterClusterHandlerClient(ctx, g.mux, pb.NewClusterClient(conn)),
		gw.RegisterLeaseHandlerClient(ctx, g.mux, pb.NewLeaseClient(conn)),
		gw.RegisterWatchHandlerClient(ctx, g.mux, pb.NewWatchClient(conn)),
		gw.RegisterKVHandlerClient(ctx, g.mux, pb.NewKVClient(conn)),
	} {
		if err != nil {
			panic(err) // the generated code has no reason to fail
		}
	}
	return g
}

// streams are the paths whose body is a stream of requests.
var streams = map[string]bool{"/v3/watch": true, "/v3/lease/keepalive": true}

// ServeHTTP serves one request. The caller's address and certificate go to the
// handler as the peer of the call, never as metadata.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, end := context.WithCancelCause(r.Context())
	defer end(nil)
	r = r.WithContext(peer.NewContext(ctx, callerOf(r)))
	r.Header.Del("Content-Type") // all are JSON; the generated code would log what it cannot parse
	body := newRequestBody(r.Body, g.maxBody, g.bodies)
	defer body.share.giveBack(true)
	control := http.NewResponseController(w)
	// What fails here is that a writer does not know of the deadlines or of full
	// duplex: then there is none to set.
	if streams[r.URL.Path] {
		body.fail = end
		_ = control.EnableFullDuplex() // what was asked for first is answered before the body ends
	} else {
		_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
		body.ended = func() { _ = control.SetReadDeadline(time.Time{}) } // or it would end the request
	}
	r.Body = body
	g.mux.ServeHTTP(w, r)
}

// callerOf is who sent the request, as gRPC says it.
func callerOf(r *http.Request) *peer.Peer {
	p := &peer.Peer{Addr: address(r.RemoteAddr)}
	if r.TLS != nil {
		p.AuthInfo = credentials.TLSInfo{
			State:          *r.TLS,
			CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		}
	}
	return p
}

// address is the text of a remote address.
type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

// metadataKey says which headers become metadata of the call: those with which a
// client says what any gRPC client may say. The gateway adds Authorization.
func metadataKey(header string) (string, bool) {
	key := strings.ToLower(strings.TrimPrefix(header, runtime.MetadataHeaderPrefix))
	switch key {
	case rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataClientAPIVersionKey,
		rpctypes.TokenFieldNameGRPC, rpctypes.TokenFieldNameSwagger:
		return key, strings.HasPrefix(header, runtime.MetadataHeaderPrefix)
	default:
		return "", false
	}
}

// token takes the token that Authorization holds, as it is or after "Bearer".
func token(_ context.Context, r *http.Request) metadata.MD {
	value := r.Header.Get("Authorization")
	if scheme, rest, ok := strings.Cut(value, " "); ok && strings.EqualFold(scheme, "Bearer") {
		value = strings.TrimSpace(rest)
	}
	if value == "" {
		return nil
	}
	return metadata.Pairs(rpctypes.TokenFieldNameGRPC, value)
}

// fromBeta serves the paths below /v3beta/, where clients of etcd 3.3 look first, as
// those below /v3/. etcd 3.7 still does.
func fromBeta(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := betaPath(r.URL.Path); path != r.URL.Path {
			r.URL.Path, r.URL.RawPath = path, ""
		}
		next.ServeHTTP(w, r)
	})
}

// betaPath is the path that a path below /v3beta/ stands for.
func betaPath(path string) string {
	if rest, ok := strings.CutPrefix(path, "/v3beta/"); ok {
		return "/v3/" + rest
	}
	return path
}
