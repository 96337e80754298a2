package clients

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.uber.org/zap"
)

func TestTxnTakesOneBranch(t *testing.T) {
	client, ctx, key := newClient(t, shared), deadline(t), prefix(t)+"k"
	create := func() *clientv3.TxnResponse {
		response, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, "mine")).
			Else(clientv3.OpGet(key)).
			Commit()
		require.NoError(t, err)
		return response
	}
	first := create()
	require.True(t, first.Succeeded)
	require.NotNil(t, first.Responses[0].GetResponsePut())
	second := create()
	require.False(t, second.Succeeded)
	kv := second.Responses[0].GetResponseRange().Kvs[0]
	require.Equal(t, "mine", string(kv.Value))
	require.Equal(t, first.Header.Revision, kv.ModRevision)
}

// TestErrorsAreTheClientsOwn shows that errors come back as the values that
// applications compare with, which clientv3 finds by code and text.
func TestErrorsAreTheClientsOwn(t *testing.T) {
	client, ctx, key := newClient(t, shared), deadline(t), prefix(t)+"k"
	put, err := client.Put(ctx, key, "v")
	require.NoError(t, err)
	for _, test := range []struct {
		want error
		call func() error
	}{
		{rpctypes.ErrEmptyKey, func() error { _, err := client.Put(ctx, "", "v"); return err }},
		{rpctypes.ErrLeaseNotFound, func() error { _, err := client.Put(ctx, key, "v", clientv3.WithLease(77)); return err }},
		{rpctypes.ErrKeyNotFound, func() error {
			_, err := client.Put(ctx, key+"/none", "", clientv3.WithIgnoreValue())
			return err
		}},
		{rpctypes.ErrFutureRev, func() error {
			_, err := client.Get(ctx, key, clientv3.WithRev(put.Header.Revision+1e9))
			return err
		}},
		{rpctypes.ErrDuplicateKey, func() error {
			_, err := client.Txn(ctx).Then(clientv3.OpPut(key, "1"), clientv3.OpPut(key, "2")).Commit()
			return err
		}},
		{rpctypes.ErrTooManyOps, func() error {
			_, err := client.Txn(ctx).Then(slices.Repeat([]clientv3.Op{clientv3.OpGet(key)}, 129)...).Commit()
			return err
		}},
		{rpctypes.ErrLeaseNotFound, func() error { _, err := client.Revoke(ctx, 77); return err }},
		{rpctypes.ErrLeaseTTLTooLarge, func() error { _, err := client.Grant(ctx, 9_000_000_001); return err }},
		{rpctypes.ErrRequestTooLarge, func() error {
			_, err := client.Put(ctx, key, string(make([]byte, 3<<19)))
			return err
		}},
	} {
		require.ErrorIs(t, test.call(), test.want)
	}
}

func TestCompactedRevisionsAreRefused(t *testing.T) {
	client, ctx, key := newClient(t, shared), deadline(t), prefix(t)+"k"
	first, err := client.Put(ctx, key, "1")
	require.NoError(t, err)
	second, err := client.Put(ctx, key, "2")
	require.NoError(t, err)
	_, err = client.Compact(ctx, second.Header.Revision, clientv3.WithCompactPhysical())
	require.NoError(t, err)
	_, err = client.Get(ctx, key, clientv3.WithRev(first.Header.Revision))
	require.ErrorIs(t, err, rpctypes.ErrCompacted)
	_, err = client.Compact(ctx, second.Header.Revision)
	require.ErrorIs(t, err, rpctypes.ErrCompacted)
	got, err := client.Get(ctx, key, clientv3.WithRev(second.Header.Revision))
	require.NoError(t, err)
	require.Equal(t, "2", string(got.Kvs[0].Value))
}

