package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-zookeeper/zk"
)

const (
	zkRoot = "/crash"
	// workerTimeout is longer than a server is away, ghostTimeout as short as the
	// test's tick allows.
	workerTimeout = 20 * time.Second
	ghostTimeout  = 2 * time.Second
)

var openACL = zk.WorldACL(zk.PermAll)

// mute is a logger for a client whose server dies again and again.
type mute struct{}

func (mute) Printf(string, ...any) {}

// zkConnect waits for a session.
func zkConnect(ctx context.Context, endpoint string, timeout time.Duration) (*zk.Conn, error) {
	conn, events, err := zk.Connect([]string{endpoint}, timeout, zk.WithLogger(mute{}))
	if err != nil {
		return nil, err
	}
	for {
		select {
		case e := <-events:
			if e.State == zk.StateHasSession {
				return conn, nil
			}
		case <-ctx.Done():
			conn.Close()
			return nil, fmt.Errorf("connect to %s: %w", endpoint, ctx.Err())
		}
	}
}

// zkWorker writes a tree of its own, in a session that outlives the server. It
// belongs to one goroutine.
type zkWorker struct {
	id      int
	random  *rand.Rand
	conn    *zk.Conn
	session int64
	written int
	// sure is what every answer so far amounts to; maybe is the tree if the request
	// that was under way when the server died was done, nil if there is none.
	sure, maybe tree
	newest      int64
	// losses counts the connections lost while the server lived.
	losses int
}

// What a worker's tree holds.
const (
	zkData   = 5 // /d0 ... come and go
	zkGroup  = 4 // /g0 ... are written together by multis
	zkOwned  = 3 // /e0 ... are ephemeral
	zkQueued = 6 // of /q at most, sequential, some of them ephemeral
)

func (w *zkWorker) name() string                 { return fmt.Sprintf("ZooKeeper worker %d", w.id) }
func (w *zkWorker) base() string                 { return fmt.Sprintf("%s/w%d", zkRoot, w.id) }
func (w *zkWorker) at(kind string, i int) string { return fmt.Sprintf("%s/%s%d", w.base(), kind, i) }
func (w *zkWorker) queue() string                { return w.base() + "/q" }

// newZKWorker starts a session and makes what is always there.
func newZKWorker(ctx context.Context, endpoint string, id int, seed uint64) (*zkWorker, error) {
	conn, err := zkConnect(ctx, endpoint, workerTimeout)
	if err != nil {
		return nil, err
	}
	w := &zkWorker{
		id: id, random: rand.New(rand.NewPCG(seed, uint64(1000+id))),
		conn: conn, session: conn.SessionID(), sure: tree{},
	}
	paths := []string{w.base(), w.queue()}
	for i := range zkGroup {
		paths = append(paths, w.at("g", i))
	}
	for _, path := range paths {
		c := change{kind: changeCreate, path: path}
		if _, err := w.create(c); err != nil {
			conn.Close()
			return nil, fmt.Errorf("create %s: %w", path, err)
		}
		w.sure = w.sure.after(c)
	}
	return w, nil
}

// run writes until the server is dead. A connection may be lost before: a server
// whose disk is slow closes it rather than leave a request without an answer. Then
// the session goes on with another one, and nothing but that request is unsure.
func (w *zkWorker) run(ctx context.Context, life *life) {
	for {
		err := w.step(life)
		if err == nil {
			continue
		}
		if lost(err) && !life.doomed.Load() {
			w.losses++
			err = w.audit(ctx, life.doomed.Load)
		}
		if err != nil {
			life.failed(w.name(), err)
			return
		}
	}
}

// lost says that an error is of the connection, not an answer.
func lost(err error) bool {
	return errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer)
}

