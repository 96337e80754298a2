package crash

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// prefix is that of all keys of TestKillUnderLoad.
const prefix = "crash/"

// lifeTimeout bounds everything that happens in one life of a server.
const lifeTimeout = 60 * time.Second

// life is one run of the server, from the first write to its death. Its fields
// are shared by the clients.
type life struct {
	// quota is the number of acknowledgements after which the server is killed;
	// acks counts them, half and enough are closed at half the quota and at the
	// quota.
	quota        int64
	acks         atomic.Int64
	half, enough chan struct{}
	// newest is the highest revision that any client has been told of.
	newest atomic.Int64
	// doomed is set before the server is killed: from then on errors are expected.
	doomed atomic.Bool

	mu     sync.Mutex // guards broken
	broken []error
}

// newLife begins a life that ends after quota acknowledgements, at least 2.
func newLife(quota int64) *life {
	return &life{quota: quota, half: make(chan struct{}), enough: make(chan struct{})}
}

// await returns when the quota is reached, or reports that it was not.
func (l *life) await(ctx context.Context) {
	select {
	case <-l.enough:
	case <-ctx.Done():
		l.report("only %d of %d requests were answered in %s", l.acks.Load(), l.quota, lifeTimeout)
	}
}

// report records a broken promise.
func (l *life) report(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const enough = 20 // a broken server can break a promise with every answer
	if len(l.broken) < enough {
		l.broken = append(l.broken, fmt.Errorf(format, args...))
	}
}

// failed takes the error that ended a client. Before the server's death every
// error is a broken promise.
func (l *life) failed(who string, err error) {
	if !l.doomed.Load() {
		l.report("%s: error while the server was alive: %w", who, err)
	}
}

// learned notes a revision that a client has been told of.
func (l *life) learned(rev int64) {
	for {
		old := l.newest.Load()
		if rev <= old || l.newest.CompareAndSwap(old, rev) {
			return
		}
	}
}

// acknowledged notes the answer to a write.
func (l *life) acknowledged(rev int64) {
	l.learned(rev)
	switch l.acks.Add(1) {
	case l.quota / 2:
		close(l.half)
	case l.quota:
		close(l.enough)
	}
}

// Remains is what a life leaves to be compared with the next.
type Remains struct {
	Writes []*Write
	Seen   []Revision
	// Newest is the highest revision that anyone was told of.
	Newest int64
	// Broken are the promises broken already while the server lived.
	Broken []error
}

// Load is the clients of TestKillUnderLoad over all lives of a server: writers
// with keys of their own, readers who look for torn and stale transactions, a
// keeper of leases, a watcher, and one who compacts. It is for one goroutine,
// which starts theirs and waits for them.
type Load struct {
	ledger  *Ledger
	writers []*writer
	keeper  *leaseKeeper
	readers int

	// compacted is the revision of the last compaction that was asked for, rows
	// what the store held there; acked says that it was acknowledged.
	compacted int64
	rows      map[string]Row
	acked     bool
}

// NewLoad prepares the clients. seed makes what they choose repeatable.
func NewLoad(ledger *Ledger, writers, readers int, seed uint64) *Load {
	l := &Load{ledger: ledger, keeper: newLeaseKeeper(), readers: readers}
	for i := range writers {
		l.writers = append(l.writers, newWriter(i, seed))
	}
	return l
}

// Live loads the server at endpoint until so many writes are acknowledged, then
// calls kill and waits until every client has noticed. kill must end the server.
// quota is at least 2; values are up to maxBytes long.
func (l *Load) Live(ctx context.Context, endpoint string, quota int64, maxBytes int, kill func() error) (*Remains, error) {
	ctx, cancel := context.WithTimeout(ctx, lifeTimeout)
	defer cancel()
	conns := make([]*grpc.ClientConn, 4)
	for i := range conns {
		conn, err := dial(endpoint)
		if err != nil {
			return nil, err
		}
		conns[i] = conn
	}
	life := newLife(quota)
	var wg sync.WaitGroup
	remains := &Remains{}
	watching := make(chan struct{})
	wg.Go(func() { remains.Seen = l.watch(ctx, conns[0], life, watching) })
	select { // a watch from the first write on
	case <-watching:
	case <-ctx.Done():
	}
	for i, w := range l.writers {
		w.start(l.ledger, maxBytes)
		wg.Go(func() { w.run(ctx, etcdserverpb.NewKVClient(conns[i%len(conns)]), life) })
	}
	for i := range l.readers {
		r := &reader{id: i, writers: l.writers}
		wg.Go(func() { r.run(ctx, etcdserverpb.NewKVClient(conns[(i+1)%len(conns)]), life) })
	}
	wg.Go(func() {
		l.keeper.run(ctx, etcdserverpb.NewLeaseClient(conns[1]), etcdserverpb.NewKVClient(conns[1]), life)
	})
	wg.Go(func() { l.compact(ctx, conns[2], life) })

	life.await(ctx)
	life.doomed.Store(true)
	killErr := kill()
	wg.Wait()
	for _, w := range l.writers {
		remains.Writes = append(remains.Writes, w.book...)
	}
	remains.Writes = append(remains.Writes, l.keeper.book...)
	remains.Broken = life.broken
	remains.Newest = life.newest.Load()
	return remains, errors.Join(killErr, closeAll(conns))
}

