package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// returnTimeout is how long a client may take, once a fault has ended and all members
// serve, until it is served again: its library's longest pause between attempts, and some.
const returnTimeout = 25 * time.Second

// chapter is a part of a history that is short enough to be judged as a whole: clients
// start, faults happen, clients end, and what they saw is compared with what there is.
// It is for one goroutine.
type chapter struct {
	name    string
	cluster *ensemble.Cluster
	rec     *Recorder
	random  interface{ Uint64() uint64 }

	workers  []*worker // all of those below, to see that each is served
	etcd     []*etcdWorker
	http     []*httpWorker
	zk       []*zkWorker
	pipes    []*pipeliner
	watchers []*watcher
	livings  []*living
	graves   []dead
	// life is the timeout of sessions that must not end.
	life time.Duration
	// mortal has clients of ZooKeeper's die all the time.
	mortal bool
	// spectators watch in ways of their own.
	spectators []spectator
	// healed is when the last fault ended, by the recorder's clock; from is the revision
	// before the first of this chapter's.
	healed int64
	from   int64
	closes []func()
}

func newChapter(name string, c *ensemble.Cluster, f *faults) *chapter {
	life := liveTimeout
	if f.whole {
		life = longTimeout
	}
	return &chapter{name: name, cluster: c, rec: NewRecorder(), random: f.random, life: life}
}

// spectator is a client that watches from before the load until after it, and says what
// is wrong with what it was told once the true stream of changes is known.
type spectator interface {
	run(ctx context.Context, rec *Recorder)
	judge(stream []Event) []string
}

// The numbers of clients. Each protocol has one that knows all members, and one pinned to
// each.
const livingClients = 3

// open connects all clients.
func (c *chapter) open(ctx context.Context) error {
	kind := c.cluster.Kind
	if kind.ZooKeeper() {
		if err := c.openZK(ctx); err != nil {
			return err
		}
	}
	if !kind.Etcd() {
		return nil
	}
	all := c.cluster.EtcdEndpoints()
	sets := [][]string{all}
	for _, one := range all {
		sets = append(sets, []string{one})
	}
	for i, endpoints := range sets {
		client, err := c.etcdClient(endpoints...)
		if err != nil {
			return err
		}
		if i == 0 {
			resp, err := client.Get(ctx, mount)
			if err != nil {
				return err
			}
			c.from = resp.Header.Revision
		}
		watching, err := c.etcdClient(endpoints...)
		if err != nil {
			return err
		}
		c.watchers = append(c.watchers, &watcher{
			name: fmt.Sprintf("%d (%s)", i, strings.Join(endpoints, " ")), rec: c.rec, client: watching, from: c.from + 1,
		})
		for range 2 {
			c.etcd = append(c.etcd, &etcdWorker{c.worker(), client})
		}
		if i > 0 {
			c.http = append(c.http, &httpWorker{c.worker(), "http://" + endpoints[0]})
		}
	}
	return nil
}

func (c *chapter) worker() *worker {
	w := newWorker(len(c.workers), c.rec, c.name, c.random.Uint64())
	c.workers = append(c.workers, w)
	return w
}

func (c *chapter) etcdClient(endpoints ...string) (*clientv3.Client, error) {
	client, err := dialEtcd(endpoints...)
	if err != nil {
		return nil, err
	}
	c.closes = append(c.closes, func() { _ = client.Close() }) // its error is that of its context
	return client, nil
}

func (c *chapter) openZK(ctx context.Context) error {
	c.mortal = true
	all := c.cluster.ZKEndpoints()
	sets := [][]string{all, all}
	for _, one := range all {
		sets = append(sets, []string{one})
	}
	for i, endpoints := range sets {
		conn, _, err := zkConnect(ctx, liveTimeout, endpoints...)
		if err != nil {
			return err
		}
		c.closes = append(c.closes, conn.Close)
		for _, root := range []string{contested, pipelined, owned} {
			if _, err := conn.Create(root, nil, 0, openACL); err != nil && !errors.Is(err, zk.ErrNodeExists) {
				return fmt.Errorf("create %s: %w", root, err)
			}
		}
		c.zk = append(c.zk, &zkWorker{worker: c.worker(), conn: conn})
		if i < 2 {
			c.pipes = append(c.pipes, &pipeliner{worker: c.worker(), endpoints: all, create: func(path string) error {
				_, err := conn.Create(path, nil, 0, openACL)
				if errors.Is(err, zk.ErrNodeExists) {
					return nil // of an attempt without an answer
				}
				return err
			}})
		}
	}
	for i := range livingClients {
		l, err := newLiving(ctx, fmt.Sprintf("%s/live-%s-%d", owned, c.name, i), c.life, all)
		if err != nil {
			return err
		}
		c.closes = append(c.closes, l.conn.Close)
		c.livings = append(c.livings, l)
	}
	for i := range all {
		turned := slices.Concat(all[i:], all[:i]) // each begins elsewhere
		c.spectators = append(c.spectators, &recursive{path: contested, endpoints: turned})
	}
	return nil
}

