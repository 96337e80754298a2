package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// testCluster is several members in this process, on file systems in memory that can be
// crashed, and a testNetwork between them. All tests of this package may use it:
// newTestCluster starts one, waitLeader waits until it serves, put and get (node_test.go)
// speak to one of c.nodes. In a bubble (synctest) its time costs nothing, and a machine
// that is busy fails nothing. What can go wrong is below:
//
//	stop, start, crash          of a member, by its index
//	isolate, split, c.net.block of the network; c.net.heal ends it
//	c.net.cut, c.net.slow       connections that break, or are slow
//	add                         adds a member and starts it
//
// A member that is not running is nil in nodes. Tests use it from one goroutine.
type testCluster struct {
	t       testing.TB
	net     *testNetwork
	nodes   []*Node
	configs []Config
}

// The timing of a testCluster: short, and long enough for a machine that is busy.
const (
	testHeartbeat = 20 * time.Millisecond
	testElection  = 250 * time.Millisecond
)

// newTestCluster starts so many members. change, unless nil, changes their
// configurations.
func newTestCluster(t testing.TB, size int, change func(member int, cfg *Config)) *testCluster {
	c := &testCluster{t: t, net: newTestNetwork(t)}
	var founders []Peer
	for i := range size {
		founders = append(founders, Peer{Name: testName(i), URLs: []string{testURL(i)}})
	}
	for i := range size {
		c.configs = append(c.configs, c.config(i, founders))
		if change != nil {
			change(i, &c.configs[i])
		}
	}
	c.nodes = make([]*Node, size)
	c.startAll()
	t.Cleanup(c.stopAll)
	return c
}

func testName(member int) string { return fmt.Sprintf("m%d", member) }

func testURL(member int) string { return fmt.Sprintf("http://m%d:2380", member) }

func (c *testCluster) config(member int, founders []Peer) Config {
	cfg := testConfig(c.t)
	cfg.Name = testName(member)
	cfg.Cluster = Founding{Peers: founders, AdvertisePeerURLs: []string{testURL(member)}}
	cfg.AdvertiseClientURLs = []string{fmt.Sprintf("http://m%d:2379", member)}
	cfg.Timing = Timing{Heartbeat: testHeartbeat, Election: testElection}
	cfg.Peers.Dial = c.net.dialer(member)
	cfg.Peers.ReadTimeout, cfg.Peers.WriteTimeout = time.Second, time.Second
	// What tests do to members is no reason for a warning.
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelInfo
	}
	cfg.Logger = slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: level})).With("member", cfg.Name)
	return cfg
}

// startAll starts those that are down, all at once: founders wait for each other.
func (c *testCluster) startAll() {
	errs := make([]error, len(c.nodes))
	var starting sync.WaitGroup
	for i := range c.nodes {
		if c.nodes[i] != nil {
			continue
		}
		starting.Go(func() { c.nodes[i], errs[i] = c.tryStart(i) })
	}
	starting.Wait()
	for i, err := range errs {
		require.NoError(c.t, err, "member %d", i)
	}
}

// start starts a member that is down.
func (c *testCluster) start(member int) {
	var err error
	c.nodes[member], err = c.tryStart(member)
	require.NoError(c.t, err, "member %d", member)
}

// tryStart is for a member that may refuse to start.
func (c *testCluster) tryStart(member int) (*Node, error) {
	cfg := c.configs[member]
	cfg.Peers.Listeners = nil
	for _, url := range cfg.Cluster.AdvertisePeerURLs {
		cfg.Peers.Listeners = append(cfg.Peers.Listeners, c.net.listen(member, url))
	}
	n, err := Start(cfg)
	if err != nil {
		for _, l := range cfg.Peers.Listeners {
			_ = l.Close() // if Start has not
		}
	}
	return n, err
}

// stop ends a member in an orderly way.
func (c *testCluster) stop(member int) {
	stopNode(c.t, c.nodes[member])
	c.nodes[member] = nil
}

// crash ends a member as a kill of its process does, or a failure of its power, of
// which unsyncedPercent of what was not synced survives. What it answers while it
// crashes counts for nothing.
func (c *testCluster) crash(member, unsyncedPercent int) {
	undo := c.isolate(member)
	fs := c.configs[member].FS.(*storage.MemFS)
	c.configs[member].FS = storage.CrashClone(fs, unsyncedPercent, uint64(member))
	c.net.cut(func(from, to int) bool { return from == member || to == member })
	_ = c.nodes[member].Stop(context.Background()) // what it says counts no more
	c.nodes[member] = nil
	undo()
}

