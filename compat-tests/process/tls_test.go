package process

import (
	"context"
	"crypto/tls"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// tool runs a program until it ends, and returns what it printed and whether its
// status is 0.
func tool(t *testing.T, program string, args ...string) (output string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	require.NoError(t, ctx.Err(), "%s", out)
	return string(out), err == nil
}

// both runs a test against etcd and against Triglot, which shows that the test is
// right.
func both(t *testing.T, test func(*testing.T, server.Target)) {
	t.Helper()
	for _, target := range []server.Target{server.Etcd, server.Triglot} {
		t.Run(string(target), func(t *testing.T) {
			t.Parallel()
			test(t, target)
		})
	}
}

// etcdctl and curl with a certificate get in, others do not.
func TestTLS(t *testing.T) {
	etcdctl, err := server.Binary("etcdctl")
	require.NoError(t, err)
	both(t, func(t *testing.T, target server.Target) {
		pki, err := server.NewPKI(t.TempDir())
		require.NoError(t, err)
		stranger, err := server.NewPKI(t.TempDir())
		require.NoError(t, err)
		p := server.StartT(t, server.Options{Target: target, EtcdMode: true, PKI: pki, Args: []string{
			"--cipher-suites", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "--tls-max-version", "TLS1.2",
		}})
		ctl := func(ca, cert string, args ...string) (string, bool) {
			args = append([]string{"--endpoints", p.Endpoint(), "--dial-timeout=2s", "--command-timeout=3s", "--cacert", ca}, args...)
			if cert != "" {
				args = append(args, "--cert", cert+".pem", "--key", cert+"-key.pem")
			}
			return tool(t, etcdctl, args...)
		}
		good := pki.Path("client")
		out, ok := ctl(pki.Path("ca.pem"), good, "put", "k", "v")
		require.True(t, ok, out)
		out, ok = ctl(pki.Path("ca.pem"), good, "get", "k", "--print-value-only")
		require.True(t, ok, out)
		require.Equal(t, "v\n", out)
		for why, arguments := range map[string][2]string{
			"no certificate":               {pki.Path("ca.pem"), ""},
			"another authority's":          {pki.Path("ca.pem"), stranger.Path("client")},
			"a client that does not trust": {stranger.Path("ca.pem"), good},
		} {
			out, ok = ctl(arguments[0], arguments[1], "get", "k")
			require.False(t, ok, "%s: %s", why, out)
		}
		require.Contains(t, p.Log(), "rejected connection on client endpoint")

		// etcd speaks HTTP/1.1 to who asks for nothing else.
		for version, want := range map[string]string{"--http1.1": "1.1", "--http2": "2"} {
			out, ok = tool(t, "curl", "-s", version, "--cacert", pki.Path("ca.pem"), "--cert", good+".pem", "--key", good+"-key.pem",
				"-w", " %{http_version}", "-d", `{"key":"aw==","count_only":true}`, p.URL()+"/v3/kv/range")
			require.True(t, ok, out)
			require.Regexp(t, `"count":"1"} `+want+`$`, out)
		}
		settings, err := pki.ClientConfig("client")
		require.NoError(t, err)
		settings.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}
		settings.MaxVersion = tls.VersionTLS12
		_, err = (&http.Client{Transport: &http.Transport{TLSClientConfig: settings}}).Get(p.URL() + "/version")
		require.ErrorContains(t, err, "handshake failure")
	})
}

// --client-cert-allowed-hostname looks at who the certificate is for.
func TestAllowedHostname(t *testing.T) {
	both(t, func(t *testing.T, target server.Target) {
		pki, err := server.NewPKI(t.TempDir())
		require.NoError(t, err)
		p := server.StartT(t, server.Options{Target: target, EtcdMode: true, PKI: pki, Args: []string{
			"--client-cert-allowed-hostname", "nobody.example.com,localhost", // the certificates are for localhost
		}})
		require.NoError(t, p.Stop())
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err = server.Start(ctx, server.Options{Target: target, EtcdMode: true, PKI: pki, Dir: t.TempDir(), Args: []string{
			"--client-cert-allowed-hostname", "nobody.example.com",
		}})
		require.ErrorContains(t, err, "client certificate authentication failed")
	})
}

// One port serves who comes with TLS and who comes without, with a certificate
// that the server makes itself.
func TestAutoTLSAndPlain(t *testing.T) {
	etcdctl, err := server.Binary("etcdctl")
	require.NoError(t, err)
	both(t, func(t *testing.T, target server.Target) {
		dir := t.TempDir()
		address := freeAddress(t)
		_, process, stderr := begin(t, string(target), dir, nil, []string{
			"--data-dir=data", "--listen-client-urls=http://" + address + ",https://" + address, "--advertise-client-urls=https://" + address,
			"--listen-peer-urls=http://127.0.0.1:0", "--auto-tls",
		})
		select {
		case <-stderr.found:
		case <-process.Done():
		case <-time.After(patience):
		}
		require.Contains(t, stderr.String(), stderr.text)
		require.FileExists(t, filepath.Join(dir, "data/fixtures/client/cert.pem"))
		require.FileExists(t, filepath.Join(dir, "data/fixtures/client/key.pem"))
		out, ok := tool(t, etcdctl, "--endpoints", "http://"+address, "put", "k", "v")
		require.True(t, ok, out)
		out, ok = tool(t, etcdctl, "--endpoints", "https://"+address, "--insecure-skip-tls-verify", "get", "k", "--print-value-only")
		require.True(t, ok, out)
		require.Equal(t, "v\n", out)
		require.Contains(t, stderr.String(), "serving client traffic insecurely")
		require.Contains(t, stderr.String(), "serving client traffic securely")
	})
}
