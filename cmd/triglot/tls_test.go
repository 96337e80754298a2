package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/triglot/triglot/cmd/triglot/certs/certstest"
)

// securely are the arguments of a member with a certificate, and without
// ZooKeeper's face.
func securely(a *certstest.Authority, more ...string) []string {
	return append([]string{
		"triglot", "serve", "--zk-listen=off", "--cert-file=" + a.Path("server.pem"), "--key-file=" + a.Path("server.key"),
	}, more...)
}

// client is an HTTP client that trusts an authority, for one version of HTTP.
func client(settings *tls.Config, http2 bool) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: settings.Clone(), Protocols: &protocols, DisableKeepAlives: true}}
}

func dialTLS(t *testing.T, target string, settings *tls.Config) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(credentials.NewTLS(settings)),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// tryPut reports how a put ends that may be refused.
func tryPut(t *testing.T, conn *grpc.ClientConn) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, reply := fields("k", "v"), []byte(nil)
	return conn.Invoke(ctx, "/etcdserverpb.KV/Put", &request, &reply)
}

// gatewayPut is a put by way of the JSON gateway.
func gatewayPut(t *testing.T, c *http.Client, url string) (int, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v3/kv/put", strings.NewReader(`{"key":"Zm9v","value":"YmFy"}`))
	require.NoError(t, err)
	resp, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// addresses are where it is served, in the order of the log, once there are n.
func (r *running) addresses(n int) []string {
	r.t.Helper()
	served := regexp.MustCompile(`serving .*address"?[=:]"?(?:https?://)?([^" \n]+)`)
	var list []string
	r.await(func() bool {
		list = nil
		for _, found := range served.FindAllStringSubmatch(r.stderr.String(), -1) {
			list = append(list, found[1])
		}
		return len(list) == n
	}, "it serves on every address")
	return list
}

// gRPC, the gateway and the probes share a port with TLS, in either version of
// HTTP.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	a := certstest.New(t)
	a.Issue("server", certstest.Localhost)
	r, address := serving(t, t.TempDir(), nil, securely(a, "--listen-client-urls=https://127.0.0.1:0", "--log-level=debug")...)
	require.Contains(t, r.stderr.String(), "serving client traffic securely")
	require.NotContains(t, r.stderr.String(), "insecurely")
	url := "https://" + address
	put(t, dialTLS(t, address, a.Client("")), "k", "v")
	for _, http2 := range []bool{false, true} {
		c := client(a.Client(""), http2)
		status, body := httpGet(t, c, url+"/health")
		require.Equal(t, 200, status)
		require.Equal(t, `{"health":"true","reason":""}`, body)
		status, body = httpGet(t, c, url+"/metrics")
		require.Equal(t, 200, status)
		require.Contains(t, body, "etcd_server_has_leader 1")
		status, err := gatewayPut(t, c, url)
		require.NoError(t, err)
		require.Equal(t, 200, status)
	}
	if curl, err := exec.LookPath("curl"); err == nil {
		for _, version := range []string{"--http1.1", "--http2"} {
			out, err := exec.Command(curl, "-s", version, "--cacert", a.Path("ca.pem"), "-w", " %{http_version}", url+"/version").CombinedOutput()
			require.NoError(t, err)
			require.Regexp(t, `^{"etcdserver":"3.7.3".*} (1.1|2)$`, string(out))
		}
	}

	// Who does not trust it, and who speaks no TLS.
	require.ErrorContains(t, tryPut(t, dialTLS(t, address, certstest.New(t).Client(""))), "x509")
	r.await(func() bool { return strings.Contains(r.stderr.String(), "rejected connection on client endpoint") }, "it says who was refused")
	plain, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer plain.Close()
	_, err = plain.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	require.NoError(t, err)
	require.NoError(t, plain.SetReadDeadline(time.Now().Add(patience)))
	_, err = plain.Read(make([]byte, 256))
	require.Error(t, err)
	r.await(func() bool {
		return strings.Contains(r.stderr.String(), "first record does not look like a TLS handshake")
	}, "it says why")
	r.await(func() bool { return strings.Contains(r.stdout.String(), "curl --cacert CA.pem https://") }, "it tells how to talk to it")
	r.stop()
}

