package clients

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/server"
)

// quotaBytes is what etcd's own tests set: 13 pages of 4 KiB (T-74).
const quotaBytes = 13 * 4096

// TestQuota fills a store with values of 4 KiB up to its quota, and makes room again,
// as etcd's TestAlarm and TestV3StorageQuotaAPI do.
func TestQuota(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	p, err := server.Start(t.Context(), server.Options{
		Target: target, EtcdMode: true, Args: []string{fmt.Sprintf("--quota-backend-bytes=%d", quotaBytes)},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	client, ctx := newClient(t, p), deadline(t)
	size := func() int64 {
		s, err := client.Status(ctx, p.Endpoint())
		require.NoError(t, err)
		require.EqualValues(t, quotaBytes, s.DbSizeQuota)
		require.LessOrEqual(t, s.DbSizeInUse, s.DbSize)
		return s.DbSize
	}
	require.Less(t, size(), int64(quotaBytes), "an empty store")
	empty := size()

	value := strings.Repeat("v", 4096)
	puts := 0
	require.Eventually(t, func() bool {
		_, err = client.Put(ctx, fmt.Sprintf("%s%d", prefix(t), puts), value)
		puts++
		return err != nil
	}, patience, time.Microsecond)
	require.ErrorIs(t, err, rpctypes.ErrNoSpace)
	if target == server.Triglot {
		require.LessOrEqual(t, puts, 13, "the size is up to date") // etcd's is ten times a second
	}
	require.Greater(t, size(), empty)

	alarms, err := client.AlarmList(ctx)
	require.NoError(t, err)
	require.Len(t, alarms.Alarms, 1)
	require.Equal(t, pb.AlarmType_NOSPACE, alarms.Alarms[0].Alarm)
	require.Contains(t, body(t, p.URL()+"/health"), "ALARM NOSPACE")
	require.Equal(t, "ok\n", body(t, p.URL()+"/readyz"))

	// Nothing may grow, whatever its size; the rest goes on.
	refused := func() {
		t.Helper()
		_, err := client.Put(ctx, prefix(t)+"small", "")
		require.ErrorIs(t, err, rpctypes.ErrNoSpace)
		_, err = client.Grant(ctx, 100)
		require.ErrorIs(t, err, rpctypes.ErrNoSpace)
		_, err = client.Txn(ctx).Then(clientv3.OpGet("a")).Else(clientv3.OpPut("a", "")).Commit()
		require.ErrorIs(t, err, rpctypes.ErrNoSpace)
	}
	refused()
	got, err := client.Get(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithCountOnly())
	require.NoError(t, err)
	require.EqualValues(t, puts-1, got.Count, "the put that found the quota was not done")
	deleted, err := client.Delete(ctx, prefix(t), clientv3.WithPrefix())
	require.NoError(t, err)
	_, err = client.Compact(ctx, deleted.Header.Revision, clientv3.WithCompactPhysical())
	require.NoError(t, err)
	full := size()
	_, err = client.Defragment(ctx, p.Endpoint())
	require.NoError(t, err)
	if target == server.Etcd {
		require.Less(t, size(), full)
	}
	require.Less(t, size(), int64(quotaBytes)-4096-1024)

	// There is room, but the alarm stays until it is cleared by name (T-73).
	refused()
	cleared, err := client.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	require.NoError(t, err)
	require.Len(t, cleared.Alarms, 1)
	_, err = client.Put(ctx, prefix(t)+"a", value)
	require.NoError(t, err)
	require.Contains(t, body(t, p.URL()+"/health"), `"health":"true"`)
}

func body(t *testing.T, url string) string {
	resp, err := http.Get(url)
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	return string(b)
}
