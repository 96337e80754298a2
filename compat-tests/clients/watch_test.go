package clients

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/server"
)

// next waits for a watch's next response.
func next(ctx context.Context, t *testing.T, watch clientv3.WatchChan) clientv3.WatchResponse {
	t.Helper()
	select {
	case response, ok := <-watch:
		require.True(t, ok, "the watch has ended")
		return response
	case <-ctx.Done():
		require.NoError(t, ctx.Err(), "no response")
		panic("unreachable")
	}
}

func TestWatchFromARevision(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	first, err := client.Put(ctx, prefix(t)+"a", "1")
	require.NoError(t, err)
	_, err = client.Put(ctx, prefix(t)+"a", "2")
	require.NoError(t, err)

	watch := client.Watch(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithRev(first.Header.Revision), clientv3.WithPrevKV())
	past := next(ctx, t, watch)
	require.Len(t, past.Events, 2)
	require.True(t, past.Events[0].IsCreate())
	require.True(t, past.Events[1].IsModify())
	require.Equal(t, "1", string(past.Events[1].PrevKv.Value))

	_, err = client.Delete(ctx, prefix(t)+"a")
	require.NoError(t, err)
	deleted := next(ctx, t, watch).Events[0]
	require.Equal(t, clientv3.EventTypeDelete, deleted.Type)
	require.Equal(t, "2", string(deleted.PrevKv.Value))
}

func TestWatchOptions(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	watch := client.Watch(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithCreatedNotify(), clientv3.WithFilterPut(), clientv3.WithFragment())
	require.True(t, next(ctx, t, watch).Created)
	_, err := client.Put(ctx, prefix(t)+"a", "1")
	require.NoError(t, err)
	_, err = client.Delete(ctx, prefix(t)+"a")
	require.NoError(t, err)
	response := next(ctx, t, watch)
	require.Len(t, response.Events, 1)
	require.Equal(t, clientv3.EventTypeDelete, response.Events[0].Type)
}

func TestWatchProgress(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	watch := client.Watch(ctx, prefix(t)+"none", clientv3.WithCreatedNotify())
	require.True(t, next(ctx, t, watch).Created)
	put, err := client.Put(ctx, prefix(t)+"other", "1")
	require.NoError(t, err)
	require.NoError(t, client.RequestProgress(ctx))
	progress := next(ctx, t, watch)
	require.True(t, progress.IsProgressNotify())
	require.GreaterOrEqual(t, progress.Header.Revision, put.Header.Revision)
}

func TestWatchOfACompactedRevision(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	first, err := client.Put(ctx, prefix(t)+"a", "1")
	require.NoError(t, err)
	second, err := client.Put(ctx, prefix(t)+"a", "2")
	require.NoError(t, err)
	_, err = client.Compact(ctx, second.Header.Revision)
	require.NoError(t, err)
	watch := client.Watch(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithRev(first.Header.Revision))
	response := next(ctx, t, watch)
	require.ErrorIs(t, response.Err(), rpctypes.ErrCompacted)
	require.Equal(t, second.Header.Revision, response.CompactRevision)
	_, open := <-watch
	require.False(t, open)
}

// TestWatchAndLeaseSurviveARestart kills the server: the client resumes its
// watch where it was, without a gap or a repetition, and its keep-alive.
func TestWatchAndLeaseSurviveARestart(t *testing.T) {
	p := server.StartT(t, server.Options{})
	client, ctx := newClient(t, p), deadline(t)
	lease, err := client.Grant(ctx, 60)
	require.NoError(t, err)
	renewals, err := client.KeepAlive(ctx, lease.ID)
	require.NoError(t, err)
	require.EqualValues(t, 60, (<-renewals).TTL)
	watch := client.Watch(ctx, "k", clientv3.WithPrefix())

	put := func(i int) {
		// A put whose reply was lost may be done or not: put is repeated, and the
		// watch must show what is stored.
		_, err := client.Put(ctx, fmt.Sprintf("k%d", i), "v", clientv3.WithLease(lease.ID))
		require.NoError(t, err)
	}
	for i := range 10 {
		put(i)
	}
	require.NoError(t, p.Kill())
	require.NoError(t, p.Restart(ctx))
	for i := 10; i < 20; i++ {
		put(i)
	}

	stored, err := client.Get(ctx, "k", clientv3.WithPrefix())
	require.NoError(t, err)
	require.EqualValues(t, 20, stored.Count)
	var last int64
	for seen := 0; seen < 20; {
		for _, event := range next(ctx, t, watch).Events {
			require.Equal(t, fmt.Sprintf("k%d", seen), string(event.Kv.Key))
			require.Greater(t, event.Kv.ModRevision, last)
			last = event.Kv.ModRevision
			seen++
		}
	}
	ttl, err := client.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys())
	require.NoError(t, err)
	require.Len(t, ttl.Keys, 20)
	once, err := client.KeepAliveOnce(ctx, lease.ID)
	require.NoError(t, err)
	require.EqualValues(t, 60, once.TTL)
	_, err = client.Revoke(ctx, lease.ID)
	require.NoError(t, err)
	gone, err := client.Get(ctx, "k", clientv3.WithPrefix(), clientv3.WithCountOnly())
	require.NoError(t, err)
	require.Zero(t, gone.Count)
}