// close ends all clients.
func (c *chapter) close() {
	for _, end := range slices.Backward(c.closes) {
		end()
	}
}

// live runs the load for a while, and faults meanwhile. An error is of the rig, or says
// that the cluster did not recover.
func (c *chapter) live(ctx context.Context, f *faults, duration time.Duration, log func(string, ...any)) error {
	loaded, stop := context.WithCancel(ctx)
	watched, unwatch := context.WithCancel(ctx)
	defer unwatch()
	defer stop()
	var load, watching sync.WaitGroup
	for _, w := range c.etcd {
		load.Go(func() { w.run(loaded) })
	}
	for _, w := range c.http {
		load.Go(func() { w.run(loaded) })
	}
	for _, w := range c.zk {
		load.Go(func() { w.run(loaded) })
	}
	for _, p := range c.pipes {
		load.Go(func() { p.run(loaded) })
	}
	if c.mortal {
		load.Go(func() { c.graves = mortals(loaded, c.rec, c.name, c.cluster.ZKEndpoints()) })
	}
	for _, l := range c.livings {
		watching.Go(func() { l.run(watched, c.rec) })
	}
	for _, w := range c.watchers {
		watching.Go(func() { w.run(watched) })
	}
	for _, s := range c.spectators {
		watching.Go(func() { s.run(watched, c.rec) })
	}
	err := c.breakThings(loaded, f, duration, log)
	stop()
	load.Wait()
	if err == nil {
		c.settle(ctx)
	}
	unwatch()
	watching.Wait()
	return err
}

// breakThings has one fault after the other until the time is up. Each must be recovered
// from: all members serve, and every client is served.
func (c *chapter) breakThings(ctx context.Context, f *faults, duration time.Duration, log func(string, ...any)) error {
	pauseFor(ctx, f.rest)
	planned := len(f.plan) > 0
	for deadline := time.Now().Add(duration); planned && len(f.plan) > 0 || !planned && time.Now().Before(deadline); {
		began := time.Now()
		name, err := f.next(ctx)
		if err != nil {
			return err
		}
		lasted := time.Since(began)
		if err := c.cluster.AwaitAll(ctx); err != nil {
			return fmt.Errorf("after %s: %w", name, err)
		}
		c.healed = c.rec.now()
		c.awaitClients(ctx, name)
		log("%s: %s, recovered after %s", name, lasted.Round(time.Millisecond), (time.Since(began) - lasted).Round(time.Millisecond))
		pauseFor(ctx, f.rest)
	}
	return nil
}

func (c *chapter) awaitClients(ctx context.Context, after string) {
	deadline := time.Now().Add(returnTimeout)
	for _, w := range c.workers {
		for w.lastOK.Load() < c.healed && time.Now().Before(deadline) {
			pauseFor(ctx, pollInterval)
		}
		if w.lastOK.Load() < c.healed {
			c.rec.find("client %d is not served %s after all members serve again, after: %s", w.id, returnTimeout, after)
		}
	}
}

// settle makes the end of the history: the watchers have it all, the dead are gone.
func (c *chapter) settle(ctx context.Context) {
	if !c.cluster.Kind.Etcd() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resp, err := c.watchers[0].client.Get(ctx, mount)
	if err != nil {
		c.rec.find("the end: %v", err)
		return
	}
	c.awaitDead(ctx)
	for _, w := range c.watchers {
		if !w.complete(ctx, resp.Header.Revision) {
			c.rec.find("watcher %s has not come to revision %d: it knows of %d", w.name, resp.Header.Revision, w.reached.Load())
		}
	}
}

// readTimeout bounds the reading of what there is, in the end: thousands of znodes of each
// member, one after the other, on a machine that may do much else.
const readTimeout = 5 * time.Minute

