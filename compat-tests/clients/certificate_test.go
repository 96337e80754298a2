package clients

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/triglot/triglot/compat-tests/server"
)

// TestAuthByCertificate lets the common name of a certificate stand for a user, for
// whom there is no token; but not in the gateway, which says so (etcd T-85).
func TestAuthByCertificate(t *testing.T) {
	t.Parallel()
	pki, err := server.NewPKI(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, pki.Client("root"))
	require.NoError(t, pki.Client("stranger"))
	p := server.StartT(t, server.Options{EtcdMode: true, PKI: pki, Args: []string{"--bcrypt-cost", "4"}})
	ctx := deadline(t)
	as := func(certificate, user, password string) *clientv3.Client {
		t.Helper()
		config, err := pki.ClientConfig(certificate)
		require.NoError(t, err)
		client, err := clientv3.New(clientv3.Config{
			Endpoints: []string{p.Endpoint()}, DialTimeout: patience, Logger: zap.NewNop(), TLS: config,
			Username: user, Password: password,
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		return client
	}
	gateway := func(certificate, path string) (status int, body string) {
		t.Helper()
		config, err := pki.ClientConfig(certificate)
		require.NoError(t, err)
		transport := &http.Transport{TLSClientConfig: config}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL()+path, strings.NewReader("{}"))
		require.NoError(t, err)
		resp, err := (&http.Client{Transport: transport}).Do(req)
		require.NoError(t, err)
		answer, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode, string(answer)
	}
	status, _ := gateway("client", "/v3/maintenance/status")
	require.Equal(t, http.StatusOK, status) // authentication is off

	root := as("root", "", "")
	_, err = root.UserAddWithOptions(ctx, "root", "", &clientv3.UserAddOptions{NoPassword: true})
	require.NoError(t, err)
	_, err = root.UserGrantRole(ctx, "root", "root")
	require.NoError(t, err)
	_, err = root.AuthEnable(ctx)
	require.NoError(t, err)
	addUser(t, root, "client", "c/", clientv3.PermissionType(clientv3.PermReadWrite))
	addUser(t, root, "u", "u/", clientv3.PermissionType(clientv3.PermReadWrite))

	client := as("client", "", "")
	_, err = client.Put(ctx, "c/a", "1")
	require.NoError(t, err)
	_, err = client.Put(ctx, "u/a", "1")
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	u := as("client", "u", "upw") // a token goes before the certificate
	_, err = u.Put(ctx, "u/a", "1")
	require.NoError(t, err)
	_, err = u.Put(ctx, "c/a", "1")
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	stranger := as("stranger", "", "")
	_, err = stranger.Get(ctx, "c/a")
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	_, err = stranger.UserList(ctx)
	require.ErrorIs(t, err, rpctypes.ErrUserNotFound)
	watched := <-stranger.Watch(ctx, "c/a")
	require.ErrorContains(t, watched.Err(), "etcdserver: permission denied")

	for _, path := range []string{"/v3/maintenance/status", "/v3beta/kv/range", "/v3/nothing"} {
		status, body := gateway("client", path)
		require.Equal(t, http.StatusBadRequest, status, path)
		require.Equal(t, "CommonName of client sending a request against gateway will be ignored and not used as expected\n", body)
	}
	_, err = root.AuthDisable(ctx)
	require.NoError(t, err)
	status, _ = gateway("client", "/v3/maintenance/status")
	require.Equal(t, http.StatusOK, status)
}