// step makes one request.
func (w *zkWorker) step(life *life) error {
	w.written++
	value := fmt.Sprintf("w%d-%d", w.id, w.written)
	data, owned := w.at("d", w.random.IntN(zkData)), w.at("e", w.random.IntN(zkOwned))
	queued := w.sure.children(w.queue())
	switch choice := w.random.IntN(12); {
	case choice < 4:
		return w.do(life, w.setOrCreate(data, value))
	case choice < 5:
		return w.do(life, w.toggle(change{kind: changeCreate, path: data, value: value}))
	case choice < 7:
		return w.do(life, w.toggle(change{kind: changeCreate, path: owned, value: value, owner: w.session}))
	case choice < 9 && len(queued) < zkQueued:
		return w.do(life, w.enqueue(value))
	case choice < 9:
		return w.do(life, change{kind: changeDelete, path: queued[0]})
	case choice < 11:
		changes := []change{w.enqueue(value)}
		if len(queued) > 0 {
			changes = append(changes, change{kind: changeDelete, path: queued[0]})
		}
		for i := range zkGroup {
			changes = append(changes, change{kind: changeSet, path: w.at("g", i), value: value})
		}
		return w.multi(life, changes)
	default:
		return w.failingMulti(life, value)
	}
}

func (w *zkWorker) setOrCreate(path, value string) change {
	if _, there := w.sure[path]; there {
		return change{kind: changeSet, path: path, value: value}
	}
	return change{kind: changeCreate, path: path, value: value}
}

// toggle deletes what a change would create if it is there.
func (w *zkWorker) toggle(c change) change {
	if _, there := w.sure[c.path]; there {
		return change{kind: changeDelete, path: c.path}
	}
	return c
}

// enqueue is the creation of the next znode of the queue.
func (w *zkWorker) enqueue(value string) change {
	c := change{kind: changeCreate, path: w.queue() + "/s-", value: value, sequential: true}
	if w.random.IntN(2) == 0 {
		c.owner = w.session
	}
	return c
}

// do makes one change, which must succeed.
func (w *zkWorker) do(life *life, c change) error {
	w.maybe = w.sure.after(c)
	var mzxid int64
	var err error
	switch c.kind {
	case changeCreate:
		var path string
		if path, err = w.create(c); err == nil && path != w.sure.name(c) {
			life.report("%s: created %s, it must be %s", w.name(), path, w.sure.name(c))
		}
	case changeSet:
		var stat *zk.Stat
		if stat, err = w.conn.Set(c.path, []byte(c.value), w.sure[c.path].version); err == nil {
			mzxid = w.checkSet(life, c.path, stat)
		}
	case changeDelete:
		err = w.conn.Delete(c.path, w.sure[c.path].version)
	}
	if err != nil {
		return fmt.Errorf("%v: %w", c, err)
	}
	w.settle(life, map[string]int64{c.path: mzxid})
	return nil
}

func (w *zkWorker) create(c change) (string, error) {
	return w.conn.Create(c.path, []byte(c.value), c.flags(), openACL)
}

func (c change) flags() (flags int32) {
	if c.owner != 0 {
		flags |= zk.FlagEphemeral
	}
	if c.sequential {
		flags |= zk.FlagSequence
	}
	return flags
}

// checkSet checks the stat that answers a set, and returns its mzxid.
func (w *zkWorker) checkSet(life *life, path string, stat *zk.Stat) int64 {
	if want := w.sure[path].version + 1; stat.Version != want {
		life.report("%s: %s is at version %d after a set, it must be at %d", w.name(), path, stat.Version, want)
	}
	if stat.Mzxid <= w.newest {
		life.report("%s: %s was set at zxid %d, after one at %d", w.name(), path, stat.Mzxid, w.newest)
	}
	return stat.Mzxid
}

// settle makes what was asked for the truth.
func (w *zkWorker) settle(life *life, mzxids map[string]int64) {
	w.sure, w.maybe = w.maybe, nil
	for path, mzxid := range mzxids {
		if z, there := w.sure[path]; there && mzxid != 0 {
			z.mzxid = mzxid
			w.sure[path] = z
			w.newest = max(w.newest, mzxid)
		}
	}
	life.acknowledged(w.newest)
}

