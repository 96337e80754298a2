package zkclients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// What each worker of the mixed test does how often, and how many there are.
const (
	mixedRounds         = 40
	mixedCuratorClients = 3
	mixedEtcdClients    = 2
	mixedHTTPCallers    = 2
)

// TestMixedWithCurator: Curator's lock, etcd's lock and callers of the gateway work
// on one subtree. The locks exclude, no update is lost, and all faces agree.
func TestMixedWithCurator(t *testing.T) {
	needEtcd(t, shared)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{shared.etcd}, DialTimeout: patience})
	require.NoError(t, err)
	defer client.Close()
	conn := connectGo(t, shared.zk)
	znode := goRoot(t, conn) + "/mixed"
	m := &mixed{ctx: ctx, client: client, root: "/zk" + znode}
	for _, counter := range []string{"/curator-count", "/etcd-count", "/swap-count"} {
		_, err := client.Put(ctx, m.root+counter, "0")
		require.NoError(t, err)
	}
	_, err = client.Put(ctx, m.root+"/items", "")
	require.NoError(t, err)

	var workers sync.WaitGroup
	workers.Go(func() {
		out, err := java(t, shared, 2*time.Minute, "triglot.CuratorWorkers", znode,
			strconv.Itoa(mixedCuratorClients), strconv.Itoa(mixedRounds)).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "done") {
			t.Errorf("the Curator clients: %v\n%s", err, out)
		}
	})
	for n := range mixedEtcdClients {
		workers.Go(func() { m.report(t, "etcd client", m.etcdWorker(n)) })
	}
	for n := range mixedHTTPCallers {
		workers.Go(func() { m.report(t, "HTTP caller", m.httpWorker(n)) })
	}
	workers.Wait()
	require.False(t, t.Failed())

	total := mixedRounds * (mixedCuratorClients + mixedEtcdClients + mixedHTTPCallers)
	for counter, want := range map[string]int{
		"/curator-count": mixedRounds * mixedCuratorClients,
		"/etcd-count":    mixedRounds * mixedEtcdClients,
		"/swap-count":    total,
	} {
		data, stat, err := conn.Get(znode + counter)
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(want), string(data), counter)
		require.Equal(t, int32(want), stat.Version, counter)
		require.Equal(t, strconv.Itoa(want), curlGet(t, m.root+counter).value(t), counter)
	}
	items, err := client.Get(ctx, m.root+"/items/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	require.NoError(t, err)
	require.Equal(t, int64(total), items.Count)
	children, stat, err := conn.Children(znode + "/items")
	require.NoError(t, err)
	require.Len(t, children, total)
	require.Equal(t, int32(total), stat.NumChildren)
	waiting, _, err := conn.Children(znode + "/curator-lock")
	require.NoError(t, err)
	require.Empty(t, waiting, "a lock that was let go leaves nothing")
}

// mixed is what the workers in this process share.
type mixed struct {
	ctx    context.Context
	client *clientv3.Client
	root   string // of the keys
	held   atomic.Int32
}

func (*mixed) report(t *testing.T, who string, err error) {
	if err != nil {
		t.Errorf("%s: %v", who, err)
	}
}

// etcdWorker bumps a counter under etcd's lock, whose keys are znodes, and the
// common one by a transaction.
func (m *mixed) etcdWorker(n int) error {
	session, err := concurrency.NewSession(m.client, concurrency.WithContext(m.ctx))
	if err != nil {
		return err
	}
	defer session.Close()
	lock := concurrency.NewMutex(session, m.root+"/etcd-lock")
	for round := range mixedRounds {
		if err := lock.Lock(m.ctx); err != nil {
			return err
		}
		if m.held.Add(1) != 1 {
			return errors.New("the lock is held twice")
		}
		value, _, err := m.get("/etcd-count")
		if err != nil {
			return err
		}
		if _, err := m.client.Put(m.ctx, m.root+"/etcd-count", strconv.Itoa(value+1)); err != nil {
			return err
		}
		m.held.Add(-1)
		if err := lock.Unlock(m.ctx); err != nil {
			return err
		}
		if err := m.swap(func(value int, rev int64) (bool, error) {
			reply, err := m.client.Txn(m.ctx).
				If(clientv3.Compare(clientv3.ModRevision(m.root+"/swap-count"), "=", rev)).
				Then(clientv3.OpPut(m.root+"/swap-count", strconv.Itoa(value+1))).Commit()
			return err == nil && reply.Succeeded, err
		}); err != nil {
			return err
		}
		if _, err := m.client.Put(m.ctx, fmt.Sprintf("%s/items/etcd-%d-%d", m.root, n, round), ""); err != nil {
			return err
		}
	}
	return nil
}

// httpWorker bumps the common counter by a transaction of the gateway.
func (m *mixed) httpWorker(n int) error {
	key := encode(m.root + "/swap-count")
	for round := range mixedRounds {
		if err := m.swap(func(value int, rev int64) (bool, error) {
			var reply struct{ Succeeded bool }
			err := m.post("/v3/kv/txn", fmt.Sprintf(`{"compare": [{"key": %q, "target": "MOD", "mod_revision": "%d"}],
				"success": [{"request_put": {"key": %q, "value": %q}}]}`,
				key, rev, key, encode(strconv.Itoa(value+1))), &reply)
			return reply.Succeeded, err
		}); err != nil {
			return err
		}
		item := encode(fmt.Sprintf("%s/items/http-%d-%d", m.root, n, round))
		if err := m.post("/v3/kv/put", fmt.Sprintf(`{"key": %q}`, item), new(struct{})); err != nil {
			return err
		}
	}
	return nil
}

// swap reads the common counter until try has changed it as it was read.
func (m *mixed) swap(try func(value int, rev int64) (bool, error)) error {
	for {
		value, rev, err := m.get("/swap-count")
		if err != nil {
			return err
		}
		if done, err := try(value, rev); err != nil || done {
			return err
		}
	}
}

func (m *mixed) get(counter string) (value int, rev int64, err error) {
	reply, err := m.client.Get(m.ctx, m.root+counter)
	if err != nil {
		return 0, 0, err
	}
	value, err = strconv.Atoi(string(reply.Kvs[0].Value))
	return value, reply.Kvs[0].ModRevision, err
}

func (m *mixed) post(path, body string, reply any) error {
	request, err := http.NewRequestWithContext(m.ctx, http.MethodPost, shared.etcd+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(reply)
}
