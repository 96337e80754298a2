package clients

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"
)

// TestLeasing has two clients cache what they read, and a third write: leasing keeps
// the cached values true by keys of its own, transactions and watches.
func TestLeasing(t *testing.T) {
	ctx, key, leases := deadline(t), prefix(t)+"k", prefix(t)+"leases/"
	_, err := newClient(t, shared).Put(ctx, key, "1")
	require.NoError(t, err)
	open := func() clientv3.KV {
		kv, closeKV, err := leasing.NewKV(newClient(t, shared), leases)
		require.NoError(t, err)
		t.Cleanup(closeKV)
		return kv
	}
	first, second := open(), open()
	for range 2 { // the second time from its cache
		got, err := first.Get(ctx, key)
		require.NoError(t, err)
		require.Equal(t, "1", string(got.Kvs[0].Value))
	}
	// A write of another leasing client takes the key away from the first one.
	_, err = second.Put(ctx, key, "2")
	require.NoError(t, err)
	got, err := first.Get(ctx, key)
	require.NoError(t, err)
	require.Equal(t, "2", string(got.Kvs[0].Value))
	txn, err := second.Txn(ctx).If(clientv3.Compare(clientv3.Value(key), "=", "2")).Then(clientv3.OpPut(key, "3"), clientv3.OpGet(key)).Commit()
	require.NoError(t, err)
	require.True(t, txn.Succeeded)
	require.Equal(t, "3", string(txn.Responses[1].GetResponseRange().Kvs[0].Value))
	_, err = first.Delete(ctx, key)
	require.NoError(t, err)
	got, err = second.Get(ctx, key)
	require.NoError(t, err)
	require.Empty(t, got.Kvs)
}

// TestMirror copies a prefix as it is and then follows what changes.
func TestMirror(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	const before, after = 2500, 100 // more than the thousand keys of a page
	for i := range before {
		_, err := client.Put(ctx, fmt.Sprintf("%s%05d", prefix(t), i), "old")
		require.NoError(t, err)
	}
	syncer := mirror.NewSyncer(client, prefix(t), 0)
	copied := make(map[string]string)
	pages, failed := syncer.SyncBase(ctx)
	for page := range pages {
		for _, kv := range page.Kvs {
			copied[string(kv.Key)] = string(kv.Value)
		}
	}
	require.NoError(t, <-failed)
	require.Len(t, copied, before)

	updates := syncer.SyncUpdates(ctx)
	for i := range after {
		_, err := client.Put(ctx, fmt.Sprintf("%s%05d", prefix(t), i), "new")
		require.NoError(t, err)
	}
	for seen := 0; seen < after; {
		response, ok := <-updates
		require.True(t, ok && response.Err() == nil, "the updates ended after %d: %v", seen, response.Err())
		for _, event := range response.Events {
			copied[string(event.Kv.Key)] = string(event.Kv.Value)
			seen++
		}
	}
	all, err := client.Get(ctx, prefix(t), clientv3.WithPrefix())
	require.NoError(t, err)
	require.Len(t, all.Kvs, len(copied))
	for _, kv := range all.Kvs {
		require.Equal(t, copied[string(kv.Key)], string(kv.Value))
	}
}

// TestOrdering reads through the package that refuses a reply older than the last one.
func TestOrdering(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	violated := func(op clientv3.Op, _ clientv3.OpResponse, rev int64) error {
		return fmt.Errorf("%s was answered before revision %d", op.KeyBytes(), rev)
	}
	kv := ordering.NewKV(client.KV, violated)
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for i := range cap(errs) {
		wg.Go(func() {
			for n := range 50 {
				key := fmt.Sprintf("%s%d", prefix(t), i)
				if _, err := kv.Put(ctx, key, fmt.Sprint(n)); err != nil {
					errs <- err
					return
				}
				got, err := kv.Get(ctx, key, clientv3.WithSerializable())
				if err == nil && string(got.Kvs[0].Value) != fmt.Sprint(n) {
					err = fmt.Errorf("read %s after %d was written", got.Kvs[0].Value, n)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
}

func TestNamespaceOfWatchesAndLeases(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	kv, watcher := namespace.NewKV(client, prefix(t)), namespace.NewWatcher(client, prefix(t))
	lease := namespace.NewLease(client, prefix(t))

	events := watcher.Watch(ctx, "", clientv3.WithPrefix())
	granted, err := lease.Grant(ctx, 60)
	require.NoError(t, err)
	_, err = kv.Put(ctx, "k", "v", clientv3.WithLease(granted.ID))
	require.NoError(t, err)
	response := <-events
	require.NoError(t, response.Err())
	require.Equal(t, "k", string(response.Events[0].Kv.Key))
	left, err := lease.TimeToLive(ctx, granted.ID, clientv3.WithAttachedKeys())
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("k")}, left.Keys)
	_, err = lease.Revoke(ctx, granted.ID)
	require.NoError(t, err)
	select {
	case response = <-events:
		require.Equal(t, clientv3.EventTypeDelete, response.Events[0].Type)
	case <-time.After(patience):
		require.Fail(t, "no event tells of the key that went with its lease")
	}
}
