package clients

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/server"
)

// TestDowngrade prepares a store for the version before, and gives that up. The
// versions may follow a few seconds later, as they do in etcd.
func TestDowngrade(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	p, err := server.Start(t.Context(), server.Options{Target: target, EtcdMode: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	client, ctx := newClient(t, p), deadline(t)
	step := func(action clientv3.DowngradeAction, version string) (string, error) {
		resp, err := client.Downgrade(ctx, action, version)
		if err != nil {
			return "", err
		}
		return resp.Version, nil
	}
	becomes := func(version string, enabled bool) {
		t.Helper()
		require.Eventually(t, func() bool {
			s, err := client.Status(ctx, p.Endpoint())
			require.NoError(t, err)
			return s.StorageVersion == version && s.DowngradeInfo.Enabled == enabled &&
				clusterVersion(t, p) == version && s.Version == "3.7.3"
		}, patience, 50*time.Millisecond)
	}
	becomes("3.7.0", false)
	version, err := step(clientv3.DowngradeValidate, "3.6.0")
	require.NoError(t, err)
	require.Equal(t, "3.7", version)
	version, err = step(clientv3.DowngradeEnable, "3.6.0")
	require.NoError(t, err)
	require.Equal(t, "3.7", version)
	becomes("3.6.0", true)

	_, err = step(clientv3.DowngradeValidate, "3.6.0")
	require.ErrorIs(t, err, rpctypes.ErrInvalidDowngradeTargetVersion)
	for _, action := range []clientv3.DowngradeAction{clientv3.DowngradeValidate, clientv3.DowngradeEnable} {
		_, err = step(action, "3.5.0")
		require.ErrorIs(t, err, rpctypes.ErrDowngradeInProcess)
	}
	_, err = client.Put(ctx, prefix(t)+"k", "v")
	require.NoError(t, err)

	version, err = step(clientv3.DowngradeCancel, "")
	require.NoError(t, err)
	require.Equal(t, "3.6", version)
	becomes("3.7.0", false)
}

// clusterVersion is what /version says of the cluster.
func clusterVersion(t *testing.T, p *server.Process) string {
	resp, err := http.Get(p.URL() + "/version")
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	var versions struct{ Etcdcluster string }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&versions))
	return versions.Etcdcluster
}
