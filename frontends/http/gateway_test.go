package httpfront

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/triglot/triglot/frontends/http/inproc"
)

// fakeFace is as much of etcd's API as the tests ask for.
type fakeFace struct {
	pb.UnimplementedKVServer
	pb.UnimplementedWatchServer
	pb.UnimplementedLeaseServer
	pb.UnimplementedClusterServer
	pb.UnimplementedMaintenanceServer
	pb.UnimplementedAuthServer

	put   func(context.Context, *pb.PutRequest) (*pb.PutResponse, error)
	fetch func(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error)
	watch func(pb.Watch_WatchServer) error
}

func (f *fakeFace) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	return f.put(ctx, r)
}

func (f *fakeFace) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	return f.fetch(ctx, r)
}

func (f *fakeFace) Watch(s pb.Watch_WatchServer) error { return f.watch(s) }

func (f *fakeFace) LeaseKeepAlive(s pb.Lease_LeaseKeepAliveServer) error {
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(&pb.LeaseKeepAliveResponse{ID: r.ID, TTL: 5}); err != nil {
			return err
		}
	}
}

// channel registers f.
func (f *fakeFace) channel() *inproc.Channel {
	c := inproc.New(inproc.Config{MaxRequestBytes: 1000, Logger: discard()})
	pb.RegisterKVServer(c, f)
	pb.RegisterWatchServer(c, f)
	pb.RegisterLeaseServer(c, f)
	pb.RegisterClusterServer(c, f)
	pb.RegisterMaintenanceServer(c, f)
	pb.RegisterAuthServer(c, f)
	return c
}

// handler is the client handler of a member whose face is f.
func (f *fakeFace) handler(t testing.TB) (http.Handler, *inproc.Channel) {
	t.Helper()
	c := f.channel()
	t.Cleanup(c.Close)
	m := newFakeMember()
	return New(Config{Store: m, Cluster: m, Gateway: c, MaxRequestBytes: 1000}).ClientHandler(), c
}

func post(h http.Handler, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
	return w
}

// withoutSpaces undoes what protobuf does so that nobody relies on its JSON byte for
// byte: some builds put a space after each comma.
func withoutSpaces(s string) string { return strings.ReplaceAll(s, `, "`, `,"`) }

func TestGatewayOff(t *testing.T) {
	m := newFakeMember()
	h := New(Config{Store: m, Cluster: m}).ClientHandler()
	for _, path := range []string{"/v3/kv/put", "/v3beta/kv/put", "/v3/"} {
		w := post(h, path, "{}")
		require.Equal(t, http.StatusNotFound, w.Code)
		require.Equal(t, "404 page not found\n", w.Body.String(), "what APISIX looks for")
	}
}

func TestGatewayErrors(t *testing.T) {
	tests := []struct {
		err  error
		code int
		body string
	}{
		{rpctypes.ErrGRPCEmptyKey, 400, "etcdserver: key is not provided"},
		{rpctypes.ErrGRPCCompacted, 400, "etcdserver: mvcc: required revision has been compacted"},
		{rpctypes.ErrGRPCLeaseNotFound, 404, "etcdserver: requested lease not found"},
		{rpctypes.ErrGRPCNoSpace, 429, "etcdserver: mvcc: database space exceeded"},
		{rpctypes.ErrGRPCLeaseExist, 400, "etcdserver: lease already exists"},
		{rpctypes.ErrGRPCPermissionDenied, 403, "etcdserver: permission denied"},
		{rpctypes.ErrGRPCInvalidAuthToken, 401, "etcdserver: invalid auth token"},
		{rpctypes.ErrGRPCNoLeader, 503, "etcdserver: no leader"},
		{rpctypes.ErrGRPCTimeout, 503, "etcdserver: request timed out"},
		{rpctypes.ErrGRPCCorrupt, 500, "etcdserver: corrupt cluster"},
		{rpctypes.ErrGRPCCanceled, 499, "etcdserver: request canceled"},
		{status.Error(codes.DeadlineExceeded, "late"), 504, "late"},
		{status.Error(codes.Unimplemented, "later"), 501, "later"},
		{status.Error(codes.Unknown, `<odd> & "quoted"`+"\n"), 500, `<odd> & \"quoted\"\n`},
	}
	f := new(fakeFace)
	h, _ := f.handler(t)
	for _, tt := range tests {
		f.put = func(context.Context, *pb.PutRequest) (*pb.PutResponse, error) { return nil, tt.err }
		w := post(h, "/v3/kv/put", "{}")
		require.Equal(t, tt.code, w.Code)
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		require.Equal(t, fmt.Sprintf(`{"error":"%s","message":"%s","code":%d,"details":[]}`,
			tt.body, tt.body, status.Code(tt.err)), w.Body.String())
		challenge := ""
		if tt.code == http.StatusUnauthorized {
			challenge = "etcdserver: invalid auth token"
		}
		require.Equal(t, challenge, w.Header().Get("WWW-Authenticate"))
	}
}

