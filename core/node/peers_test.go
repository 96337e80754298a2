package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestClusterReplicates: puts through any member are read on every member.
func TestClusterReplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		c.waitLeader()
		for i := range 30 {
			put(t, c.nodes[i%3], fmt.Sprintf("k%d", i), fmt.Sprint(i))
		}
		for i := range 30 {
			require.Equal(t, fmt.Sprint(i), get(t, c.nodes[(i+1)%3], fmt.Sprintf("k%d", i)))
		}
		c.waitApplied()
		for i := range c.nodes {
			require.NoError(t, c.nodes[i].Ready(testContext(t)))
			require.Equal(t, "29", c.local(i, "k29"))
			require.Equal(t, c.nodes[0].Status().Rev, c.nodes[i].Status().Rev)
		}
		members, err := c.nodes[0].Members(testContext(t), true)
		require.NoError(t, err)
		require.Len(t, members, 3)
		for _, m := range members {
			require.NotEmpty(t, m.Name)
			require.NotEmpty(t, m.ClientURLs)
		}
	})
}

// TestClusterWritesConcurrently: many writers on all members; every acknowledged put is
// there, once.
func TestClusterWritesConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		c.waitLeader()
		before := c.nodes[0].Status().Rev
		const writers, each = 12, 20
		var writing sync.WaitGroup
		var mu sync.Mutex
		failed := 0
		for w := range writers {
			writing.Go(func() {
				for i := range each {
					if err := c.tryPut(w%3, fmt.Sprintf("w%d/%d", w, i), fmt.Sprint(i), 20*time.Second); err != nil {
						mu.Lock()
						failed++
						mu.Unlock()
					}
				}
			})
		}
		writing.Wait()
		c.waitApplied()
		require.Zero(t, failed)
		for w := range writers {
			for i := range each {
				require.Equal(t, fmt.Sprint(i), c.local((w+i)%3, fmt.Sprintf("w%d/%d", w, i)))
			}
		}
		require.GreaterOrEqual(t, c.nodes[0].Status().Rev, before+writers*each)
	})
}

// TestLeaderStops: the others go on without it, and it comes back.
func TestLeaderStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		first := c.waitLeader()
		put(t, c.nodes[first], "a", "1")
		c.stop(first)
		second := c.waitLeader()
		require.Equal(t, "1", get(t, c.nodes[second], "a"))
		put(t, c.nodes[second], "a", "2")
		c.start(first)
		require.Equal(t, "2", get(t, c.nodes[first], "a"))
	})
}

// TestWhatWaitsForALeader: what is proposed on a follower that has no way to the leader,
// and before anybody else leads, is not lost: it is for the next leader.
func TestWhatWaitsForALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(_ int, cfg *Config) { cfg.Timing.Election = 4 * testElection })
		leader := c.waitLeader()
		c.waitApplied()
		c.isolate(leader)
		c.net.cut(func(from, to int) bool { return from == leader || to == leader })
		var putting sync.WaitGroup
		for _, i := range c.followers(leader) {
			c.eventually("it knows", func() bool { return c.nodes[i].peers.links()[c.id(leader)].IsZero() })
			require.Equal(t, c.id(leader), c.nodes[i].Self().Leader)
			for k := range 10 {
				putting.Go(func() { require.NoError(t, c.tryPut(i, fmt.Sprintf("k%d/%d", i, k), "x", 10*time.Second)) })
			}
		}
		putting.Wait()
		require.NotEqual(t, leader, c.leader())
	})
}

// TestMembersCrash: one after the other, and all at once, with the loss of what was
// not synced; what was acknowledged is there.
func TestMembersCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		for i := range 3 {
			leader := c.waitLeader()
			put(t, c.nodes[leader], "round", fmt.Sprint(i))
			c.crash(leader, 0)
			next := c.waitLeader()
			require.Equal(t, fmt.Sprint(i), get(t, c.nodes[next], "round"))
			c.start(leader)
			require.Equal(t, fmt.Sprint(i), get(t, c.nodes[leader], "round"))
		}
		put(t, c.nodes[c.waitLeader()], "all", "here")
		for i := range c.nodes {
			c.crash(i, 50)
		}
		c.startAll()
		for i := range c.nodes {
			require.Equal(t, "here", get(t, c.nodes[i], "all"))
		}
	})
}

// TestMinorityIsCutOff (design 9): it serves what it has, and fails what needs the others
// within the deadline; the majority goes on; when it is back, all have the same.
func TestMinorityIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		old := c.waitLeader()
		put(t, c.nodes[old], "a", "1")
		c.waitApplied()
		c.isolate(old)
		var failing sync.WaitGroup
		failing.Go(func() { require.Error(t, c.tryPut(old, "a", "lost or not", time.Second)) })
		failing.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := c.nodes[old].View(ctx, core.Principal{}, core.Consistency{Linearizable: true})
			require.Error(t, err)
		})
		failing.Wait()
		require.Equal(t, "1", c.local(old, "a"))

		leader := c.waitLeader(old)
		put(t, c.nodes[leader], "a", "2")
		for _, i := range c.followers(leader) {
			if i != old {
				require.Equal(t, "2", get(t, c.nodes[i], "a"))
			}
		}
		c.net.heal()
		c.eventually("it follows again", func() bool { return c.local(old, "a") == "2" })
		require.Equal(t, "2", get(t, c.nodes[old], "a"))
		put(t, c.nodes[old], "a", "3")
		require.Equal(t, "3", get(t, c.nodes[leader], "a"))
	})
}

