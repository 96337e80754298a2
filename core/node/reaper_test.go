package node

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// reaperRig is a member whose clock a test owns, with a session, 7.
type reaperRig struct {
	*testing.T
	n *Node
}

func onReaper(t *testing.T, reaper Reaper, f func(r *reaperRig)) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t)
		cfg.Reaper = reaper
		n := startNode(t, cfg)
		defer stopNode(t, n)
		require.NoError(t, n.Ready(testContext(t)))
		openSession(t, n, 7, 24*time.Hour)
		f(&reaperRig{t, n})
	})
}

func (r *reaperRig) write(op core.ZnodeOp) {
	op.OpenACL, op.Version = true, core.AnyVersion
	_, err := r.n.Do(testContext(r), core.Principal{}, &core.ZnodeWrite{
		Session: core.SessionRef{ID: 7, Epoch: 1}, Ops: []core.ZnodeOp{op},
	})
	require.NoError(r, err)
}

func (r *reaperRig) create(path string, kind core.ZnodeKind, ttl time.Duration) {
	r.write(core.ZnodeOp{Type: core.ZnodeCreate, Path: path, Kind: kind, TTL: ttl})
}

// children are the names below the root, but for ZooKeeper's own.
func (r *reaperRig) children() int {
	v, err := r.n.View(testContext(r), core.Principal{}, core.Consistency{})
	require.NoError(r, err)
	defer v.Close()
	_, z, err := v.Znodes().Children(testContext(r), "/")
	require.NoError(r, err)
	return int(z.NumChildren) - 1
}

// E2, E3: the reaper takes containers that have been used and are empty, and znodes
// whose time is over, and nothing else; each in a revision of its own.
func TestReaper(t *testing.T) {
	onReaper(t, Reaper{}, func(r *reaperRig) {
		r.create("/fresh", core.ZnodeContainer, 0)
		r.create("/used", core.ZnodeContainer, 0)
		r.create("/used/child", core.ZnodePersistent, 0)
		r.create("/full", core.ZnodeContainer, 0)
		r.create("/full/child", core.ZnodePersistent, 0)
		r.create("/long", core.ZnodeTTL, 90*time.Second)
		r.create("/written", core.ZnodeTTL, 90*time.Second)
		r.create("/ephemeral", core.ZnodeEphemeral, 0)
		r.write(core.ZnodeOp{Type: core.ZnodeDelete, Path: "/used/child"})
		require.Equal(t, 6, r.children())
		before := r.n.Status().Rev

		pass(70 * time.Second)
		require.Equal(t, 5, r.children(), "/used is gone")
		r.write(core.ZnodeOp{Type: core.ZnodeSetData, Path: "/written"})
		pass(60 * time.Second)
		require.Equal(t, 4, r.children(), "/long is gone")
		pass(60 * time.Second)
		require.Equal(t, 3, r.children(), "/written is gone")
		pass(time.Hour)
		require.Equal(t, 3, r.children())
		require.Equal(t, before+4, r.n.Status().Rev)
	})
}

// A container that is never used is kept for ever unless that is asked for.
func TestReaperOfUnusedContainers(t *testing.T) {
	onReaper(t, Reaper{NeverUsed: 5 * time.Minute, CheckInterval: time.Second}, func(r *reaperRig) {
		r.create("/fresh", core.ZnodeContainer, 0)
		pass(5*time.Minute - time.Second)
		require.Equal(t, 1, r.children())
		pass(3 * time.Second)
		require.Equal(t, 0, r.children())
	})
}

// No more are deleted in a minute than is allowed, and all in the end.
func TestReaperPace(t *testing.T) {
	onReaper(t, Reaper{MaxPerMinute: 120}, func(r *reaperRig) {
		const count = 300
		for i := range count {
			r.create(fmt.Sprintf("/n-%d", i), core.ZnodeTTL, time.Millisecond)
		}
		pass(60 * time.Second)
		for r.children() == count {
			pass(100 * time.Millisecond)
		}
		start := time.Now()
		pass(30 * time.Second)
		left := r.children()
		require.InDelta(t, count-60, left, 5)
		for r.children() > 0 {
			pass(time.Second)
		}
		require.InDelta(t, 150, time.Since(start).Seconds(), 5)
	})
}

func TestReaperConfig(t *testing.T) {
	cfg := testConfig(t)
	cfg.Reaper.MaxPerMinute = -1
	_, err := Start(cfg)
	require.ErrorContains(t, err, "the pace of the reaper of containers is negative")
	require.Equal(t, 1, Reaper{MaxPerMinute: 1}.batch())
	require.Equal(t, maxReapBatch, Reaper{MaxPerMinute: 1 << 30}.batch())
	require.Equal(t, time.Minute, Reaper{MaxPerMinute: 1}.pause(1, time.Millisecond))
	require.Equal(t, 9*time.Millisecond, Reaper{MaxPerMinute: 1}.pause(0, time.Millisecond), "millions that are not due keep no core busy")
}

// A quota on a large tree is counted even if nobody writes.
func TestQuotaIsCountedWhileNobodyWrites(t *testing.T) {
	onReaper(t, Reaper{}, func(r *reaperRig) {
		const count = 7000
		w := &core.ZnodeWrite{Session: core.SessionRef{ID: 7, Epoch: 1}, Multi: true}
		for _, path := range []string{"/q", "/zookeeper/quota/q", "/zookeeper/quota/q/zookeeper_limits"} {
			r.create(path, core.ZnodePersistent, 0)
		}
		for i := range count {
			w.Ops = append(w.Ops, core.ZnodeOp{Type: core.ZnodeCreate, Path: fmt.Sprintf("/q/%d", i), OpenACL: true})
		}
		_, err := r.n.Do(testContext(r), core.Principal{}, w)
		require.NoError(r, err)
		r.create("/zookeeper/quota/q/zookeeper_stats", core.ZnodePersistent, 0)
		used := func() string {
			v, err := r.n.View(testContext(r), core.Principal{}, core.Consistency{})
			require.NoError(r, err)
			defer v.Close()
			z, err := v.Znodes().Znode("/zookeeper/quota/q/zookeeper_stats", 0)
			require.NoError(r, err)
			return string(z.Data)
		}
		require.NotEqual(r, "count=7001,bytes=0", used())
		pass(62 * time.Second)
		require.Equal(r, "count=7001,bytes=0", used())
	})
}