// A stream's error before its first message is a line too, which clients of the
// gateway's first version read: without http_code lua-resty-etcd crashes.
func TestGatewayStreamErrors(t *testing.T) {
	f := &fakeFace{watch: func(s pb.Watch_WatchServer) error {
		r, err := s.Recv()
		if err != nil {
			return err
		}
		if r.GetCreateRequest().GetWatchId() == 1 {
			if err := s.Send(&pb.WatchResponse{WatchId: 1, Created: true}); err != nil {
				return err
			}
		}
		return rpctypes.ErrGRPCNoLeader
	}}
	h, _ := f.handler(t)
	line := `{"error":{"code":14,"grpc_code":14,"http_code":503,"http_status":"Service Unavailable",` +
		`"message":"etcdserver: no leader","details":[]}}` + "\n"
	w := post(h, "/v3/watch", `{"create_request":{}}`)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, line, w.Body.String())
	w = post(h, "/v3/watch", `{"create_request":{"watch_id":1}}`)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, `{"result":{"watch_id":"1","created":true}}`+"\n"+line, withoutSpaces(w.Body.String()))
}

func TestGatewayPanics(t *testing.T) {
	f := &fakeFace{put: func(context.Context, *pb.PutRequest) (*pb.PutResponse, error) { panic("broken") }}
	h, _ := f.handler(t)
	w := post(h, "/v3/kv/put", "{}")
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Contains(t, w.Body.String(), `"code":13`)
}

// What is said of the caller comes from the connection, and only that.
func TestGatewayCaller(t *testing.T) {
	var who *peer.Peer
	var md metadata.MD
	f := &fakeFace{put: func(ctx context.Context, _ *pb.PutRequest) (*pb.PutResponse, error) {
		who, _ = peer.FromContext(ctx)
		md, _ = metadata.FromIncomingContext(ctx)
		return &pb.PutResponse{}, nil
	}}
	h, _ := f.handler(t)
	chain := [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: "alice"}}}}
	tests := []struct {
		name    string
		headers map[string]string
		secure  *tls.ConnectionState
		token   []string
		other   map[string]string
		// authorization is looked at if it is set: the gateway adds what etcd reads only
		// without a token.
		authorization string
	}{
		{name: "nothing"},
		{name: "a certificate", secure: &tls.ConnectionState{VerifiedChains: chain}},
		{name: "a raw token", headers: map[string]string{"Authorization": "abc.1"}, token: []string{"abc.1"}},
		{name: "a bearer token", headers: map[string]string{"Authorization": "Bearer abc.1"}, token: []string{"abc.1"}},
		{name: "in small letters", headers: map[string]string{"Authorization": "bearer  abc.1"}, token: []string{"abc.1"}},
		{name: "as metadata", headers: map[string]string{"Grpc-Metadata-Token": "abc.1"}, token: []string{"abc.1"}},
		{name: "as metadata by its other name", headers: map[string]string{"Grpc-Metadata-Authorization": "abc.1"}, authorization: "abc.1"},
		{
			name: "what clients of gRPC say, too",
			headers: map[string]string{
				"Grpc-Metadata-Hasleader": "true", "Grpc-Metadata-Client-Api-Version": "3.7",
			},
			other: map[string]string{"hasleader": "true", "client-api-version": "3.7"},
		},
		{
			name: "what only a transport may say",
			headers: map[string]string{
				"Grpc-Metadata-Peer": "root", "Grpc-Metadata-:authority": "root", "Token": "root", "Hasleader": "true",
				"Grpc-Metadata-X-Forwarded-For": "1.2.3.4", "Grpc-Metadata-Grpcgateway-Cookie": "x", "Cookie": "y",
				"Grpc-Metadata-Grpc-Trace-Bin": "AAAA", "Grpc-Metadata-": "x", "X-Forwarded-Client-Cert": "root",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/v3/kv/put", nil)
			for name, value := range tt.headers {
				r.Header.Set(name, value)
			}
			r.RemoteAddr, r.TLS = "10.1.2.3:45", tt.secure
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, http.StatusOK, w.Code)
			require.Equal(t, "10.1.2.3:45", who.Addr.String())
			require.Equal(t, "tcp", who.Addr.Network())
			if tt.secure == nil {
				require.Nil(t, who.AuthInfo)
			} else {
				info, ok := who.AuthInfo.(credentials.TLSInfo)
				require.True(t, ok)
				require.Equal(t, chain, info.State.VerifiedChains)
			}
			require.Equal(t, tt.token, md.Get("token"))
			delete(md, "token")
			if tt.authorization != "" {
				require.Equal(t, []string{tt.authorization}, md.Get("authorization"))
			}
			delete(md, "authorization")
			require.Equal(t, []string{"example.com"}, md.Get("x-forwarded-host"))
			require.Equal(t, []string{"10.1.2.3"}, md.Get("x-forwarded-for"))
			require.Len(t, md, 2+len(tt.other))
			for key, value := range tt.other {
				require.Equal(t, []string{value}, md.Get(key))
			}
		})
	}
}

