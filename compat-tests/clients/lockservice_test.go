package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// call asks the JSON gateway of the shared server: it is how the Lock and Election
// services are reached without stubs, which would be etcd's server's.
func call(ctx context.Context, path string, request, response any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, shared.URL()+"/v3/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, answer)
	}
	return json.Unmarshal(answer, response)
}

type (
	lockRequest struct {
		Name  []byte `json:"name"`
		Lease int64  `json:"lease"`
	}
	lockKey struct {
		Key []byte `json:"key"`
	}
	leaderKey struct {
		Name  []byte `json:"name"`
		Key   []byte `json:"key"`
		Rev   int64  `json:"rev,string"`
		Lease int64  `json:"lease,string"`
	}
	campaignRequest struct {
		lockRequest
		Value []byte `json:"value"`
	}
	leadership struct {
		Leader leaderKey `json:"leader"`
	}
	nothing struct{}
)

// locker takes a lock and returns what gives it back.
type locker func(context.Context) (unlock func(context.Context) error, err error)

func serviceLocker(name string, lease clientv3.LeaseID) locker {
	return func(ctx context.Context) (func(context.Context) error, error) {
		var held lockKey
		err := call(ctx, "lock/lock", lockRequest{Name: []byte(name), Lease: int64(lease)}, &held)
		return func(ctx context.Context) error { return call(ctx, "lock/unlock", held, &nothing{}) }, err
	}
}

func clientLocker(session *concurrency.Session, name string) locker {
	mutex := concurrency.NewMutex(session, name)
	return func(ctx context.Context) (func(context.Context) error, error) { return mutex.Unlock, mutex.Lock(ctx) }
}

// TestLockServiceAndMutexExclude increments a counter by a read and a write, under a
// lock that some take by the service and some by themselves.
func TestLockServiceAndMutexExclude(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	const workers, rounds = 6, 8
	name, counter := prefix(t)+"lock", prefix(t)+"counter"
	increment := func() error {
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
		_, err = client.Put(ctx, counter, strconv.Itoa(n+1))
		return err
	}
	work := func(lock locker) error {
		for range rounds {
			unlock, err := lock(ctx)
			if err != nil {
				return err
			}
			if err := errors.Join(increment(), unlock(ctx)); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for i := range errs {
		session := newSession(t, client)
		defer func() { require.NoError(t, session.Close()) }()
		lock := clientLocker(session, name)
		if i%2 == 0 {
			lock = serviceLocker(name, session.Lease())
		}
		wg.Go(func() { errs[i] = work(lock) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	got, err := client.Get(ctx, counter)
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(workers*rounds), string(got.Kvs[0].Value))
	left, err := client.Get(ctx, name, clientv3.WithPrefix())
	require.NoError(t, err)
	require.Empty(t, left.Kvs)
}

// TestMutexOfALostLockService waits in a client for one who has the lock by the
// service and loses its lease.
func TestMutexOfALostLockService(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	lease, err := client.Grant(ctx, 60)
	require.NoError(t, err)
	_, err = serviceLocker(prefix(t), lease.ID)(ctx)
	require.NoError(t, err)
	session := newSession(t, client)
	defer func() { require.NoError(t, session.Close()) }()
	mutex := concurrency.NewMutex(session, prefix(t))
	require.ErrorIs(t, mutex.TryLock(ctx), concurrency.ErrLocked)
	_, err = client.Revoke(ctx, lease.ID)
	require.NoError(t, err)
	require.NoError(t, mutex.Lock(ctx))
}

// TestElectionServiceAndClient lets candidates of both kinds follow each other.
func TestElectionServiceAndClient(t *testing.T) {
	client, ctx := newClient(t, shared), deadline(t)
	name := prefix(t) + "election"
	session := newSession(t, client)
	defer func() { require.NoError(t, session.Close()) }()
	own := concurrency.NewElection(session, name)
	require.NoError(t, own.Campaign(ctx, "client"))

	lease, err := client.Grant(ctx, 60)
	require.NoError(t, err)
	elected := make(chan error, 1)
	var service leadership
	go func() {
		elected <- call(ctx, "election/campaign",
			campaignRequest{lockRequest{[]byte(name), int64(lease.ID)}, []byte("service")}, &service)
	}()
	require.Eventually(t, func() bool {
		candidates, err := client.Get(ctx, name, clientv3.WithPrefix())
		return err == nil && len(candidates.Kvs) == 2
	}, patience, 10*time.Millisecond)
	observed := own.Observe(ctx)
	require.Equal(t, "client", string((<-observed).Kvs[0].Value))
	require.NoError(t, own.Resign(ctx))
	require.NoError(t, <-elected)
	require.Equal(t, "service", string((<-observed).Kvs[0].Value))

	// A leadership that the service gave, the client can go on with.
	resumed := concurrency.ResumeElection(session, name, string(service.Leader.Key), service.Leader.Rev)
	require.NoError(t, resumed.Proclaim(ctx, "the client again"))
	var leader struct{ KV struct{ Value []byte } }
	require.NoError(t, call(ctx, "election/leader", lockRequest{Name: []byte(name)}, &leader))
	require.Equal(t, "the client again", string(leader.KV.Value))
	require.NoError(t, call(ctx, "election/resign", service, &nothing{}))
	_, err = own.Leader(ctx)
	require.ErrorIs(t, err, concurrency.ErrElectionNoLeader)
}