// Clients must have a certificate, of the right authority, that is not revoked,
// on every address.
func TestServeTLSClients(t *testing.T) {
	t.Parallel()
	a, stranger := certstest.New(t), certstest.New(t)
	a.Issue("server", certstest.Localhost)
	a.Issue("alice", certstest.Subject{Name: "alice"})
	mallory := a.Issue("mallory", certstest.Subject{Name: "mallory"})
	stranger.Issue("alice", certstest.Subject{Name: "alice"})
	a.Revoke("crl", mallory)
	r, _ := serving(t, t.TempDir(), nil, securely(a,
		"--listen-client-urls=https://127.0.0.1:0", "--listen-client-http-urls=https://127.0.0.1:0", "--listen-metrics-urls=https://127.0.0.1:0",
		"--trusted-ca-file="+a.Path("ca.pem"), "--client-cert-auth", "--client-crl-file="+a.Path("crl"))...)
	at := r.addresses(3)
	wrong := a.Client("")
	wrong.Certificates = stranger.Client("alice").Certificates
	for _, tt := range []struct {
		client *tls.Config
		in     bool
	}{{a.Client("alice"), true}, {a.Client(""), false}, {a.Client("mallory"), false}, {wrong, false}} {
		err := tryPut(t, dialTLS(t, at[0], tt.client))
		require.Equal(t, tt.in, err == nil, "gRPC: %v", err)
		for _, address := range at[1:] {
			for _, http2 := range []bool{false, true} {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/readyz", nil)
				require.NoError(t, err)
				resp, err := client(tt.client, http2).Do(request)
				require.Equal(t, tt.in, err == nil, "HTTP: %v", err)
				if err == nil {
					require.Equal(t, 200, resp.StatusCode)
					require.NoError(t, resp.Body.Close())
				}
				cancel()
			}
		}
	}
	for _, why := range []string{"client didn't provide a certificate", "certificate serial 4 revoked", "failed to verify certificate"} {
		r.await(func() bool { return strings.Contains(r.stderr.String(), why) }, why)
	}
	r.stop()
}

// An address may be served with TLS and without; so may a socket.
func TestServeMixed(t *testing.T) {
	t.Parallel()
	a := certstest.New(t)
	a.Issue("server", certstest.Localhost)
	dir := t.TempDir()
	r, address := serving(t, dir, nil, securely(a,
		"--listen-client-urls=http://127.0.0.1:0,https://127.0.0.1:0,unix://plain.sock,unixs://safe.sock")...)
	r.addresses(4)
	require.Equal(t, 2, strings.Count(r.stderr.String(), "traffic insecurely"))
	require.Equal(t, 2, strings.Count(r.stderr.String(), "traffic securely"))
	require.Contains(t, r.stderr.String(), "scheme is http or unix while key and cert files are present; ignoring key and cert files  client-url=unix://plain.sock")
	put(t, dial(t, address), "k", "plain")
	require.Contains(t, get(t, dialTLS(t, address, a.Client("")), "k"), "plain")
	for _, http2 := range []bool{false, true} {
		for scheme, c := range map[string]*http.Client{"http://": http.DefaultClient, "https://": client(a.Client(""), http2)} {
			status, _ := httpGet(t, c, scheme+address+"/health")
			require.Equal(t, 200, status)
		}
	}
	put(t, dial(t, "unix:"+filepath.Join(dir, "plain.sock")), "k", "a socket's")
	require.Contains(t, get(t, dialTLS(t, "unix:"+filepath.Join(dir, "safe.sock"), a.Client("")), "k"), "a socket's")
	r.stop()
}

// The certificate is made if none is given, and is the same after a restart.
func TestServeAutoTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"triglot", "serve", "--zk-listen=off", "--listen-client-urls=https://127.0.0.1:0", "--auto-tls", "--self-signed-cert-validity=3"}
	var before []byte
	for range 2 {
		r, address := serving(t, dir, nil, args...)
		text, err := os.ReadFile(filepath.Join(dir, "data/fixtures/client/cert.pem"))
		require.NoError(t, err)
		block, _ := pem.Decode(text)
		cert, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().AddDate(3, 0, 0), cert.NotAfter, time.Hour)
		roots := x509.NewCertPool()
		roots.AddCert(cert)
		put(t, dialTLS(t, address, &tls.Config{RootCAs: roots}), "k", "v")
		require.Equal(t, before == nil, strings.Contains(r.stderr.String(), "for development only"))
		r.await(func() bool { return strings.Contains(r.stdout.String(), "--insecure-skip-tls-verify put ") }, "it tells how to talk to it")
		if before != nil {
			require.Equal(t, before, text)
		}
		before = text
		r.stop()
	}
}

// A certificate is replaced under load: on SIGHUP the new one is shown, and no
// connection fails.
func TestCertificateIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	a := certstest.New(t)
	a.Issue("server", certstest.Localhost)
	r, address := serving(t, t.TempDir(), nil, securely(a, "--listen-client-urls=https://127.0.0.1:0")...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	var made atomic.Int64
	failed := make(chan error, 1)
	settings := a.Client("")
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				dialer := tls.Dialer{Config: settings}
				conn, err := dialer.DialContext(ctx, "tcp", address)
				if err == nil {
					made.Add(1)
					err = conn.Close()
				}
				if err != nil && ctx.Err() == nil {
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	serial := func() string {
		conn, err := tls.Dial("tcp", address, settings)
		require.NoError(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	lasting := dialTLS(t, address, settings)
	put(t, lasting, "k", "before")
	for range 5 {
		cert := a.Issue("server", certstest.Localhost)
		require.NoError(t, r.cmd.Process.Signal(syscall.SIGHUP))
		r.await(func() bool { return serial() == cert.SerialNumber.String() }, "the new certificate")
	}
	put(t, lasting, "k", "after")
	r.await(func() bool { return made.Load() > 100 }, "load")
	cancel()
	clients.Wait()
	require.Empty(t, failed)
	require.Contains(t, r.stderr.String(), "certificates have changed and are in use")
	r.stop()
}