func TestGatewayDeadline(t *testing.T) {
	f := &fakeFace{put: func(ctx context.Context, _ *pb.PutRequest) (*pb.PutResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	h, _ := f.handler(t)
	r := httptest.NewRequest(http.MethodPost, "/v3/kv/put", nil)
	r.Header.Set("Grpc-Timeout", "10m")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, http.StatusGatewayTimeout, w.Code)
}

func TestGatewayBodyLimits(t *testing.T) {
	taken := 0
	f := &fakeFace{put: func(_ context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
		taken++
		return &pb.PutResponse{}, nil
	}}
	h, _ := f.handler(t)
	limit := bodyFactor * (1000 + requestOverhead)
	pad := func(n int) string { return `{"key":"AA==","x":"` + strings.Repeat("x", n-21) + `"}` }
	require.Len(t, pad(100), 100)

	require.Equal(t, http.StatusOK, post(h, "/v3/kv/put", pad(limit)).Code)
	require.Equal(t, 1, taken)
	w := post(h, "/v3/kv/put", pad(limit+1))
	require.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
	require.Contains(t, w.Body.String(), fmt.Sprintf("the body of the request is larger than %d bytes", limit))
	require.Equal(t, "close", w.Header().Get("Connection"))
	w = post(h, "/v3/kv/put", `{"key":"`+strings.Repeat("AAAA", 200<<10)+`"}`)
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Contains(t, w.Body.String(), "grpc: received message larger than max (614404 vs. 525288)")
	// What follows a request is passed over, but not without end.
	require.Equal(t, http.StatusOK, post(h, "/v3/kv/put", "{}"+strings.Repeat("x", limit)).Code)
	require.Equal(t, 2, taken)
	objects := func(n int) string { return `{"x":[` + strings.Repeat("{},", n-2) + "{}]}" }
	require.Equal(t, http.StatusOK, post(h, "/v3/kv/put", objects(maxObjects)).Code)
	w = post(h, "/v3/kv/put", objects(maxObjects+1))
	require.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
	require.Contains(t, w.Body.String(), "the body of the request has more than 131072 objects")

	// In a stream each message has the limit to itself.
	w = post(h, "/v3/lease/keepalive", strings.Repeat(pad(limit/2), 5)+`{"ID":7}`)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, 6, strings.Count(w.Body.String(), "\n"))
	w = post(h, "/v3/lease/keepalive", strings.Repeat(objects(maxObjects/2), 5))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, 5, strings.Count(w.Body.String(), "\n"))
	for _, body := range []string{pad(limit + 1), objects(maxObjects + 1)} {
		w = post(h, "/v3/lease/keepalive", body)
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.NotContains(t, w.Body.String(), "rpc error")
	}
}

// The bodies of all requests under way have one limit, and what one held is free
// when it is over.
func TestGatewayBodiesShareABudget(t *testing.T) {
	c := (&fakeFace{put: func(context.Context, *pb.PutRequest) (*pb.PutResponse, error) { return &pb.PutResponse{}, nil }}).channel()
	t.Cleanup(c.Close)
	const budget = 10_000
	g := newGateway(c, 1000)
	g.bodies = newBodyBudget(budget)
	body := `{"key":"AA==","x":"` + strings.Repeat("x", 6000) + `"}`

	slow, writer := io.Pipe()
	first := make(chan int, 1)
	go func() {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v3/kv/put", slow))
		first <- w.Code
	}()
	_, err := io.WriteString(writer, body[:5000])
	require.NoError(t, err)
	require.Eventually(t, func() bool { return g.bodies.left.Load() == budget-5000 }, 20*time.Second, time.Millisecond)
	require.Equal(t, http.StatusOK, post(g, "/v3/kv/put", body[:19]+`"}`).Code, "there is room for a small one")
	w := post(g, "/v3/kv/put", body)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), "try again")

	_, err = io.WriteString(writer, body[5000:])
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	require.Equal(t, http.StatusOK, <-first)
	require.Equal(t, http.StatusOK, post(g, "/v3/kv/put", body).Code)
	require.Equal(t, http.StatusOK, post(g, "/v3/lease/keepalive", "").Code)
	require.EqualValues(t, budget, g.bodies.left.Load(), "all that was held was given back")
}

// serveGateway serves f's gateway on a socket.
func serveGateway(t testing.TB, f *fakeFace) (net.Addr, *inproc.Channel) {
	t.Helper()
	h, c := f.handler(t)
	l := listen(t)
	servePort(t, l, h)
	return l.Addr(), c
}

