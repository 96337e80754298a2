package clients

import (
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func newSession(t *testing.T, client *clientv3.Client) *concurrency.Session {
	t.Helper()
	session, err := concurrency.NewSession(client, concurrency.WithTTL(30))
	require.NoError(t, err)
	return session
}

func TestSessionTakesItsKeysWithIt(t *testing.T) {
	client, ctx, key := newClient(t, shared), deadline(t), prefix(t)+"k"
	session := newSession(t, client)
	_, err := client.Put(ctx, key, "v", clientv3.WithLease(session.Lease()))
	require.NoError(t, err)
	require.NoError(t, session.Close())
	<-session.Done()
	got, err := client.Get(ctx, key)
	require.NoError(t, err)
	require.Empty(t, got.Kvs)
}

// TestMutexExcludes increments a counter by a read and a write, which only a lock
// makes one step.
func TestMutexExcludes(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	const workers, rounds = 5, 8
	counter := prefix(t) + "counter"
	increment := func() (err error) {
		session, err := concurrency.NewSession(client, concurrency.WithTTL(30))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, session.Close()) }()
		mutex := concurrency.NewMutex(session, prefix(t)+"lock")
		for range rounds {
			if err := mutex.Lock(ctx); err != nil {
				return err
			}
			got, err := client.Get(ctx, counter)
			if err != nil {
				return err
			}
			n := 0
			if len(got.Kvs) > 0 {
				if n, err = strconv.Atoi(string(got.Kvs[0].Value)); err != nil {
					return err
				}
			}
			if _, err := client.Put(ctx, counter, strconv.Itoa(n+1)); err != nil {
				return err
			}
			if err := mutex.Unlock(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = increment() })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	got, err := client.Get(ctx, counter)
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(workers*rounds), string(got.Kvs[0].Value))
}

func TestMutexOfALostSession(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	holder, waiter := newSession(t, client), newSession(t, client)
	defer func() { require.NoError(t, waiter.Close()) }()
	held := concurrency.NewMutex(holder, prefix(t))
	require.NoError(t, held.Lock(ctx))
	waiting := concurrency.NewMutex(waiter, prefix(t))
	require.ErrorIs(t, waiting.TryLock(ctx), concurrency.ErrLocked)

	locked := make(chan error, 1)
	go func() { locked <- waiting.Lock(ctx) }()
	require.NoError(t, holder.Close()) // its lease goes, and the lock with it
	require.NoError(t, <-locked)
	owned, err := client.Txn(ctx).If(waiting.IsOwner()).Commit()
	require.NoError(t, err)
	require.True(t, owned.Succeeded)
	require.NoError(t, waiting.Unlock(ctx))
}

func TestElection(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	first, second := newSession(t, client), newSession(t, client)
	defer func() { require.NoError(t, second.Close()) }()
	one, two := concurrency.NewElection(first, prefix(t)), concurrency.NewElection(second, prefix(t))
	_, err := one.Leader(ctx)
	require.ErrorIs(t, err, concurrency.ErrElectionNoLeader)

	require.NoError(t, one.Campaign(ctx, "one"))
	observed := two.Observe(ctx)
	require.Equal(t, "one", string((<-observed).Kvs[0].Value))
	require.NoError(t, one.Proclaim(ctx, "one again"))
	require.Equal(t, "one again", string((<-observed).Kvs[0].Value))
	require.ErrorIs(t, two.Proclaim(ctx, "two"), concurrency.ErrElectionNotLeader)

	elected := make(chan error, 1)
	go func() { elected <- two.Campaign(ctx, "two") }()
	require.NoError(t, one.Resign(ctx))
	require.NoError(t, <-elected)
	require.Equal(t, "two", string((<-observed).Kvs[0].Value))
	leader, err := one.Leader(ctx)
	require.NoError(t, err)
	require.Equal(t, "two", string(leader.Kvs[0].Value))
	require.NoError(t, first.Close())
	require.NoError(t, two.Resign(ctx))
}

// TestSTMKeepsTheSum moves amounts between accounts in concurrent transactions.
func TestSTMKeepsTheSum(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	const accounts, start, workers, rounds = 3, 100, 4, 8
	name := func(i int) string { return prefix(t) + strconv.Itoa(i%accounts) }
	for i := range accounts {
		_, err := client.Put(ctx, name(i), strconv.Itoa(start))
		require.NoError(t, err)
	}
	move := func(from, to string, amount int) error {
		_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
			balance, err := strconv.Atoi(stm.Get(from))
			if err != nil {
				return err
			}
			other, err := strconv.Atoi(stm.Get(to))
			if err != nil {
				return err
			}
			stm.Put(from, strconv.Itoa(balance-amount))
			stm.Put(to, strconv.Itoa(other+amount))
			return nil
		}, concurrency.WithAbortContext(ctx))
		return err
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for j := range rounds {
				if errs[i] = move(name(i+j), name(i+j+1), 1+j); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	sum := 0
	for i := range accounts {
		got, err := client.Get(ctx, name(i))
		require.NoError(t, err)
		n, err := strconv.Atoi(string(got.Kvs[0].Value))
		require.NoError(t, err)
		sum += n
	}
	require.Equal(t, accounts*start, sum)
}