// awaitDead waits for the end of the sessions of dead clients, with a time that follows
// from theirs: a leader of after the last fault gives each its full timeout again.
func (c *chapter) awaitDead(ctx context.Context) {
	if len(c.livings) == 0 {
		return
	}
	conn := c.livings[0].conn
	for _, d := range c.graves {
		last := max(d.last, c.healed) + (d.timeout + expirySlack).Nanoseconds()
		for {
			there, _, err := conn.Exists(d.path)
			if err == nil && !there {
				break
			}
			if c.rec.now() > last {
				c.rec.find("%s is there %s after its client's last word, and %s after the last fault (timeout %s, %v)", d.path,
					time.Duration(c.rec.now()-d.last), time.Duration(c.rec.now()-c.healed), d.timeout, err)
				break
			}
			pauseFor(ctx, pollInterval)
		}
	}
}

// judge compares what was seen with what there is, and says what is wrong. dir is where
// the history goes if anything is.
func (c *chapter) judge(ctx context.Context, dir string) []string {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	streams := map[string][]Event{}
	operations := c.rec.Operations()
	var broken []string
	if c.cluster.Kind.Etcd() {
		operations, broken = c.judgeStreams(ctx, streams, operations)
	} else {
		c.awaitDead(ctx)
		broken = c.judgeAmongThemselves()
	}
	if c.cluster.Kind.ZooKeeper() {
		broken = append(broken, c.judgeZK(ctx)...)
	}
	broken = append(broken, c.judgeMembers(ctx)...)
	if text := Linearizable(operations, filepath.Join(dir, c.name+".html")); text != "" {
		broken = append(broken, text)
	}
	broken = append(c.rec.Findings(), broken...)
	if len(broken) > 0 {
		if err := Save(filepath.Join(dir, c.name+"-history.json"), c.rec.Operations(), streams); err != nil {
			broken = append(broken, err.Error())
		}
	}
	return broken
}

// judgeStreams reads the stream of changes from every member, and compares the watchers'
// and the operations with it.
func (c *chapter) judgeStreams(ctx context.Context, streams map[string][]Event, operations []Operation) (_ []Operation, broken []string) {
	var want []Event
	for i, endpoint := range c.cluster.EtcdEndpoints() {
		stream, err := c.stream(ctx, endpoint)
		if err != nil {
			return operations, append(broken, fmt.Sprintf("the stream of member %d: %v", i, err))
		}
		streams[fmt.Sprintf("member %d", i)] = stream
		if i == 0 {
			want = stream
		} else if text := CompareStreams(want, stream); text != "" {
			broken = append(broken, fmt.Sprintf("the stream of member %d, compared with member 0's, %s", i, text))
		}
	}
	for _, w := range c.watchers {
		streams["watcher "+w.name] = w.events
		// Whatever came after the watchers were stopped is not theirs.
		seen := min(len(want), len(w.events))
		for seen < len(want) && want[seen].Rev <= w.reached.Load() {
			seen++
		}
		if text := CompareStreams(want[:seen], w.events); text != "" {
			broken = append(broken, fmt.Sprintf("watcher %s %s", w.name, text))
		}
		for _, d := range c.graves {
			if text := d.tooEarly(w.events); text != "" {
				broken = append(broken, text)
			}
		}
	}
	for _, s := range c.spectators {
		broken = append(broken, s.judge(want)...)
	}
	for _, e := range want {
		for _, l := range c.livings {
			if e.Deleted && e.Key == mount+l.path {
				broken = append(broken, fmt.Sprintf("%v: its client lives", e))
			}
		}
	}
	resolved, more := Resolve(operations, mount+contested+"/"+c.name, want)
	return resolved, append(broken, more...)
}

// stream reads the chapter's changes from one member.
func (c *chapter) stream(ctx context.Context, endpoint string) ([]Event, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := dialEtcd(endpoint)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }() // its error is that of its context
	resp, err := client.Get(ctx, mount)
	if err != nil {
		return nil, err
	}
	w := &watcher{name: endpoint, rec: c.rec, client: client, from: c.from + 1}
	done := make(chan struct{})
	go func() { defer close(done); w.run(ctx) }()
	complete := w.complete(ctx, resp.Header.Revision)
	cancel()
	<-done
	if !complete {
		return nil, fmt.Errorf("has %d events, up to revision %d of %d", len(w.events), w.reached.Load(), resp.Header.Revision)
	}
	return w.events, nil
}