// A watch is open for as long as its client: its body has ended long before, each
// message is sent at once, and the client's end is the handler's.
func TestGatewayWatch(t *testing.T) {
	for name, choose := range map[string]func(*http.Protocols){
		"HTTP/1": choices["HTTP/1"].choose, "HTTP/2": choices["HTTP/2"].choose,
	} {
		t.Run(name, func(t *testing.T) {
			events, ended := make(chan *pb.WatchResponse), make(chan error, 1)
			addr, _ := serveGateway(t, &fakeFace{watch: func(s pb.Watch_WatchServer) error {
				if _, err := s.Recv(); err != nil {
					return err
				}
				if _, err := s.Recv(); !errors.Is(err, io.EOF) {
					return errors.New("the body has not ended")
				}
				for {
					select {
					case e := <-events:
						if err := s.Send(e); err != nil {
							return err
						}
					case <-s.Context().Done():
						ended <- context.Cause(s.Context())
						return s.Context().Err()
					}
				}
			}})
			c := client(t, nil, choose)
			begun := make(chan struct{})
			go func() {
				defer close(begun)
				events <- &pb.WatchResponse{Created: true}
			}()
			resp, err := c.Post("http://"+addr.String()+"/v3/watch", "", strings.NewReader(`{"create_request":{}}`))
			require.NoError(t, err)
			<-begun
			in := bufio.NewReader(resp.Body)
			line, err := in.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, `{"result":{"created":true}}`+"\n", line)
			for i := range int64(3) {
				events <- &pb.WatchResponse{Events: []*mvccpb.Event{{Kv: &mvccpb.KeyValue{Key: []byte("k"), ModRevision: i}}}}
				line, err := in.ReadString('\n')
				require.NoError(t, err)
				var got struct {
					Result struct {
						Events []struct {
							KV struct{ Key, ModRevision string }
						}
					}
				}
				require.NoError(t, json.Unmarshal([]byte(line), &got))
				require.Equal(t, "aw==", got.Result.Events[0].KV.Key)
			}
			require.NoError(t, resp.Body.Close())
			require.ErrorIs(t, <-ended, context.Canceled)
		})
	}
}

// Requests of a stream are answered before the body ends, over HTTP/1 too.
func TestGatewayFullDuplex(t *testing.T) {
	addr, _ := serveGateway(t, new(fakeFace))
	for _, name := range []string{"HTTP/1", "HTTP/2"} {
		t.Run(name, func(t *testing.T) {
			body, more := io.Pipe()
			c := client(t, nil, choices[name].choose)
			go func() { _, _ = io.WriteString(more, `{"ID":1}`+"\n") }()
			resp, err := c.Post("http://"+addr.String()+"/v3/lease/keepalive", "", body)
			require.NoError(t, err)
			in := bufio.NewReader(resp.Body)
			for i := 1; ; i++ {
				line, err := in.ReadString('\n')
				require.NoError(t, err)
				require.Contains(t, line, fmt.Sprintf(`"ID":"%d"`, i))
				if i == 3 {
					break
				}
				_, err = fmt.Fprintf(more, `{"ID":%d}`, i+1)
				require.NoError(t, err)
			}
			// What cannot be decoded ends the stream, with a line.
			_, err = io.WriteString(more, "nonsense")
			require.NoError(t, err)
			rest, err := io.ReadAll(in)
			require.NoError(t, err)
			require.Contains(t, string(rest), `{"error":{"code":3,"grpc_code":3,"http_code":400,"http_status":"Bad Request","message":"invalid character`)
			require.NoError(t, more.Close())
			require.NoError(t, resp.Body.Close())
		})
	}
}

// A stopped member's watches end with a line that says so.
func TestGatewayCloses(t *testing.T) {
	addr, channel := serveGateway(t, &fakeFace{watch: func(s pb.Watch_WatchServer) error {
		if err := s.Send(&pb.WatchResponse{Created: true}); err != nil {
			return err
		}
		<-s.Context().Done()
		return context.Cause(s.Context())
	}})
	c := client(t, nil, choices["HTTP/1"].choose)
	resp, err := c.Post("http://"+addr.String()+"/v3/watch", "", strings.NewReader(`{"create_request":{}}`))
	require.NoError(t, err)
	in := bufio.NewReader(resp.Body)
	_, err = in.ReadString('\n')
	require.NoError(t, err)
	channel.Close()
	rest, err := io.ReadAll(in)
	require.NoError(t, err)
	require.Equal(t, `{"error":{"code":14,"grpc_code":14,"http_code":503,"http_status":"Service Unavailable",`+
		`"message":"etcdserver: server stopped","details":[]}}`+"\n", string(rest))
	require.NoError(t, resp.Body.Close())
}