// multi makes several changes at once, which must succeed.
func (w *zkWorker) multi(life *life, changes []change) error {
	w.maybe = w.sure.after(changes...)
	results, err := w.conn.Multi(w.requests(changes)...)
	if err != nil {
		return fmt.Errorf("multi: %w", err)
	}
	if len(results) != len(changes) {
		life.report("%s: a multi of %d operations has %d results", w.name(), len(changes), len(results))
		return errors.New("a broken answer")
	}
	mzxids := map[string]int64{}
	for i, c := range changes {
		switch {
		case results[i].Error != nil:
			life.report("%s: operation %d of a multi failed: %v: %w", w.name(), i, c, results[i].Error)
		case c.kind == changeCreate && results[i].String != w.sure.name(c):
			life.report("%s: a multi created %s, it must be %s", w.name(), results[i].String, w.sure.name(c))
		case c.kind == changeSet:
			mzxids[c.path] = w.checkSet(life, c.path, results[i].Stat)
		}
	}
	w.settle(life, mzxids)
	return nil
}

// failingMulti makes changes, and then asks for what cannot be: nothing may happen.
func (w *zkWorker) failingMulti(life *life, value string) error {
	w.maybe = nil
	g0 := w.at("g", 0)
	requests := w.requests([]change{w.enqueue(value), {kind: changeSet, path: g0, value: value}})
	requests = append(requests, &zk.CheckVersionRequest{Path: w.at("g", 1), Version: w.sure[g0].version + 7})
	_, err := w.conn.Multi(requests...)
	switch {
	case err == nil:
		life.report("%s: a multi that must fail did not", w.name())
	case !errors.Is(err, zk.ErrBadVersion):
		return fmt.Errorf("failing multi: %w", err)
	}
	life.acknowledged(w.newest)
	return nil
}

func (w *zkWorker) requests(changes []change) []any {
	var requests []any
	for _, c := range changes {
		switch c.kind {
		case changeCreate:
			requests = append(requests, &zk.CreateRequest{Path: c.path, Data: []byte(c.value), Acl: openACL, Flags: c.flags()})
		case changeSet:
			requests = append(requests, &zk.SetDataRequest{Path: c.path, Data: []byte(c.value), Version: w.sure[c.path].version})
		case changeDelete:
			requests = append(requests, &zk.DeleteRequest{Path: c.path, Version: w.sure[c.path].version})
		}
	}
	return requests
}

// audit waits for the session to be back, on the server's next life perhaps, and
// compares the tree with what it must be. It gives up when hopeless returns true.
func (w *zkWorker) audit(ctx context.Context, hopeless func() bool) error {
	actual, err := w.readWhenBack(ctx, hopeless)
	if err != nil {
		return fmt.Errorf("%s: %w", w.name(), err)
	}
	if now := w.conn.SessionID(); now != w.session {
		return fmt.Errorf("%s: session %x did not live on: it is %x now", w.name(), w.session, now)
	}
	if err := judge(w.sure, w.maybe, actual); err != nil {
		return fmt.Errorf("%s: %w", w.name(), err)
	}
	w.sure, w.maybe = actual, nil
	for _, z := range actual {
		w.newest = max(w.newest, z.mzxid)
	}
	return nil
}

func never() bool { return false }

// readWhenBack reads the tree as soon as there is a connection.
func (w *zkWorker) readWhenBack(ctx context.Context, hopeless func() bool) (tree, error) {
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		actual, err := readTree(w.conn, w.base())
		if !lost(err) || hopeless() {
			return actual, err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("no connection: %w", err)
		}
	}
}

// readTree reads a znode and all below it.
func readTree(conn *zk.Conn, path string) (tree, error) {
	value, stat, err := conn.Get(path)
	if err != nil {
		return nil, err
	}
	t := tree{path: {
		value: string(value), version: stat.Version, owner: stat.EphemeralOwner,
		creates: (stat.Cversion + stat.NumChildren) / 2, // S1
		mzxid:   stat.Mzxid,
	}}
	if stat.NumChildren == 0 {
		return t, nil
	}
	names, _, err := conn.Children(path)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		below, err := readTree(conn, path+"/"+name)
		if err != nil {
			return nil, err
		}
		for p, z := range below {
			t[p] = z
		}
	}
	return t, nil
}