// watch records what a watcher is told while the server lives.
func (l *Load) watch(ctx context.Context, conn *grpc.ClientConn, life *life, watching chan<- struct{}) []Revision {
	var seen []Revision
	var once sync.Once
	started := func() { once.Do(func() { close(watching) }) }
	defer started()
	err := follow(ctx, conn, l.ledger.Settled()+1, started, func(r Revision) bool {
		seen = append(seen, r)
		life.learned(r.Rev)
		return true
	})
	life.failed("watcher", err)
	return seen
}

// compact gives up, in the middle of a life, the history that has been audited.
func (l *Load) compact(ctx context.Context, conn *grpc.ClientConn, life *life) {
	if l.ledger.Settled() <= max(l.compacted, 1) {
		return
	}
	select {
	case <-life.half:
	case <-ctx.Done():
		return
	}
	l.compacted, l.rows, l.acked = l.ledger.Settled(), l.ledger.Rows(), false
	_, err := etcdserverpb.NewKVClient(conn).Compact(ctx, &etcdserverpb.CompactionRequest{Revision: l.compacted})
	if err != nil {
		life.failed("compaction", err)
		return
	}
	l.acked = true
}

// Audit compares what a life has left with what the server at endpoint shows in
// its next one. Every broken promise is one error.
func (l *Load) Audit(ctx context.Context, endpoint string, remains *Remains) (broken []error) {
	ctx, cancel := context.WithTimeout(ctx, lifeTimeout)
	defer cancel()
	conn, err := dial(endpoint)
	if err != nil {
		return []error{err}
	}
	defer func() {
		if err := conn.Close(); err != nil {
			broken = append(broken, err)
		}
	}()
	broken = slices.Clone(remains.Broken)
	rows, current, err := rowsOf(ctx, conn, 0)
	if err != nil {
		return append(broken, fmt.Errorf("read the state: %w", err))
	}
	if current < remains.Newest {
		broken = append(broken, fmt.Errorf("the store is at revision %d, someone has been told of %d", current, remains.Newest))
	}
	history, err := l.history(ctx, conn, l.ledger.Settled()+1, current)
	if err != nil {
		broken = append(broken, err)
	}
	broken = append(broken, l.ledger.Audit(remains.Writes, remains.Seen, history, rows, current)...)
	broken = append(broken, l.keeper.check(ctx, etcdserverpb.NewLeaseClient(conn), l.ledger)...)
	return append(broken, l.checkCompaction(ctx, conn)...)
}

// history reads revisions through a watch and does not wait for ever for one
// that is lost.
func (l *Load) history(ctx context.Context, conn *grpc.ClientConn, from, to int64) ([]Revision, error) {
	ctx, cancel := context.WithTimeout(ctx, lifeTimeout/4)
	defer cancel()
	history, err := historyOf(ctx, conn, from, to)
	if err != nil {
		return history, fmt.Errorf("read the history from revision %d to %d, got %d revisions: %w", from, to, len(history), err)
	}
	return history, nil
}

// checkCompaction reads at the revision that was last compacted, or may have
// been, and below it.
func (l *Load) checkCompaction(ctx context.Context, conn *grpc.ClientConn) []error {
	if l.compacted == 0 {
		return nil
	}
	var broken []error
	rows, _, err := rowsOf(ctx, conn, l.compacted)
	if err != nil {
		broken = append(broken, fmt.Errorf("read at the compacted revision %d: %w", l.compacted, err))
	} else if !maps.Equal(rows, l.rows) {
		broken = append(broken, fmt.Errorf("at the compacted revision %d the rows are %v; they must be %v", l.compacted, rows, l.rows))
	}
	if l.acked {
		if _, _, err := rowsOf(ctx, conn, l.compacted-1); err == nil || !strings.Contains(err.Error(), "compacted") {
			broken = append(broken, fmt.Errorf("revision %d is compacted; a read below it gives: %w", l.compacted, err))
		}
	}
	return broken
}

// Replay reads all the history that is left and compares it with the ledger.
func (l *Load) Replay(ctx context.Context, endpoint string) (broken []error) {
	ctx, cancel := context.WithTimeout(ctx, lifeTimeout)
	defer cancel()
	conn, err := dial(endpoint)
	if err != nil {
		return []error{err}
	}
	defer func() {
		if err := conn.Close(); err != nil {
			broken = append(broken, err)
		}
	}()
	from := max(l.compacted, l.ledger.First())
	history, err := l.history(ctx, conn, from, l.ledger.Settled())
	if err != nil {
		broken = append(broken, err)
	}
	return append(broken, l.ledger.Replay(from, history)...)
}
