package crossproto

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

var rounds = flag.Int("rounds", 60, "what each worker of the mixed test does how often")

// The paths of the mixed test. The counters are bumped by a read and a write: two of
// them under a lock, which only mutual exclusion makes one step, the third by
// comparing and swapping, from all faces.
const (
	etcdCount, etcdLock = "/mixed/etcd-count", "/mixed/etcd-lock"
	zkCount, zkLock     = "/mixed/zk-count", "/mixed/zk-lock"
	swapCount           = "/mixed/swap-count"
	items               = "/mixed/items"
	passing             = "/mixed/passing"
)

// A lock of etcd's, a lock of ZooKeeper's and callers of the gateway work on one
// subtree. The locks exclude, no update is lost, and a watcher of each side is told
// every change once, in the same order.
func TestMixed(t *testing.T) {
	f := newFaces(t, shared, 3*patience+time.Duration(*rounds)*time.Second)
	for _, p := range []string{etcdCount, zkCount, swapCount} {
		f.put(p, "0")
	}
	f.zk.create(items, "", 0)
	m := &mixed{faces: f}
	workers := []worker{
		m.newEtcdWorker(), m.newEtcdWorker(), m.newZKWorker(), m.newZKWorker(), m.newZKWorker(),
		m.newHTTPWorker(), m.newHTTPWorker(),
	}
	total := len(workers) * *rounds
	for i := range total {
		f.zk.watchExists(item(i))
	}
	watch := f.watch("/mixed/")
	glance := m.glance(total)

	var all sync.WaitGroup
	for n, w := range workers {
		all.Go(func() {
			for round := range *rounds {
				if err := w.work(n**rounds + round); err != nil {
					t.Errorf("worker %d, round %d: %v", n, round, err)
					return
				}
			}
		})
	}
	all.Wait()
	require.False(t, t.Failed())
	end := f.put("/mixed/end", "")
	m.checkCounts(total)
	m.checkWatches(f.revisions(watch, end), total)
	m.checkTrees()
	last := <-glance
	require.Equal(t, total, last, "the watch of the counter missed its last value")
}

func item(i int) string { return fmt.Sprintf("%s/%05d", items, i) }

// mixed is the state that the workers share.
type mixed struct {
	*faces
	etcdHeld, zkHeld atomic.Int32
}

// worker is a client at work.
type worker interface {
	// work does one round: it bumps the face's own counter and the common one, and
	// makes an item.
	work(i int) error
}

// exclusively runs fn, which nobody else may run meanwhile.
func exclusively(held *atomic.Int32, fn func() error) error {
	defer held.Add(-1)
	if n := held.Add(1); n != 1 {
		return fmt.Errorf("the lock is held by %d", n)
	}
	return fn()
}

func next(value []byte) string {
	n, err := strconv.Atoi(string(value))
	if err != nil {
		return err.Error()
	}
	return strconv.Itoa(n + 1)
}

// etcdWorker is an etcd client with a session and its mutex.
type etcdWorker struct {
	*mixed
	client *clientv3.Client
	mutex  *concurrency.Mutex
}

func (m *mixed) newEtcdWorker() worker {
	client := newEtcd(m.t, shared)
	session, err := concurrency.NewSession(client, concurrency.WithTTL(30))
	require.NoError(m.t, err)
	m.t.Cleanup(func() { require.NoError(m.t, session.Close()) })
	return &etcdWorker{m, client, concurrency.NewMutex(session, key(etcdLock))}
}

func (w *etcdWorker) work(i int) error {
	if err := w.mutex.Lock(w.ctx); err != nil {
		return err
	}
	err := exclusively(&w.etcdHeld, func() error {
		now, err := w.client.Get(w.ctx, key(etcdCount))
		if err != nil {
			return err
		}
		_, err = w.client.Put(w.ctx, key(etcdCount), next(now.Kvs[0].Value))
		return err
	})
	if err != nil {
		return err
	}
	if err := w.mutex.Unlock(w.ctx); err != nil {
		return err
	}
	k := key(item(i))
	made, err := w.client.Txn(w.ctx).If(clientv3.Compare(clientv3.CreateRevision(k), "=", 0)).
		Then(clientv3.OpPut(k, "etcd")).Commit()
	if err != nil || !made.Succeeded {
		return fmt.Errorf("create %s: %w", k, err)
	}
	for swapped := false; !swapped; {
		if swapped, err = w.swap(); err != nil {
			return err
		}
	}
	return nil
}

