package httpfront

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// servePort serves gRPC's health service and h on l, through a Splitter, until the
// test ends.
func servePort(t testing.TB, l net.Listener, h http.Handler) {
	t.Helper()
	s := NewSplitter(l)
	calls := grpc.NewServer()
	healthpb.RegisterHealthServer(calls, grpchealth.NewServer())
	web := NewServer(h, discard())
	errs := make(chan error, 3)
	go func() { errs <- s.Serve() }()
	go func() { errs <- calls.Serve(s.GRPC()) }()
	go func() { errs <- web.Serve(s.HTTP()) }()
	t.Cleanup(func() {
		require.NoError(t, web.Close())
		calls.Stop()
		require.NoError(t, s.Close())
		for range cap(errs) {
			if err := <-errs; err != nil {
				require.ErrorIs(t, err, http.ErrServerClosed)
			}
		}
	})
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// sayProto answers with the protocol and what it knows of TLS.
var sayProto = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s tls=%t %d", r.Proto, r.TLS != nil, len(body))
})

// client makes an HTTP client that speaks the one protocol.
func client(t testing.TB, secure *tls.Config, choose func(*http.Protocols)) *http.Client {
	var protocols http.Protocols
	choose(&protocols)
	transport := &http.Transport{Protocols: &protocols, TLSClientConfig: secure}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

var choices = map[string]struct {
	choose func(*http.Protocols)
	secure bool
	want   string
}{
	"HTTP/1":         {func(p *http.Protocols) { p.SetHTTP1(true) }, false, "HTTP/1.1 tls=false 300000"},
	"HTTP/2":         {func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }, false, "HTTP/2.0 tls=false 300000"},
	"HTTP/1 and TLS": {func(p *http.Protocols) { p.SetHTTP1(true) }, true, "HTTP/1.1 tls=true 300000"},
	"HTTP/2 and TLS": {func(p *http.Protocols) { p.SetHTTP2(true) }, true, "HTTP/2.0 tls=true 300000"},
}

func TestPortServesEveryProtocol(t *testing.T) {
	web := httptest.NewUnstartedServer(nil) // for its certificate
	web.StartTLS()
	defer web.Close()
	trust := web.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trust.NextProtos = nil
	f := New(Config{Store: newFakeMember(), Cluster: newFakeMember()})
	for name, tt := range choices {
		t.Run(name, func(t *testing.T) {
			l, url := listen(t), "http://"
			if tt.secure {
				l, url = tls.NewListener(l, &tls.Config{
					Certificates: web.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"},
				}), "https://"
			}
			servePort(t, l, f.guard(sayProto))
			c := client(t, trust, tt.choose)
			for range 3 {
				resp, err := c.Post(url+l.Addr().String(), "", http.NoBody)
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				// Larger than what is read ahead, and than a window.
				resp, err = c.Post(url+l.Addr().String(), "", io.LimitReader(zeros{}, 300000))
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, tt.want, string(body))
				require.NoError(t, resp.Body.Close())
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestPortServesGRPC(t *testing.T) {
	l := listen(t)
	servePort(t, l, sayProto)
	for range 3 {
		checkHealth(t, l.Addr())
	}
}

// checkHealth makes one call on a connection of its own.
// A connection that begins with plain HTTP/2 takes gRPC calls too, to which the list of
// hosts does not apply.
func TestConnectionServesBoth(t *testing.T) {
	calls := grpc.NewServer()
	healthpb.RegisterHealthServer(calls, grpchealth.NewServer())
	m := newFakeMember()
	front := New(Config{Store: m, Cluster: m, Calls: calls, Hosts: []string{"nobody"}})
	l := listen(t)
	servePort(t, l, front.ClientHandler())
	c := client(t, nil, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	url := "http://" + l.Addr().String()
	resp, err := c.Get(url + "/version")
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusMisdirectedRequest, resp.StatusCode)

	var conn httptrace.GotConnInfo
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { conn = info }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+healthpb.Health_Check_FullMethodName, strings.NewReader("\x00\x00\x00\x00\x00"))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err = c.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.True(t, conn.Reused)
	require.Equal(t, "\x00\x00\x00\x00\x02\x08\x01", string(body), "SERVING")
	require.Equal(t, "0", resp.Trailer.Get("Grpc-Status"))
	calls.GracefulStop()
}

func checkHealth(t testing.TB, addr net.Addr) {
	conn, err := grpc.NewClient(addr.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	resp, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, resp.Status)
	require.NoError(t, conn.Close())
}

// BenchmarkGRPCConnection takes a gRPC client from its connection to the reply to
// its first call: with the splitter, and without.
func BenchmarkGRPCConnection(b *testing.B) {
	b.Run("split", func(b *testing.B) {
		l := listen(b)
		servePort(b, l, sayProto)
		for b.Loop() {
			checkHealth(b, l.Addr())
		}
	})
	b.Run("alone", func(b *testing.B) {
		l := listen(b)
		calls := grpc.NewServer()
		healthpb.RegisterHealthServer(calls, grpchealth.NewServer())
		served := make(chan error, 1)
		go func() { served <- calls.Serve(l) }()
		for b.Loop() {
			checkHealth(b, l.Addr())
		}
		calls.Stop()
		require.NoError(b, <-served)
	})
}
