package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/core/watch"
)

// Node is a running member.
type Node struct {
	cfg     Config
	disk    *disk
	metrics *metrics

	driver     *consensus.Driver
	peers      peers
	hub        *watch.Hub
	leases     leases
	sessions   sessions
	auth       auth
	upkeep     *upkeep
	pressure   pressure
	corruption corruption

	published published
	standing  standing

	// fault holds the first fault that the member cannot go on after.
	fault chan error

	// stop closes stopping and so ends the goroutines that wait is for.
	stop     context.CancelFunc
	stopping <-chan struct{}
	wait     sync.WaitGroup
	ended    sync.Once
	// introduced is closed when the cluster knows this member.
	introduced chan struct{}
}

var (
	_ core.Store       = (*Node)(nil)
	_ core.Leases      = (*leases)(nil)
	_ core.Sessions    = (*sessions)(nil)
	_ core.Znodes      = znodes{}
	_ core.Cluster     = (*Node)(nil)
	_ core.Maintenance = (*Node)(nil)
)

// Start opens the member in cfg's data directory, or founds it there, and runs
// it until Stop. It returns once the member takes requests, which wait for a
// leader. The error says what an operator can do.
func Start(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, fault: make(chan error, 1), introduced: make(chan struct{})}
	n.standing.init()
	if err := n.auth.init(n); err != nil {
		return nil, err
	}
	n.metrics = newMetrics(n)
	disk, err := openDisk(&cfg, n.metrics, n.fail)
	if err != nil {
		return nil, n.faultOr(err)
	}
	n.disk = disk
	if err := n.start(); err != nil {
		return nil, errors.Join(n.faultOr(err), disk.close())
	}
	if err := n.metrics.register(cfg.Metrics); err != nil {
		return nil, errors.Join(err, n.Stop(context.Background()))
	}
	return n, nil
}

func (n *Node) start() error {
	var err error
	if n.auth.from, err = n.disk.log.LastIndex(); err != nil {
		return err
	}
	e := n.disk.engine()
	if e.collector, err = n.newCollector(e.db); err != nil {
		return err
	}
	view, _, err := e.machine.Commit()
	if err != nil {
		return err
	}
	n.published.init(view)
	n.peers.init(n, view.Members())
	n.hub = watch.New(watch.Options{
		RingBytes:  int(n.cfg.Memory.Ring),
		History:    n,
		Current:    n.published.rev,
		Start:      view.Rev(),
		CompactRev: view.CompactRev(),
	})
	ctx, stop := context.WithCancel(context.Background())
	n.stop, n.stopping = stop, ctx.Done()
	n.leases.init(n)
	n.sessions.leases = &n.leases
	n.corruption.init(n)
	n.upkeep = newUpkeep(n)
	n.peers.states.init(ctx, n)
	n.peers.changes.init(n)
	if err := n.startConsensus(ctx, view); err != nil {
		stop()
		n.hub.Close()
		n.published.close()
		return err
	}
	if err := n.peers.start(); err != nil {
		return errors.Join(err, n.end(context.Background()))
	}
	n.auth.passwords.start(ctx, n.wait.Go)
	n.wait.Go(func() { n.leases.keepTime(ctx) })
	n.wait.Go(func() { n.leases.expireOverdue(ctx) })
	if n.clustered() {
		n.wait.Go(func() { n.leases.renewals.run(ctx) })
		n.wait.Go(func() { n.sessions.watchContact(ctx) })
	}
	n.wait.Go(func() { n.upkeep.keepLogShort(ctx) })
	n.wait.Go(func() { n.upkeep.collectHistory(ctx) })
	n.wait.Go(func() { n.upkeep.raiseAlarms(ctx) })
	n.wait.Go(func() { newLowDisk(n).watch(ctx) })
	n.wait.Go(func() { n.pressure.watch(ctx, n) })
	n.wait.Go(func() { n.autoCompact(ctx) })
	n.wait.Go(func() { n.reap(ctx) })
	n.wait.Go(func() { n.peers.changes.run(ctx) })
	n.wait.Go(func() { n.corruption.sumUp(ctx) })
	n.wait.Go(func() { n.corruption.watch(ctx) })
	n.wait.Go(func() { n.introduce(ctx) })
	return nil
}