func (w *etcdWorker) swap() (bool, error) {
	k := key(swapCount)
	now, err := w.client.Get(w.ctx, k)
	if err != nil {
		return false, err
	}
	r, err := w.client.Txn(w.ctx).If(clientv3.Compare(clientv3.ModRevision(k), "=", now.Kvs[0].ModRevision)).
		Then(clientv3.OpPut(k, next(now.Kvs[0].Value))).Commit()
	return err == nil && r.Succeeded, err
}

// zkWorker is a ZooKeeper client with the lock of its library.
type zkWorker struct {
	*mixed
	conn *zkClient
}

func (m *mixed) newZKWorker() worker { return &zkWorker{m, newZK(m.t, shared)} }

func (w *zkWorker) work(i int) error {
	lock := zk.NewLock(w.conn.Conn, zkLock, open)
	if err := lock.Lock(); err != nil {
		return err
	}
	err := exclusively(&w.zkHeld, func() error {
		now, _, err := w.conn.Get(zkCount)
		if err != nil {
			return err
		}
		_, err = w.conn.Set(zkCount, []byte(next(now)), -1)
		return err
	})
	if err != nil {
		return err
	}
	if err := lock.Unlock(); err != nil {
		return err
	}
	if _, err := w.conn.Create(item(i), []byte("zk"), 0, open); err != nil {
		return err
	}
	for {
		now, stat, err := w.conn.Get(swapCount)
		if err != nil {
			return err
		}
		if _, err = w.conn.Set(swapCount, []byte(next(now)), stat.Version); err != zk.ErrBadVersion {
			return err
		}
	}
}

// httpWorker is a caller of the gateway. It has no lock; it leaves keys to a lease
// instead, which it revokes.
type httpWorker struct{ *mixed }

func (m *mixed) newHTTPWorker() worker { return &httpWorker{m} }

func (w *httpWorker) work(i int) error {
	grant, err := w.http.try("/v3/lease/grant", object{"TTL": "60"})
	if err != nil {
		return err
	}
	for _, p := range []string{fmt.Sprintf("%s/%d", passing, i), fmt.Sprintf("%s/%d/deep/er", passing, i)} {
		put := object{"key": text(key(p)), "value": text("http"), "lease": grant["ID"]}
		if _, err := w.http.try("/v3/kv/put", put); err != nil {
			return err
		}
	}
	if _, err := w.http.try("/v3/lease/revoke", object{"ID": grant["ID"]}); err != nil {
		return err
	}
	if _, err := w.http.try("/v3/kv/put", object{"key": text(key(item(i))), "value": text("http")}); err != nil {
		return err
	}
	for {
		swapped, err := w.swap()
		if swapped || err != nil {
			return err
		}
	}
}

func (w *httpWorker) swap() (bool, error) {
	k := text(key(swapCount))
	read, err := w.http.try("/v3/kv/range", object{"key": k})
	if err != nil {
		return false, err
	}
	now := read["kvs"].([]any)[0].(object)
	r, err := w.http.try("/v3/kv/txn", object{
		"compare": []object{{"key": k, "target": "MOD", "result": "EQUAL", "mod_revision": now["mod_revision"]}},
		"success": []object{{"request_put": object{"key": k, "value": text(next([]byte(bytesOf(now["value"]))))}}},
	})
	return err == nil && r["succeeded"] == true, err
}

