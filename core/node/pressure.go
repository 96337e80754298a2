package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// pressureInterval is how often the engine is looked at. To ask it takes a lock that
// writes need.
const pressureInterval = 100 * time.Millisecond

// pressureSilence is the least time between two lines of the log that say so: under a
// load at the limit it comes and goes many times a second.
const pressureSilence = 10 * time.Second

// pressure refuses writes when the engine is about to stall them, so that they fail
// with "too many requests" at once and apply is not held up, which would hold up
// everybody else too: reads of what was acknowledged, leases, and deletes.
type pressure struct{ high atomic.Bool }

// highSublevels is short of where the engine stalls writes.
const highSublevels = storage.StallSublevels * 4 / 5

// look takes in what the engine says of itself. When its memtables have reached their
// limit, three of them wait to be flushed and the fourth still has room: writes stall
// once it is full.
func (p *pressure) look(m storage.Metrics) {
	p.high.Store(m.MemTableBytes >= m.MemTableLimit || m.L0Sublevels >= highSublevels)
}

// watch looks at the engine until ctx ends.
func (p *pressure) watch(ctx context.Context, n *Node) {
	tick := time.NewTicker(pressureInterval)
	defer tick.Stop()
	var said time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		e := n.disk.holdEngine()
		p.look(e.db.Metrics())
		e.release()
		if p.high.Load() && time.Since(said) >= pressureSilence {
			said = time.Now()
			n.cfg.Logger.Warn("the engine falls behind: writes are refused until it has caught up")
		}
	}
}

// refuses reports whether a client's command is to be refused now. Leases, sessions
// and what an administrator asks for take little room.
func (p *pressure) refuses(cmd core.Command) bool {
	if !p.high.Load() {
		return false
	}
	switch cmd.(type) {
	case *core.Put, *core.DeleteRange, *core.Txn, *core.ZnodeWrite:
		return true
	}
	return false
}