func (n *Node) startConsensus(ctx context.Context, view *state.View) error {
	if view.RemovedMember(n.disk.id.member) {
		return ErrRemoved
	}
	if self := memberIn(view.Members(), n.disk.id.member); self != nil {
		n.standing.learner.Store(self.Learner)
	}
	var voters, learners []core.MemberID
	for _, m := range view.Members() {
		if m.Learner {
			learners = append(learners, m.ID)
		} else {
			voters = append(voters, m.ID)
		}
	}
	n.disk.log.SetMembers(voters, learners)
	a, log := newApplier(n), consensus.NewTimedLog(n.disk.log)
	driver, err := consensus.Start(consensus.Config{
		ID:              n.disk.id.member,
		Log:             log,
		Applied:         view.Index(),
		Applier:         a,
		Incarnation:     a.incarnation,
		TickInterval:    n.cfg.Timing.Heartbeat,
		ElectionTimeout: n.cfg.Timing.Election,
		EarlyElection:   !n.cfg.Timing.LateElection,
		OnLeadership:    n.leases.leadership,
		Send:            n.peers.send,
		Fetch:           n.fetchState,
		Appending:       a.ahead.appending,
		Logger:          n.cfg.Logger,
	})
	if err != nil {
		return fmt.Errorf("start consensus: %w", err)
	}
	n.driver = driver
	n.wait.Go(func() { a.ahead.run(ctx) })
	hung := hungDisk{log: log, self: n.disk.id.member, election: n.cfg.Timing.Election, logger: n.cfg.Logger}
	n.wait.Go(func() { hung.watch(ctx, driver) })
	n.wait.Go(func() {
		select {
		case err := <-driver.Failed():
			n.fail(err)
		case <-n.stopping:
		}
	})
	return nil
}

// Leases gives access to the member's leases.
func (n *Node) Leases() core.Leases { return &n.leases }

// fail reports a fault that ends the member. Only the first counts.
func (n *Node) fail(err error) {
	select {
	case n.fault <- err:
	default:
	}
}

// faultOr is the fault if there was one, which says more than what came of it: which file
// is damaged.
func (n *Node) faultOr(err error) error {
	select {
	case fault := <-n.fault:
		return fault
	default:
		return err
	}
}

// ErrRemoved is the fault of a member that the cluster has removed.
var ErrRemoved = errors.New("this member was removed from the cluster: its data directory is of no use any more; " +
	"to run it again, add it as a new member and start it with an empty one")

// Failed delivers the fault that the member cannot go on after: a failed sync, a
// corrupt entry, a broken engine. The process must end, with that one line; what
// was acknowledged is safe.
func (n *Node) Failed() <-chan error { return n.fault }

// Stop ends the member: requests under way fail with Stopped, all goroutines
// end, the state is flushed so that the next start has nothing to replay. If ctx
// ends first, the flush is left out. Only the first call does anything; it
// returns when the member has ended.
func (n *Node) Stop(ctx context.Context) error {
	var err error
	n.ended.Do(func() { err = n.end(ctx) })
	return err
}

func (n *Node) end(ctx context.Context) error {
	n.handOver(ctx)
	n.stop()
	errs := []error{n.driver.Stop()}
	n.peers.stop()
	n.hub.Close()
	n.wait.Wait()
	n.corruption.close()
	n.published.close()
	if err := n.awaitViews(); err != nil {
		return errors.Join(append(errs, err)...) // the engine must stay as it is
	}
	if ctx.Err() == nil {
		errs = append(errs, n.disk.engine().db.Flush())
	}
	errs = append(errs, n.peers.states.outgoing.close())
	n.metrics.unregister(n.cfg.Metrics)
	return errors.Join(append(errs, n.disk.close())...)
}

// Ready returns once the member serves: it has applied all that was acknowledged
// before it started, and the cluster knows its name and client URLs. It fails
// with Stopped, or when ctx ends.
func (n *Node) Ready(ctx context.Context) error {
	select {
	case <-n.introduced:
		return nil
	case <-n.stopping:
		return core.Stopped
	case <-ctx.Done():
		return core.ContextError(ctx.Err())
	}
}

// viewGrace is how long Stop waits for reads that are under way.
const viewGrace = time.Second

// awaitViews waits until nobody reads any more.
func (n *Node) awaitViews() error {
	for deadline := time.Now().Add(viewGrace); n.disk.openViews() > 0; {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d reads were still under way after %v: the state was not closed; nothing is lost", n.disk.openViews(), viewGrace)
		}
		<-time.After(time.Millisecond)
	}
	return nil
}
