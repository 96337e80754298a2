package observe

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// clientOf makes an HTTP client that shows the named certificate, over HTTP/1 or HTTP/2.
func clientOf(t *testing.T, pki *server.PKI, name string, http2 bool) *http.Client {
	t.Helper()
	cfg, err := pki.ClientConfig(name)
	require.NoError(t, err)
	transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: http2}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// fetch makes a request and returns the answer without what is of the moment.
func fetch(t *testing.T, c *http.Client, method, url, body, host string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Host = host
	resp, err := c.Do(req)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	resp.Header.Del("Date")
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// TestCertificates has clients show certificates: to all but the gateway it does not
// matter what they say, and over TLS any Host header may come. While authentication is
// on the gateway refuses those that name a user, with the sentence that APISIX knows.
func TestCertificates(t *testing.T) {
	pki, err := server.NewPKI(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, pki.Client("root"))
	require.NoError(t, pki.Nameless("none"))
	urls := make(map[server.Target]string)
	for _, target := range both {
		args, url := flags(t, t.TempDir())
		for i := range args {
			if args[i] == url {
				args[i] = strings.Replace(url, "http://", "https://", 1)
			}
		}
		args = append(args, pki.ServerArgs()...)
		_, logged := run(t, target, append(args, "--host-whitelist", "good.example", "--log-level", "info")...)
		urls[target] = strings.Replace(url, "http://", "https://", 1)
		eventually(t, func() bool { return strings.Contains(logged(), "serving client traffic securely") }, "not ready")
		admin := clientOf(t, pki, "root", false)
		eventually(t, func() bool {
			return strings.Contains(fetch(t, admin, http.MethodGet, urls[target]+"/version", "", "").Body, `"storage":"3.7.0"`)
		}, "no version of the store")
		for _, call := range [][2]string{
			{"/v3/auth/user/add", `{"name":"root","password":"secret"}`},
			{"/v3/auth/role/add", `{"name":"root"}`},
			{"/v3/auth/user/grant", `{"user":"root","role":"root"}`},
			{"/v3/auth/enable", `{}`},
		} {
			a := fetch(t, admin, http.MethodPost, urls[target]+call[0], call[1], "")
			require.Equal(t, http.StatusOK, a.Status, "%s %s: %s", target, call[0], a.Body)
		}
	}
	for _, client := range []struct {
		name, certificate string
		http2             bool
	}{
		{"named", "root", false},
		{"named, HTTP/2", "root", true},
		{"not named", "none", false},
		{"not named, HTTP/2", "none", true},
	} {
		for _, path := range []string{"/v3/nope", "/v3beta/nope", "/v3", "/version", "/health", "/readyz", "/livez?verbose", "/v2/keys"} {
			for _, host := range []string{"", "evil.example"} {
				got := make(map[server.Target]answer)
				for _, target := range both {
					a := fetch(t, clientOf(t, pki, client.certificate, client.http2), http.MethodPost, urls[target]+path, "{}", host)
					if target == server.Triglot && strings.HasPrefix(a.Body, `{"error"`) { // the superset of both gateways' errors
						a.Body = `{"code":5,"message":"Not Found"}`
						a.Header.Set("Content-Length", "32")
					}
					got[target] = a
				}
				require.Equal(t, got[server.Etcd], got[server.Triglot], "%s: %s of %q", client.name, path, host)
			}
		}
	}
	a := fetch(t, clientOf(t, pki, "root", false), http.MethodPost, urls[server.Triglot]+"/v3/kv/range", `{"key":"YQ=="}`, "")
	require.Equal(t, http.StatusBadRequest, a.Status)
	require.Equal(t, "CommonName of client sending a request against gateway will be ignored and not used as expected\n", a.Body)
}