// glance watches the common counter with one-shot watches, which may pass over
// values but never go back, until it has seen the last one. The result is the last
// value seen.
func (m *mixed) glance(end int) <-chan int {
	watcher := newZK(m.t, shared)
	result := make(chan int, 1)
	go func() {
		last := -1
		defer func() { result <- last }()
		for {
			data, _, changes, err := watcher.GetW(swapCount)
			if err != nil {
				return // what was seen so far says it
			}
			n, err := strconv.Atoi(string(data))
			if err != nil || n < last {
				m.t.Errorf("the counter goes from %d to %q", last, data)
				return
			}
			if last = n; last == end {
				return
			}
			select {
			case <-changes:
			case <-m.ctx.Done():
				return
			}
		}
	}()
	return result
}

// checkCounts compares the counters, on all faces, with what was done.
func (m *mixed) checkCounts(total int) {
	m.t.Helper()
	for path, want := range map[string]int{etcdCount: 2 * *rounds, zkCount: 3 * *rounds, swapCount: total} {
		value := strconv.Itoa(want)
		require.Equal(m.t, value, string(m.kv(path).Value), path)
		data, stat := m.zk.get(path)
		require.Equal(m.t, value, data, path)
		require.EqualValues(m.t, want, stat.Version, path)
		require.Equal(m.t, value, bytesOf(m.http.get(path)["value"]), path)
	}
	require.EqualValues(m.t, total, m.count(items+"/"))
	require.EqualValues(m.t, total, m.http.count(items))
	require.Len(m.t, m.zk.list(items), total)
	require.Empty(m.t, m.zk.list(zkLock))
	m.zk.gone(etcdLock)
	m.zk.gone(passing)
}

// checkWatches compares what the watchers of both sides were told of the items, and
// checks that the etcd watch missed no step of a counter.
func (m *mixed) checkWatches(revs []revision, total int) {
	m.t.Helper()
	var created, zkTold []string
	counts := map[string]int{}
	last := int64(0)
	for _, r := range revs {
		require.Greater(m.t, r.rev, last)
		last = r.rev
		for _, c := range r.changes {
			if strings.HasPrefix(c.path, items+"/") {
				require.Equal(m.t, "PUT", c.kind)
				created = append(created, fmt.Sprint(c.path, " at ", r.rev))
			}
			if strings.HasSuffix(c.path, "-count") {
				counts[c.path]++
				require.Equal(m.t, strconv.Itoa(counts[c.path]), c.value, c.path)
			}
		}
	}
	require.Equal(m.t, map[string]int{etcdCount: 2 * *rounds, zkCount: 3 * *rounds, swapCount: total}, counts)
	events, zxids := m.zk.told(), m.zk.line.eventZxids()
	require.Len(m.t, zxids, len(events))
	for i, e := range events {
		require.Equal(m.t, zk.EventNodeCreated, e.kind)
		zkTold = append(zkTold, fmt.Sprint(e.path, " at ", zxids[i]))
	}
	require.Len(m.t, created, total)
	require.Equal(m.t, created, zkTold)
}

// checkTrees walks the subtree on all faces: each shows the same keys and values,
// and ZooKeeper beside them only what is above a key, or was made by its lock.
func (m *mixed) checkTrees() {
	m.t.Helper()
	etcd, gateway := map[string]string{}, map[string]string{}
	r, err := m.etcd.Get(m.ctx, key("/mixed"), clientv3.WithPrefix())
	require.NoError(m.t, err)
	for _, kv := range r.Kvs {
		etcd[string(kv.Key)[len(mount):]] = string(kv.Value)
	}
	answer := m.http.call("/v3/kv/range", object{"key": text(key("/mixed")), "range_end": text(key("/mixee"))})
	for _, kv := range answer["kvs"].([]any) {
		gateway[bytesOf(kv.(object)["key"])[len(mount):]] = bytesOf(kv.(object)["value"])
	}
	require.Equal(m.t, etcd, gateway)
	znodes := map[string]string{}
	for path, z := range m.walk("/mixed") {
		if _, isKey := etcd[path]; !isKey {
			require.Equal(m.t, "/mixed", path, "implicit, though there is nothing below")
			require.Empty(m.t, z.data)
			continue
		}
		znodes[path] = z.data
	}
	require.Equal(m.t, etcd, znodes)
}
