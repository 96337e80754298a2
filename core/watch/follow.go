package watch

import (
	"slices"

	"github.com/triglot/triglot/core"
)

// following implements core.Following. It exists for the dispatcher only while
// somebody listens.
type following struct {
	hub      *Hub
	follower core.Follower

	// The dispatcher's lock guards these.
	listeners int
	closed    bool
}

var _ core.Following = (*following)(nil)

// Follow tells f of whole revisions, as the dispatcher comes to them, while
// somebody listens. There is no queue in between, and no catching up: what the
// ring has lost is lost.
func (h *Hub) Follow(f core.Follower) core.Following { return &following{hub: h, follower: f} }

// Listen implements core.Following. Once the hub is closed it does nothing.
func (g *following) Listen() core.Rev {
	d := &g.hub.dispatcher
	current := g.hub.options.Current()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || g.closed {
		return d.dispatched
	}
	if g.listeners == 0 {
		_, d.dispatched = d.ring.listen()
	}
	// A view is published a moment before its revisions are, and may have been seen.
	d.reach(d.ring.await(current))
	if g.listeners == 0 { // not before: the follower is told of what comes now
		d.followings = append(d.followings, g)
	}
	g.listeners++
	return d.dispatched
}

// Unlisten implements core.Following.
func (g *following) Unlisten() {
	d := &g.hub.dispatcher
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.listeners == 0 {
		return // closed meanwhile, or the hub
	}
	if g.listeners--; g.listeners == 0 {
		d.unfollow(g)
	}
}

// Close implements core.Following. When it returns, the follower is told nothing
// any more.
func (g *following) Close() {
	d := &g.hub.dispatcher
	d.mu.Lock()
	defer d.mu.Unlock()
	g.closed = true
	if g.listeners > 0 {
		g.listeners = 0
		d.unfollow(g)
	}
}

// unfollow forgets g, to which nobody listens. The revisions that it was not told
// of are then no longer its own.
func (d *dispatcher) unfollow(g *following) {
	i := slices.Index(d.followings, g)
	d.followings = slices.Delete(d.followings, i, i+1)
	d.ring.unlisten(1)
}

// tell tells the followers of the revisions up to upTo, the first of batch.
//
// It comes after the feeds' queues have been filled, since only then is upTo known,
// and before their consumers are woken: a ZooKeeper client's answers wait for this
// call, an etcd client's wait for nothing, and a thousand wake-ups take longer than
// all else here.
func (d *dispatcher) tell(batch []entry, upTo core.Rev) {
	if len(d.followings) == 0 {
		return
	}
	revs := d.revs[:0]
	for i := range batch {
		if batch[i].rev.Rev > upTo {
			break
		}
		revs = append(revs, batch[i].rev)
	}
	for _, g := range d.followings {
		g.follower.Revisions(revs, upTo)
	}
	clear(revs)
}
