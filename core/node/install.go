package node

import (
	"errors"
	"fmt"
	"os"

	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/failpoint"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/storage"
)

// install replaces the state by one that was fetched. It runs on the apply goroutine.
//
// The received state becomes the member's by one renaming, durable before anything
// else happens; a crash before it leaves the old state and the log that goes with it, one
// after it the new state, behind which the next start begins a new log (disk.align). Views
// of the old state are read on: its engine stays open, and its files where they are,
// until the last of them is closed.
//
// The order is that of applier.Apply: the view is published before anyone hears of what
// it shows. It is ahead of all earlier ones, as consensus installs nothing else.
func (n *Node) install(s consensus.Installed) error {
	n.metrics.states.installing.Set(1)
	defer n.metrics.states.installing.Set(0)
	next, err := n.disk.openInstalled(s)
	if err != nil {
		return fmt.Errorf("install the state of member %x as of entry %d: %w", uint64(s.From), s.Index, err)
	}
	if next.collector, err = n.newCollector(next.db); err != nil {
		return err
	}
	view, _, err := next.machine.Commit()
	if err != nil {
		return err
	}
	n.auth.installed()
	old := n.disk.setEngine(next)
	n.published.publish(view)
	n.hub.Reset(view.Rev(), view.CompactRev())
	n.sessions.interrupt()
	n.membersChanged(view)
	n.upkeep.installed()
	n.disk.retire(old)
	n.cfg.Logger.Info("applied snapshot", "from", fmt.Sprintf("%x", uint64(s.From)), "index", s.Index, "revision", view.Rev())
	return nil
}

// installed is told of a state that was replaced. Which tokens came and went meanwhile is
// not known here; a client whose token is not good logs in again.
func (a *auth) installed() { a.tokens.Clear() }

// installed is told of a state that was replaced: nothing of it has to be flushed, and
// what history is in it is the new engine's to say.
func (u *upkeep) installed() {
	u.commands.Store(0)
	u.rows.Store(0)
	u.mu.Lock()
	u.durable = u.n.disk.engine().collector.Collected()
	u.mu.Unlock()
	signal(u.compacted)
}

// openInstalled makes a received state the present one on disk, durably, and opens it.
// The caches are those of the new state from then on; readers of the old one find in them
// only what is true for both.
func (d *disk) openInstalled(s consensus.Installed) (*engine, error) {
	if at, _ := d.engine().machine.Applied(); s.Index <= at {
		return nil, fmt.Errorf("the state here is at entry %d already", at)
	}
	failpoint.Hit(failpoint.RaftBeforeSaveSnap)
	path, err := d.dir.adopt(s.Dir)
	if err != nil {
		return nil, err
	}
	failpoint.Hit(failpoint.RaftAfterSaveSnap)
	failpoint.Hit(failpoint.ApplyBeforeOpenSnapshot)
	db, err := storage.Open(path, d.engineOptions)
	if err != nil {
		return nil, err
	}
	e := &engine{db: db}
	d.caches.Versions.Clear(s.Index)
	d.caches.Rows.Clear(s.Index)
	if err := d.checkCluster(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if e.machine, err = state.Open(db, d.caches); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if index, term := e.machine.Applied(); index != s.Index || term != s.Term {
		return nil, errors.Join(fmt.Errorf("it is as of entry %d of term %d, not of term %d", index, term, s.Term), e.machine.Close(), db.Close())
	}
	names, err := d.dir.fs.List(d.dir.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, e.machine.Close(), db.Close())
	}
	// What was received beside it, while it waited, is older, or is fetched again.
	return e, d.dir.removeReceived(names)
}
