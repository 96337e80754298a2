package clients

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/server"
)

// TestALeaseLivesWhileItIsKeptAlive has two leases of the least time to live; the
// one that is kept alive, the older of the two, outlives the other.
func TestALeaseLivesWhileItIsKeptAlive(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	register := func(name string) clientv3.LeaseID {
		lease, err := client.Grant(ctx, 2)
		require.NoError(t, err)
		_, err = client.Put(ctx, prefix(t)+name, "v", clientv3.WithLease(lease.ID))
		require.NoError(t, err)
		return lease.ID
	}
	kept := register("kept")
	renewals, err := client.KeepAlive(ctx, kept)
	require.NoError(t, err)
	granted := time.Now()
	left := register("left")
	watch := client.Watch(ctx, prefix(t), clientv3.WithPrefix())

	gone := next(ctx, t, watch)
	require.Len(t, gone.Events, 1)
	require.Equal(t, clientv3.EventTypeDelete, gone.Events[0].Type)
	require.Equal(t, prefix(t)+"left", string(gone.Events[0].Kv.Key))
	require.GreaterOrEqual(t, time.Since(granted), 1900*time.Millisecond)
	ttl, err := client.TimeToLive(ctx, left)
	require.NoError(t, err)
	require.EqualValues(t, -1, ttl.TTL)

	ttl, err = client.TimeToLive(ctx, kept, clientv3.WithAttachedKeys())
	require.NoError(t, err)
	require.GreaterOrEqual(t, ttl.TTL, int64(0))
	require.Len(t, ttl.Keys, 1)
	for range 2 {
		require.EqualValues(t, 2, (<-renewals).TTL)
	}
	_, err = client.Revoke(ctx, kept)
	require.NoError(t, err)
	require.Equal(t, prefix(t)+"kept", string(next(ctx, t, watch).Events[0].Kv.Key))
	for {
		if _, open := <-renewals; !open { // the client has learnt that the lease is gone
			break
		}
	}
}

func TestLeases(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	lease, err := client.Grant(ctx, 1000)
	require.NoError(t, err)
	list, err := client.Leases(ctx)
	require.NoError(t, err)
	require.Contains(t, list.Leases, clientv3.LeaseStatus{ID: lease.ID})
	_, err = client.Revoke(ctx, lease.ID)
	require.NoError(t, err)
	list, err = client.Leases(ctx)
	require.NoError(t, err)
	require.NotContains(t, list.Leases, clientv3.LeaseStatus{ID: lease.ID})
	_, err = client.KeepAliveOnce(ctx, lease.ID)
	require.ErrorIs(t, err, rpctypes.ErrLeaseNotFound)
}

// TestNoLeaseExpiresWhileCorrupt: a lease that is overdue keeps its keys until the CORRUPT
// alarm is disarmed (etcd 3.7 applierV3Corrupt), and keys can be read meanwhile.
func TestNoLeaseExpiresWhileCorrupt(t *testing.T) {
	t.Parallel()
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	p, err := server.Start(t.Context(), server.Options{Target: target, EtcdMode: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	client, ctx := newClient(t, p), deadline(t)
	overdue, err := client.Grant(ctx, 2)
	require.NoError(t, err)
	_, err = client.Put(ctx, "k", "v", clientv3.WithLease(overdue.ID))
	require.NoError(t, err)
	later, err := client.Grant(ctx, 4) // so long that etcd has tried more than once
	require.NoError(t, err)
	corrupt := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_CORRUPT}
	_, err = pb.NewMaintenanceClient(client.ActiveConnection()).Alarm(ctx, corrupt)
	require.NoError(t, err)

	require.Eventually(t, func() bool {
		left, err := client.TimeToLive(ctx, later.ID)
		require.NoError(t, err)
		require.NotZero(t, left.GrantedTTL, "it is gone")
		return left.TTL <= 0
	}, patience, 50*time.Millisecond)
	got, err := client.Get(ctx, "k")
	require.NoError(t, err)
	require.Len(t, got.Kvs, 1)
	_, err = client.Revoke(ctx, overdue.ID)
	require.ErrorIs(t, err, rpctypes.ErrCorrupt)

	_, err = client.AlarmDisarm(ctx, &clientv3.AlarmMember{Alarm: pb.AlarmType_CORRUPT})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got, err := client.Get(ctx, "k")
		require.NoError(t, err)
		return len(got.Kvs) == 0
	}, patience, 50*time.Millisecond)
}