// TestOneWayPartitions: whichever single direction between two members is cut, the
// cluster goes on, through every member that can reach a majority both ways.
func TestOneWayPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		for _, outward := range []bool{true, false} {
			leader := c.waitLeader()
			follower := c.followers(leader)[0]
			if outward {
				c.net.block(leader, follower)
			} else {
				c.net.block(follower, leader)
			}
			for i := range 3 {
				c.eventually("a put is acknowledged", func() bool {
					leader = c.waitLeader()
					return c.tryPut(leader, "k", fmt.Sprint(outward, i), time.Second) == nil
				})
			}
			c.net.heal()
			for i := range c.nodes {
				c.eventually("all serve", func() bool { return c.tryPut(i, "k", "healed", time.Second) == nil })
			}
		}
	})
}

// TestConnectionsBreak: connections are reset over and over while clients write. What
// was acknowledged is there, and nothing twice: each put counts its key's versions.
func TestConnectionsBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		c.waitLeader()
		stop := make(chan struct{})
		var writing sync.WaitGroup
		var acknowledged, unknown [3]atomic.Int64
		for w := range 3 {
			writing.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					if c.tryPut(w, fmt.Sprintf("counter%d", w), fmt.Sprint(i), 5*time.Second) == nil {
						acknowledged[w].Add(1)
					} else {
						unknown[w].Add(1)
					}
					pass(time.Millisecond) // else none does
				}
			})
		}
		for range 10 {
			for w := range 3 {
				before := acknowledged[w].Load()
				c.eventually("a put is acknowledged", func() bool { return acknowledged[w].Load() > before })
			}
			c.net.cut(func(int, int) bool { return true })
		}
		close(stop)
		writing.Wait()
		for w := range 3 {
			c.eventually("a put after all that were under way", func() bool {
				return c.tryPut(w, fmt.Sprintf("last%d", w), "x", time.Second) == nil
			})
		}
		c.waitApplied()
		for w := range 3 {
			v, err := c.nodes[w].View(testContext(t), core.Principal{}, core.Consistency{Linearizable: true})
			require.NoError(t, err)
			res, err := v.Range(context.Background(), &core.Range{Interval: core.Interval{Key: fmt.Appendf(nil, "counter%d", w)}})
			require.NoError(t, err)
			v.Close()
			require.Len(t, res.KVs, 1)
			sure, perhaps := acknowledged[w].Load(), unknown[w].Load()
			t.Logf("member %d: %d acknowledged, %d of unknown outcome, %d applied", w, sure, perhaps, res.KVs[0].Version)
			require.GreaterOrEqual(t, res.KVs[0].Version, sure)
			require.LessOrEqual(t, res.KVs[0].Version, sure+perhaps, "a put was applied twice")
		}
	})
}

// TestSlowNetwork: a delay of some heartbeats makes everything slow, and nothing fail.
func TestSlowNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		leader := c.waitLeader()
		c.net.slow(testHeartbeat)
		for i := range c.nodes {
			put(t, c.nodes[i], "k", fmt.Sprint(i))
		}
		require.Equal(t, leader, c.leader())
	})
}

// TestPeerMetrics: a scrape shows the ways to the others, under etcd's names.
func TestPeerMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registries := make([]*prometheus.Registry, 3)
		c := newTestCluster(t, 3, func(member int, cfg *Config) {
			registries[member] = prometheus.NewRegistry()
			cfg.Metrics = registries[member]
		})
		put(t, c.nodes[c.waitLeader()], "a", "1")
		c.waitApplied()
		for i, r := range registries {
			got := map[string]float64{}
			families, err := r.Gather()
			require.NoError(t, err)
			for _, f := range families {
				for _, sample := range f.Metric {
					name := f.GetName()
					for _, l := range sample.Label {
						name += " " + l.GetName() + "=" + l.GetValue()
					}
					got[name] = sample.Counter.GetValue() + sample.Gauge.GetValue() + float64(sample.Histogram.GetSampleCount())
				}
			}
			self := fmt.Sprintf("%x", uint64(c.id(i)))
			for j := range c.nodes {
				if j == i {
					continue
				}
				other := fmt.Sprintf("%x", uint64(c.id(j)))
				require.EqualValues(t, 1, got["etcd_network_active_peers Local="+self+" Remote="+other])
				require.Positive(t, got["etcd_network_peer_sent_bytes_total To="+other])
				require.Positive(t, got["etcd_network_peer_received_bytes_total From="+other])
				require.Positive(t, got["etcd_network_peer_round_trip_time_seconds To="+other])
				require.Contains(t, got, "etcd_network_disconnected_peers_total Local="+self+" Remote="+other)
				require.Contains(t, got, "etcd_network_peer_sent_failures_total To="+other)
				require.Contains(t, got, "etcd_network_peer_received_failures_total From="+other)
			}
		}
	})
}
