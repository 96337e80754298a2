package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// heldDisk holds up the syncs of a raft log while it is told to.
type heldDisk struct {
	mu   sync.Mutex
	held chan struct{} // nil if not
}

func (d *heldDisk) hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = make(chan struct{})
}

func (d *heldDisk) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held != nil {
		close(d.held)
		d.held = nil
	}
}

func (d *heldDisk) fs(fs storage.FS) storage.FS {
	return storage.WithFaults(fs, func(f storage.Fault) error {
		if !f.Sync || !strings.Contains(f.Path, "data/log/") {
			return nil
		}
		d.mu.Lock()
		held := d.held
		d.mu.Unlock()
		if held != nil {
			<-held
		}
		return nil
	})
}

// TestLeaderWithAHungDisk hangs the disk of the leader: another leads within a few election
// timeouts, what had been acknowledged is there, the followers' clients write on; and
// when the disk comes back the member has all of it, what it was not able to write too.
func TestLeaderWithAHungDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disks := make([]heldDisk, 3)
		c := newTestCluster(t, 3, func(i int, cfg *Config) { cfg.FS = disks[i].fs(cfg.FS) })
		t.Cleanup(func() { // before the members are stopped
			for i := range disks {
				disks[i].release()
			}
		})
		leader := c.waitLeader()
		putMany(t, c.nodes[leader], 0, 20)
		c.waitApplied()

		disks[leader].hold()
		began := time.Now()
		written := make(chan error, 1)
		go func() { written <- c.tryPut(leader, "stuck", "1", 10*time.Second) }()
		next := c.waitLeader(leader)
		t.Logf("another leads after %v, with an election timeout of %v", time.Since(began), testElection)
		for i := range 10 {
			require.NoError(t, c.tryPut(next, fmt.Sprintf("after%d", i), "1", 5*time.Second))
		}
		require.Equal(t, "19", get(t, c.nodes[next], "k0019"))

		disks[leader].release()
		err := <-written // it is not known, or it was applied when the disk came back
		require.True(t, err == nil || core.KindOf(err) == core.LeaderChanged || core.KindOf(err) == core.Deadline, "%v", err)
		c.waitApplied()
		require.Equal(t, "1", c.local(leader, "after9"))
	})
}

// TestAllDisksSlow has every sync of every log take about an election timeout and more:
// writes take their time, and leadership is not passed on and on.
func TestAllDisksSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		c := newTestCluster(t, 3, func(_ int, cfg *Config) {
			cfg.FS = storage.WithFaults(cfg.FS, func(f storage.Fault) error {
				if slow.Load() && f.Sync && strings.Contains(f.Path, "data/log/") {
					<-time.After(testElection + rand.N(testElection/2))
				}
				return nil
			})
		})
		t.Cleanup(func() { slow.Store(false) })
		leader := c.waitLeader()
		term := c.nodes[leader].Self().Term
		slow.Store(true)
		for i := range 3 {
			c.eventually("a write is done", func() bool { return c.tryPut(leader, "k", fmt.Sprint(i), 10*time.Second) == nil })
		}
		require.Equal(t, term, c.nodes[leader].Self().Term, "slow disks cost no leader")
	})
}

// TestSlowDisk has all syncs of a log take three election timeouts: writes take their
// time, and that is all. Nothing fails, no lease runs out whose client renews it, and the
// lone member leads on in its term.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		cfg := testConfig(t)
		cfg.Timing = Timing{Heartbeat: 20 * time.Millisecond, Election: 100 * time.Millisecond}
		cfg.FS = storage.WithFaults(cfg.FS, func(f storage.Fault) error {
			if slow.Load() && f.Sync && strings.Contains(f.Path, "data/log/") {
				<-time.After(3 * cfg.Timing.Election)
			}
			return nil
		})
		n := startNode(t, cfg)
		_, err := n.Do(testContext(t), core.Principal{}, &core.LeaseGrant{ID: 1, TTL: time.Second})
		require.NoError(t, err)
		term := n.Status().Term
		slow.Store(true)
		stop := make(chan struct{})
		var renewing sync.WaitGroup
		renewing.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					_, err := n.Leases().KeepAlive(testContext(t), core.Principal{}, 1)
					require.NoError(t, err)
				case <-stop:
					return
				}
			}
		})
		for i := range 3 {
			began := time.Now()
			put(t, n, "k", fmt.Sprint(i))
			require.GreaterOrEqual(t, time.Since(began), 3*cfg.Timing.Election, "nothing is acknowledged before its sync")
		}
		close(stop)
		renewing.Wait()
		require.Equal(t, term, n.Status().Term)
		slow.Store(false)
		stopNode(t, n)
	})
}

// TestFailedSyncOfTheLeader: a leader whose disk refuses a sync stops rather than lie, and
// the others go on without it; what was acknowledged is there.
func TestFailedSyncOfTheLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var broken [3]atomic.Bool
		c := newTestCluster(t, 3, func(i int, cfg *Config) {
			cfg.FS = storage.WithFaults(cfg.FS, func(f storage.Fault) error {
				if f.Sync && broken[i].Load() {
					return errors.New("the disk is broken")
				}
				return nil
			})
		})
		leader := c.waitLeader()
		putMany(t, c.nodes[leader], 0, 20)
		broken[leader].Store(true)
		require.Error(t, c.tryPut(leader, "lost", "1", 5*time.Second), "nobody knows what became of it")
		require.ErrorContains(t, <-c.nodes[leader].Failed(), "the disk is broken")
		broken[leader].Store(false) // the process would have ended, here it is stopped
		require.ErrorContains(t, c.nodes[leader].Stop(context.Background()), "the disk is broken")
		c.nodes[leader] = nil
		next := c.waitLeader()
		checkMany(t, c.nodes[next], 20)
		put(t, c.nodes[next], "after", "1")

		c.start(leader)
		c.eventually("it is back", func() bool { return c.local(leader, "after") == "1" })
		checkMany(t, c.nodes[leader], 20)
	})
}