// stopAll stops whoever leads first: it hands over at once, and waits for nobody who is
// stopping, too.
func (c *testCluster) stopAll() {
	c.net.heal()
	for range c.nodes {
		next := c.leader()
		if next < 0 {
			break
		}
		_ = c.nodes[next].Stop(context.Background()) // what a test has done to it may be an error
		c.nodes[next] = nil
	}
	var stopping sync.WaitGroup
	for _, n := range c.nodes {
		if n != nil {
			stopping.Go(func() { _ = n.Stop(context.Background()) })
		}
	}
	stopping.Wait()
}

// isolate cuts a member off from all others, until undo or heal.
func (c *testCluster) isolate(member int) (undo func()) { return c.split([]int{member}) }

// split cuts some members off from the others, until undo or heal.
func (c *testCluster) split(some []int) (undo func()) {
	each := func(do func(from, to int, blocked bool), blocked bool) {
		for i := range c.nodes {
			for j := range c.nodes {
				if slices.Contains(some, i) != slices.Contains(some, j) {
					do(i, j, blocked)
				}
			}
		}
	}
	each(c.net.set, true)
	return func() { each(c.net.set, false) }
}

// id is a running member's.
func (c *testCluster) id(member int) core.MemberID { return c.nodes[member].Self().Member }

// leader is the member that leads in the newest term that is known of, -1 if there is none.
func (c *testCluster) leader() int {
	leader, term := -1, uint64(0)
	for i, n := range c.nodes {
		if n == nil {
			continue
		}
		if s := n.Self(); s.Leader == s.Member && s.Term > term {
			leader, term = i, s.Term
		}
	}
	return leader
}

// waitLeader waits until there is a leader that serves, and returns it. Those that are
// named do not count: they are cut off, for example.
func (c *testCluster) waitLeader(but ...int) int {
	c.t.Helper()
	leader := -1
	c.eventually("a leader serves", func() bool {
		leader = c.leader()
		if leader < 0 || slices.Contains(but, leader) {
			return false
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*testElection)
		defer cancel()
		v, err := c.nodes[leader].View(ctx, core.Principal{}, core.Consistency{Linearizable: true})
		if err != nil {
			return false
		}
		v.Close()
		return true
	})
	return leader
}

// followers are those that run and are not the leader.
func (c *testCluster) followers(leader int) []int {
	var all []int
	for i, n := range c.nodes {
		if n != nil && i != leader {
			all = append(all, i)
		}
	}
	return all
}

func (c *testCluster) eventually(what string, condition func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); <-time.After(2 * time.Millisecond) {
		require.False(c.t, time.Now().After(deadline), "not in time: %s", what)
	}
}

// waitApplied waits until all that run have applied what the one that is furthest has.
func (c *testCluster) waitApplied() {
	c.t.Helper()
	c.eventually("all have applied the same", func() bool {
		var first, last uint64
		for _, n := range c.nodes {
			if n == nil {
				continue
			}
			applied := n.Status().Applied
			if first == 0 || applied < first {
				first = applied
			}
			last = max(last, applied)
		}
		return first == last
	})
}

// add adds a member through another, and starts it: a learner if it says so. It returns
// its index.
func (c *testCluster) add(through int, learner bool, change func(cfg *Config)) int {
	c.t.Helper()
	member := len(c.nodes)
	c.eventually("a member is added", func() bool { // etcd's checks want links that have lasted
		_, _, err := c.nodes[through].Membership().Add(testContext(c.t), core.Principal{}, []string{testURL(member)}, learner)
		if err != nil {
			require.ErrorIs(c.t, err, core.Unhealthy)
		}
		return err == nil
	})
	members, err := c.nodes[through].Members(testContext(c.t), true)
	require.NoError(c.t, err)
	var peers []Peer
	for _, m := range members {
		name := m.Name
		if name == "" {
			name = testName(member)
		}
		peers = append(peers, Peer{Name: name, URLs: m.PeerURLs})
	}
	cfg := c.config(member, peers)
	cfg.Cluster.Existing = true
	if change != nil {
		change(&cfg)
	}
	c.configs, c.nodes = append(c.configs, cfg), append(c.nodes, nil)
	c.start(member)
	return member
}

// tryPut puts a key through a member, within a time.
func (c *testCluster) tryPut(member int, key, value string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_, err := c.nodes[member].Do(ctx, core.Principal{}, &core.Put{Key: []byte(key), Value: []byte(value)})
	return err
}

// local is a key's value as a member has it, "<none>" if it has none.
func (c *testCluster) local(member int, key string) string {
	v, err := c.nodes[member].View(testContext(c.t), core.Principal{}, core.Consistency{})
	require.NoError(c.t, err)
	defer v.Close()
	res, err := v.Range(context.Background(), &core.Range{Interval: core.Interval{Key: []byte(key)}})
	require.NoError(c.t, err)
	if len(res.KVs) == 0 {
		return "<none>"
	}
	return string(res.KVs[0].Value)
}
