package observe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// authority signs certificates for one test and writes them to a folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{dir: t.TempDir()}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := certificate("authority")
	template.IsCA, template.KeyUsage, template.BasicConstraintsValid = true, x509.KeyUsageCertSign, true
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.write(t, "ca.crt", "CERTIFICATE", der)
	return a
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, Organization: []string{"test"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
}

// issue makes a certificate and returns the paths of it and its key.
func (a *authority) issue(t *testing.T, file, commonName string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, certificate(commonName), a.cert, &private.PublicKey, a.key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(private)
	require.NoError(t, err)
	return a.write(t, file+".crt", "CERTIFICATE", der), a.write(t, file+".key", "EC PRIVATE KEY", keyDER)
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(a.dir, name)
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return path
}

// client makes an HTTP client with a certificate, over HTTP/1 or HTTP/2.
func (a *authority) client(t *testing.T, cert, key string, http2 bool) *http.Client {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}},
		ForceAttemptHTTP2: http2,
	}
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
	ca := newAuthority(t)
	cert, key := ca.issue(t, "server", "server")
	rootCert, rootKey := ca.issue(t, "root", "root")
	noneCert, noneKey := ca.issue(t, "none", "")
	urls := make(map[server.Target]string)
	for _, target := range both {
		args, url := flags(t, t.TempDir())
		for i := range args {
			if args[i] == url {
				args[i] = strings.Replace(url, "http://", "https://", 1)
			}
		}
		_, logged := run(t, target, append(args, "--cert-file", cert, "--key-file", key, "--client-cert-auth",
			"--trusted-ca-file", filepath.Join(ca.dir, "ca.crt"), "--host-whitelist", "good.example", "--log-level", "info")...)
		urls[target] = strings.Replace(url, "http://", "https://", 1)
		eventually(t, func() bool { return strings.Contains(logged(), "serving client traffic securely") }, "not ready")
		admin := ca.client(t, rootCert, rootKey, false)
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
		name      string
		cert, key string
		http2     bool
	}{
		{"named", rootCert, rootKey, false},
		{"named, HTTP/2", rootCert, rootKey, true},
		{"not named", noneCert, noneKey, false},
		{"not named, HTTP/2", noneCert, noneKey, true},
	} {
		for _, path := range []string{"/v3/nope", "/v3beta/nope", "/v3", "/version", "/health", "/readyz", "/livez?verbose", "/v2/keys"} {
			for _, host := range []string{"", "evil.example"} {
				got := make(map[server.Target]answer)
				for _, target := range both {
					a := fetch(t, ca.client(t, client.cert, client.key, client.http2), http.MethodPost, urls[target]+path, "{}", host)
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
	a := fetch(t, ca.client(t, rootCert, rootKey, false), http.MethodPost, urls[server.Triglot]+"/v3/kv/range", `{"key":"YQ=="}`, "")
	require.Equal(t, http.StatusBadRequest, a.Status)
	require.Equal(t, "CommonName of client sending a request against gateway will be ignored and not used as expected\n", a.Body)
}
