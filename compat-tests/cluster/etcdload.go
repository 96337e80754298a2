package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	// mount is where the znodes are keys.
	mount = "/zk"
	// contested is the znode below which all clients compete for keys.
	contested = "/h"
	// slots is how many keys there are at a time, epoch how long they are used: the
	// history of a key stays short enough to be judged.
	slots = 5
	epoch = 4 * time.Second
	// callTimeout bounds a request of an etcd client: longer than an election.
	callTimeout = 3 * time.Second
	// thinkTime is the longest pause between two requests of a client.
	thinkTime = 20 * time.Millisecond
)

// worker is what the clients of both protocols have in common. It belongs to one goroutine,
// but for lastOK.
type worker struct {
	id      int
	rec     *Recorder
	random  *rand.Rand
	chapter string
	written int
	// seen is what this client last saw of each key.
	seen map[string]Row
	// lastOK is when something last succeeded, by the recorder's clock.
	lastOK atomic.Int64
}

func newWorker(id int, rec *Recorder, chapter string, seed uint64) *worker {
	return &worker{id: id, rec: rec, chapter: chapter, random: rand.New(rand.NewPCG(seed, uint64(id))), seen: map[string]Row{}}
}

// znode is the key of the moment, as ZooKeeper names it.
func (w *worker) znode() string {
	at := w.rec.now() / epoch.Nanoseconds()
	return fmt.Sprintf("%s/%s-%d-%d", contested, w.chapter, at, w.random.IntN(slots))
}

// value is one that nobody else writes.
func (w *worker) value() string {
	w.written++
	return fmt.Sprintf("%s-c%d-%d", w.chapter, w.id, w.written)
}

func (w *worker) think(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(w.random.Int64N(int64(thinkTime)))):
	}
}

// note records an answer; one that came says that the client is served.
func (w *worker) note(called int64, r Request, a Answer) {
	w.rec.add(w.id, called, r, a)
	if a.Outcome == Unknown {
		return
	}
	w.lastOK.Store(w.rec.now())
	if r.Call == Get || a.Outcome == Missing {
		w.seen[r.Key] = a.Row
	}
}

// etcdWorker is a client of etcd's protocol.
type etcdWorker struct {
	*worker
	client *clientv3.Client
}

// dialEtcd makes a client with the library's defaults.
func dialEtcd(endpoints ...string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: callTimeout, Logger: zap.NewNop()})
}

// run makes requests until the context ends.
func (w *etcdWorker) run(ctx context.Context) {
	for ctx.Err() == nil {
		r := w.choose()
		called := w.rec.now()
		call, cancel := context.WithTimeout(context.Background(), callTimeout) // an answer under way is waited for
		a, err := w.do(call, r)
		cancel()
		if err != nil {
			a = Answer{Outcome: Unknown}
		}
		w.note(called, r, a)
		w.think(ctx)
	}
}

func (w *etcdWorker) choose() Request {
	r := Request{Key: mount + w.znode()}
	switch choice := w.random.IntN(10); {
	case choice < 4:
		r.Call = Get
	case choice < 7:
		r.Call, r.Value = Put, w.value()
	case choice < 9:
		r.Call, r.Value, r.Expected = Swap, w.value(), w.seen[r.Key].Value
	default:
		r.Call = Remove
	}
	return r
}

func (w *etcdWorker) do(ctx context.Context, r Request) (Answer, error) {
	written := func(rev int64) Answer { return Answer{Done, Row{Rev: rev, Version: unknownNumber}} }
	switch r.Call {
	case Put:
		resp, err := w.client.Put(ctx, r.Key, r.Value)
		if err != nil {
			return Answer{}, err
		}
		return written(resp.Header.Revision), nil
	case Remove:
		resp, err := w.client.Delete(ctx, r.Key)
		if err != nil {
			return Answer{}, err
		}
		if resp.Deleted == 0 {
			return Answer{Outcome: Missing}, nil
		}
		return written(resp.Header.Revision), nil
	case Swap:
		guard := clientv3.Compare(clientv3.Value(r.Key), "=", r.Expected)
		if r.Expected == "" {
			guard = clientv3.Compare(clientv3.CreateRevision(r.Key), "=", 0)
		}
		resp, err := w.client.Txn(ctx).If(guard).Then(clientv3.OpPut(r.Key, r.Value)).Commit()
		if err != nil {
			return Answer{}, err
		}
		if !resp.Succeeded {
			return Answer{Outcome: Refused}, nil
		}
		return written(resp.Header.Revision), nil
	default:
		resp, err := w.client.Get(ctx, r.Key)
		if err != nil {
			return Answer{}, err
		}
		if len(resp.Kvs) == 0 {
			return Answer{Outcome: Missing}, nil
		}
		kv := resp.Kvs[0]
		return Answer{Done, Row{string(kv.Value), kv.ModRevision, kv.Version - 1}}, nil
	}
}

// watcher follows all keys below the mount from a revision on, with whatever the library
// does when members fail, and asks now and then how far it is. It belongs to one
// goroutine, but for reached; events is read once the goroutine has ended.
type watcher struct {
	name    string
	rec     *Recorder
	client  *clientv3.Client
	from    int64
	reached atomic.Int64 // the highest revision that it knows to be complete
	events  []Event
}

// progressEvery is how often a watcher asks for its progress.
const progressEvery = 300 * time.Millisecond

// run follows until the context ends.
func (w *watcher) run(ctx context.Context) {
	ctx = clientv3.WithRequireLeader(ctx)
	ask := time.NewTicker(progressEvery)
	defer ask.Stop()
	for ctx.Err() == nil {
		next := w.from
		if n := len(w.events); n > 0 {
			next = w.events[n-1].Rev + 1
		}
		events := w.client.Watch(ctx, mount+"/", clientv3.WithPrefix(), clientv3.WithRev(next))
		for open := true; open; {
			select {
			case resp, ok := <-events:
				open = ok && w.take(resp)
			case <-ask.C:
				_ = w.client.RequestProgress(ctx) // without a member there is none
			}
		}
		pauseFor(ctx, progressEvery) // it was told that there is no leader, say: a client watches again
	}
}

// take notes a response and says whether more are to come.
func (w *watcher) take(resp clientv3.WatchResponse) bool {
	if resp.CompactRevision != 0 {
		w.rec.find("watcher %s: nothing was compacted, and it is told of %d", w.name, resp.CompactRevision)
	}
	if resp.Err() != nil {
		return false
	}
	now := w.rec.now()
	for _, e := range resp.Events {
		event := Event{
			Key: string(e.Kv.Key), Value: string(e.Kv.Value), Rev: e.Kv.ModRevision, Version: e.Kv.Version - 1, At: now,
			Deleted: e.Type == clientv3.EventTypeDelete,
		}
		if event.Deleted {
			event.Value, event.Version = "", 0
		}
		if progress := w.reached.Load(); event.Rev <= progress {
			w.rec.find("watcher %s: %v after it was told that %d is reached", w.name, event, progress)
		}
		w.events = append(w.events, event)
	}
	if resp.IsProgressNotify() {
		if resp.Header.Revision < w.reached.Load() {
			w.rec.find("watcher %s: progress goes back from %d to %d", w.name, w.reached.Load(), resp.Header.Revision)
		}
		w.reached.Store(resp.Header.Revision)
	}
	return true
}

// complete waits until the watcher knows that it has all up to a revision.
func (w *watcher) complete(ctx context.Context, rev int64) bool {
	for w.reached.Load() < rev {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pollInterval):
		}
	}
	return true
}

const pollInterval = 20 * time.Millisecond