func TestNamespaceHidesItsPrefix(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	kv := namespace.NewKV(client, prefix(t))
	_, err := kv.Put(ctx, "k", "v")
	require.NoError(t, err)
	inside, err := kv.Get(ctx, "", clientv3.WithFromKey())
	require.NoError(t, err)
	require.Len(t, inside.Kvs, 1)
	require.Equal(t, "k", string(inside.Kvs[0].Key))
	outside, err := client.Get(ctx, prefix(t)+"k")
	require.NoError(t, err)
	require.Equal(t, "v", string(outside.Kvs[0].Value))
}

// TestKubernetesStorage uses the interface with which Kubernetes' API server
// keeps its objects.
func TestKubernetesStorage(t *testing.T) {
	ctx, registry := deadline(t), prefix(t)
	client, err := kubernetes.New(clientv3.Config{Endpoints: []string{shared.Endpoint()}, Logger: zap.NewNop()})
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()

	var last int64
	for i := range 5 {
		put, err := client.Kubernetes.OptimisticPut(ctx, fmt.Sprintf("%spods/%d", registry, i), []byte("v1"), 0, kubernetes.PutOptions{})
		require.NoError(t, err)
		require.True(t, put.Succeeded)
		require.Greater(t, put.Revision, last)
		last = put.Revision
	}

	// An update needs the revision that it was made from, and shows what is there if not.
	pod := registry + "pods/0"
	stored, err := client.Kubernetes.Get(ctx, pod, kubernetes.GetOptions{})
	require.NoError(t, err)
	updated, err := client.Kubernetes.OptimisticPut(ctx, pod, []byte("v2"), stored.KV.ModRevision, kubernetes.PutOptions{})
	require.NoError(t, err)
	require.True(t, updated.Succeeded)
	stale, err := client.Kubernetes.OptimisticPut(ctx, pod, []byte("v3"), stored.KV.ModRevision, kubernetes.PutOptions{GetOnFailure: true})
	require.NoError(t, err)
	require.False(t, stale.Succeeded)
	require.Equal(t, "v2", string(stale.KV.Value))

	// A list in pages, all of one revision, with the exact count.
	page, err := client.Kubernetes.List(ctx, registry+"pods/", kubernetes.ListOptions{Limit: 2})
	require.NoError(t, err)
	require.Len(t, page.Kvs, 2)
	require.EqualValues(t, 5, page.Count)
	_, err = client.Kubernetes.OptimisticPut(ctx, registry+"pods/9", []byte("late"), 0, kubernetes.PutOptions{})
	require.NoError(t, err)
	rest, err := client.Kubernetes.List(ctx, registry+"pods/", kubernetes.ListOptions{
		Revision: page.Revision, Continue: string(page.Kvs[1].Key) + "\x00",
	})
	require.NoError(t, err)
	require.Len(t, rest.Kvs, 3)
	require.EqualValues(t, 3, rest.Count)

	deleted, err := client.Kubernetes.OptimisticDelete(ctx, pod, updated.Revision, kubernetes.DeleteOptions{})
	require.NoError(t, err)
	require.True(t, deleted.Succeeded)
	count, err := client.Kubernetes.Count(ctx, registry+"pods/", kubernetes.CountOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 5, count)
}

func TestMemberAndStatus(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	list, err := client.MemberList(ctx)
	require.NoError(t, err)
	names, urls, ids := []string{}, []string{}, []uint64{}
	for _, m := range list.Members {
		names, urls, ids = append(names, m.Name), append(urls, m.ClientURLs...), append(ids, m.ID)
		require.False(t, m.IsLearner)
	}
	slices.Sort(names)
	require.Equal(t, []string{"m1", "m2", "m3"}[:len(list.Members)], names)
	require.Equal(t, several(), len(names) == 3)
	require.Len(t, urls, len(names))
	require.Contains(t, urls, shared.URL())

	status, err := client.Status(ctx, shared.Endpoint())
	require.NoError(t, err)
	require.Contains(t, ids, status.Leader)
	require.Contains(t, ids, status.Header.MemberId)
	require.Equal(t, "3.7.3", status.Version)
	require.NotZero(t, status.RaftIndex)
	require.NotZero(t, status.DbSize)
	require.Empty(t, status.Errors)
}
