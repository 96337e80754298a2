package etcdv3

import (
	"context"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/triglot/triglot/core"
)

// maxLeaderless is the number of election timeouts without a leader that end a
// stream which requires one. Streams are dearer to set up again than requests,
// so they get more patience.
const maxLeaderless = 3

// leaderGuard ends a stream's context when the member has known no leader for
// some election timeouts on end. It owns a timer and no goroutine.
type leaderGuard struct {
	cluster core.Cluster
	period  time.Duration
	cancel  context.CancelCauseFunc

	// mu guards the fields below it.
	mu       sync.Mutex
	timer    *time.Timer
	misses   int
	released bool
}

// guardLeader derives a context that ends, with the cause ErrGRPCNoLeader, after
// maxLeaderless periods without a leader. release ends the context and the
// guard.
func guardLeader(
	ctx context.Context, cluster core.Cluster, period time.Duration,
) (guarded context.Context, release func()) {
	guarded, cancel := context.WithCancelCause(ctx)
	g := &leaderGuard{cluster: cluster, period: period, cancel: cancel}
	g.mu.Lock()
	g.timer = time.AfterFunc(period, g.check)
	g.mu.Unlock()
	return guarded, g.release
}

func (g *leaderGuard) check() {
	leader := g.cluster.Self().Leader
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.released:
	case leader != 0:
		g.misses = 0
		g.timer.Reset(g.period)
	case g.misses+1 < maxLeaderless:
		g.misses++
		g.timer.Reset(g.period)
	default:
		g.cancel(rpctypes.ErrGRPCNoLeader)
	}
}

func (g *leaderGuard) release() {
	g.mu.Lock()
	g.released = true
	g.timer.Stop()
	g.mu.Unlock()
	g.cancel(nil)
}
