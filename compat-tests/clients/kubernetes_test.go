package clients

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.uber.org/zap"
)

// The tests of this file do what kube-apiserver does, with the requests that it makes
// (reference/etcd.md, section 5). TARGET=etcd runs them against a real etcd.

// apiserver is a client as kube-apiserver makes one.
func apiserver(t *testing.T) *kubernetes.Client {
	t.Helper()
	client, err := kubernetes.New(clientv3.Config{Endpoints: []string{shared.Endpoint()}, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// create makes an object that must not exist.
func create(ctx context.Context, t *testing.T, c *kubernetes.Client, key, value string) int64 {
	t.Helper()
	put, err := c.Kubernetes.OptimisticPut(ctx, key, []byte(value), 0, kubernetes.PutOptions{})
	require.NoError(t, err)
	require.True(t, put.Succeeded)
	return put.Revision
}

func TestKubernetesOptimisticWrites(t *testing.T) {
	client, ctx, key := apiserver(t), deadline(t), prefix(t)+"pods/a"
	created := create(ctx, t, client, key, "v1")

	again, err := client.Kubernetes.OptimisticPut(ctx, key, []byte("v1"), 0, kubernetes.PutOptions{GetOnFailure: true})
	require.NoError(t, err)
	require.False(t, again.Succeeded)
	require.Equal(t, created, again.KV.ModRevision)
	require.Equal(t, created, again.Revision, "nothing was written")

	lease, err := client.Grant(ctx, 600)
	require.NoError(t, err)
	updated, err := client.Kubernetes.OptimisticPut(ctx, key, []byte("v2"), created, kubernetes.PutOptions{LeaseID: lease.ID, GetOnFailure: true})
	require.NoError(t, err)
	require.True(t, updated.Succeeded)
	require.Equal(t, created+1, updated.Revision)
	got, err := client.Kubernetes.Get(ctx, key, kubernetes.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "v2", string(got.KV.Value))
	require.Equal(t, int64(lease.ID), got.KV.Lease)
	require.Equal(t, created, got.KV.CreateRevision)
	require.EqualValues(t, 2, got.KV.Version)
	past, err := client.Kubernetes.Get(ctx, key, kubernetes.GetOptions{Revision: created})
	require.NoError(t, err)
	require.Equal(t, "v1", string(past.KV.Value))

	stale, err := client.Kubernetes.OptimisticDelete(ctx, key, created, kubernetes.DeleteOptions{GetOnFailure: true})
	require.NoError(t, err)
	require.False(t, stale.Succeeded)
	require.Equal(t, "v2", string(stale.KV.Value))
	deleted, err := client.Kubernetes.OptimisticDelete(ctx, key, updated.Revision, kubernetes.DeleteOptions{GetOnFailure: true})
	require.NoError(t, err)
	require.True(t, deleted.Succeeded)
	require.Equal(t, updated.Revision+1, deleted.Revision)
	gone, err := client.Kubernetes.OptimisticDelete(ctx, key, updated.Revision, kubernetes.DeleteOptions{GetOnFailure: true})
	require.NoError(t, err)
	require.False(t, gone.Succeeded)
	require.Nil(t, gone.KV)
	require.Equal(t, deleted.Revision, gone.Revision)
	got, err = client.Kubernetes.Get(ctx, key, kubernetes.GetOptions{})
	require.NoError(t, err)
	require.Nil(t, got.KV)
}

// A list is read page by page, all of the revision of the first, and each page's count
// is that of what begins with it: remainingItemCount comes of it.
func TestKubernetesPagedList(t *testing.T) {
	client, ctx, pods := apiserver(t), deadline(t), prefix(t)+"pods/"
	const n, limit = 23, 5
	for i := range n {
		create(ctx, t, client, fmt.Sprintf("%s%02d", pods, i), "v")
	}
	var names []string
	options := kubernetes.ListOptions{Limit: limit}
	for {
		page, err := client.Kubernetes.List(ctx, pods, options)
		require.NoError(t, err)
		require.EqualValues(t, n-len(names), page.Count)
		for _, kv := range page.Kvs {
			names = append(names, string(kv.Key))
		}
		if int64(len(page.Kvs)) == page.Count {
			break
		}
		require.Len(t, page.Kvs, limit)
		if options.Revision == 0 {
			options.Revision = page.Revision
			// What comes and goes meanwhile is not seen.
			create(ctx, t, client, pods+"99", "late")
			_, err := client.Delete(ctx, pods+"07")
			require.NoError(t, err)
		}
		options.Continue = string(page.Kvs[limit-1].Key) + "\x00"
	}
	require.Len(t, names, n)
	for i, name := range names {
		require.Equal(t, fmt.Sprintf("%s%02d", pods, i), name)
	}
	count, err := client.Kubernetes.Count(ctx, pods, kubernetes.CountOptions{})
	require.NoError(t, err)
	require.EqualValues(t, n, count)

	// As the statistics are gathered, and the health probed.
	keys, err := client.KV.Get(ctx, pods, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	require.NoError(t, err)
	require.Len(t, keys.Kvs, n)
	require.Empty(t, keys.Kvs[0].Value)
	_, err = client.KV.Get(ctx, "/registry/health")
	require.NoError(t, err)

	_, err = client.Kubernetes.List(ctx, pods, kubernetes.ListOptions{Revision: 1 << 40})
	require.ErrorIs(t, err, rpctypes.ErrFutureRev)
	_, err = client.KV.Compact(ctx, options.Revision+1)
	require.NoError(t, err)
	_, err = client.Kubernetes.List(ctx, pods, options)
	require.ErrorIs(t, err, rpctypes.ErrCompacted)
}

// The watch cache: a list, a watch from the revision after it with everything on, and
// bookmarks on request, none of which precedes an event that it vouches for.
func TestKubernetesWatchCache(t *testing.T) {
	client, pods := apiserver(t), prefix(t)+"pods/"
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	create(ctx, t, client, pods+"old", "v")
	list, err := client.Kubernetes.List(ctx, pods, kubernetes.ListOptions{})
	require.NoError(t, err)
	require.Len(t, list.Kvs, 1)
	watched := clientv3.WithRequireLeader(ctx)
	watch := client.Watch(watched, pods, clientv3.WithPrefix(), clientv3.WithRev(list.Revision+1),
		clientv3.WithPrevKV(), clientv3.WithProgressNotify())

	const rounds = 50
	last := list.Revision
	wrote := make(chan int64, rounds)
	go func() {
		defer close(wrote)
		for i := range rounds {
			put, err := client.KV.Put(ctx, fmt.Sprintf("%s%d", pods, i%7), fmt.Sprint(i))
			if err != nil || client.RequestProgress(watched) != nil {
				return
			}
			wrote <- put.Header.Revision
		}
	}()
	var final int64
	for rev := range wrote {
		final = rev
	}
	require.NotZero(t, final)
	values := map[string]string{}
	events := 0
	for bookmark := int64(0); bookmark < final; {
		response := next(ctx, t, watch)
		require.NoError(t, response.Err())
		if response.IsProgressNotify() {
			require.GreaterOrEqual(t, response.Header.Revision, bookmark)
			require.GreaterOrEqual(t, response.Header.Revision, last)
			bookmark = response.Header.Revision
			require.Equal(t, bookmark-list.Revision >= rounds, events == rounds, "it vouches for all events before it")
			continue
		}
		for _, e := range response.Events {
			require.Greater(t, e.Kv.ModRevision, bookmark)
			require.Greater(t, e.Kv.ModRevision, last)
			last = e.Kv.ModRevision
			before, existed := values[string(e.Kv.Key)]
			require.Equal(t, existed, e.PrevKv != nil)
			if existed {
				require.Equal(t, before, string(e.PrevKv.Value))
			}
			values[string(e.Kv.Key)] = string(e.Kv.Value)
			events++
		}
		if events == rounds { // as a read that must be consistent asks for
			require.NoError(t, client.RequestProgress(watched))
		}
	}
	require.Equal(t, rounds, events)

	// A deletion has what was deleted.
	_, err = client.Delete(ctx, pods+"old")
	require.NoError(t, err)
	for {
		response := next(ctx, t, watch)
		if response.IsProgressNotify() {
			continue
		}
		require.Equal(t, mvccpb.Event_DELETE, response.Events[0].Type)
		require.Equal(t, "v", string(response.Events[0].PrevKv.Value))
		break
	}
}

// The compactor of several apiservers: whoever wins the transaction compacts to the
// revision that the key had one interval before; the others learn it.
func TestKubernetesCompactor(t *testing.T) {
	client, ctx, key := apiserver(t), deadline(t), prefix(t)+"compact_rev_key"
	touch := func(version, rev int64) (bool, int64, int64, int64) {
		response, err := client.KV.Txn(ctx).If(clientv3.Compare(clientv3.Version(key), "=", version)).
			Then(clientv3.OpPut(key, fmt.Sprint(rev))).Else(clientv3.OpGet(key)).Commit()
		require.NoError(t, err)
		if response.Succeeded {
			return true, version + 1, rev, response.Header.Revision
		}
		kv := response.Responses[0].GetResponseRange().Kvs[0]
		var stored int64
		_, err = fmt.Sscan(string(kv.Value), &stored)
		require.NoError(t, err)
		return false, kv.Version, stored, response.Header.Revision
	}
	ok, version, _, first := touch(0, 0)
	require.True(t, ok)
	require.EqualValues(t, 1, version)
	ok, version, compacted, current := touch(0, 0)
	require.False(t, ok)
	require.EqualValues(t, 1, version)
	require.Zero(t, compacted)
	require.Equal(t, first, current)

	watch := client.Watch(ctx, key, clientv3.WithRev(first+1)) // newer releases follow it
	ok, version, _, second := touch(version, first)
	require.True(t, ok)
	require.EqualValues(t, 2, version)
	require.Equal(t, fmt.Sprint(first), string(next(ctx, t, watch).Events[0].Kv.Value))
	_, err := client.KV.Compact(ctx, first)
	require.NoError(t, err)
	_, err = client.KV.Compact(ctx, first)
	require.ErrorIs(t, err, rpctypes.ErrCompacted, "another was faster")
	ok, _, compacted, current = touch(1, 9)
	require.False(t, ok)
	require.Equal(t, first, compacted)
	require.Equal(t, second, current)

	late := client.Watch(ctx, key, clientv3.WithRev(first-1))
	response := next(ctx, t, late)
	require.ErrorIs(t, response.Err(), rpctypes.ErrCompacted, "410 Gone")
	require.Equal(t, first, response.CompactRevision)
}

// What it takes from Status: a version that is new enough to ask for bookmarks, and the
// size of the database.
func TestKubernetesFeatureCheck(t *testing.T) {
	client, ctx := apiserver(t), deadline(t)
	status, err := client.Status(ctx, shared.Endpoint())
	require.NoError(t, err)
	var major, minor, patch int
	_, err = fmt.Sscanf(status.Version, "%d.%d.%d", &major, &minor, &patch)
	require.NoError(t, err)
	require.Equal(t, 3, major)
	require.GreaterOrEqual(t, minor, 6)
	require.Positive(t, status.DbSize)
	require.LessOrEqual(t, status.DbSizeInUse, status.DbSize)
}
