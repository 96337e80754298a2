package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// chaos is a run of whole members, drawn from a seed: writes through any of them, while
// members are killed, one by one or all at once, cut off, stopped, started, replaced, and
// taken over states. What was acknowledged is there in the end, once, and all have it; what
// watches have seen is that, in order and without a gap.
type chaos struct {
	*testCluster
	t    *testing.T
	rng  *rand.Rand
	next int // the next value

	mu    sync.Mutex
	acked map[string]bool
	seen  map[*Node][]string // by a watch of all on a member, from its start until it ends
	wait  sync.WaitGroup
}

const chaosSteps = 60

var chaosKeys = core.Interval{Key: []byte("k"), End: []byte("l")}

// TestChaos runs some seeds, or that of CHAOS_SEED.
func TestChaos(t *testing.T) {
	from, to := uint64(1), uint64(4)
	if s := os.Getenv("CHAOS_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		from, to = n, n+1
		if s := os.Getenv("CHAOS_UNTIL"); s != "" {
			to, err = strconv.ParseUint(s, 10, 64)
			require.NoError(t, err)
		}
	}
	for seed := from; seed < to; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runChaos(t, seed) })
		})
	}
}

func runChaos(t *testing.T, seed uint64) {
	c := &chaos{t: t, rng: rand.New(rand.NewPCG(seed, 7)), acked: map[string]bool{}, seen: map[*Node][]string{}}
	c.testCluster = newTestCluster(t, 3, c.change)
	c.ready()
	for range chaosSteps {
		for range c.rng.IntN(30) {
			c.write()
		}
		c.step()
		c.watch()
		pass(time.Duration(c.rng.IntN(300)) * time.Millisecond)
	}
	c.recover()
	c.watch()
	c.waitApplied()
	c.check()
	c.stopAll()
	c.wait.Wait()
}

func (c *chaos) change(member int, cfg *Config) {
	shortLog(member, cfg)
	loosely(member, cfg)
}

// write writes a value of its own through a member that runs.
func (c *chaos) write() {
	up := c.followers(-1)
	if len(up) == 0 {
		return
	}
	n := c.nodes[up[c.rng.IntN(len(up))]]
	c.next++
	key, value := fmt.Sprintf("k%d", c.next%20), strconv.Itoa(c.next)
	c.wait.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 4*testElection)
		defer cancel()
		if _, err := n.Do(ctx, core.Principal{}, &core.Put{Key: []byte(key), Value: []byte(value)}); err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.acked[value] = true
		}
	})
}

// watch begins a watch on each member that runs and has none.
func (c *chaos) watch() {
	for _, i := range c.followers(-1) {
		n := c.nodes[i]
		c.mu.Lock()
		_, has := c.seen[n]
		if !has {
			c.seen[n] = nil
		}
		c.mu.Unlock()
		if has {
			continue
		}
		f, err := n.Watch(context.Background())
		require.NoError(c.t, err)
		f.Add(1, core.WatchSpec{Interval: chaosKeys, Start: 2})
		c.wait.Go(func() {
			defer f.Close()
			for {
				d, err := f.Next(context.Background())
				if err != nil {
					return // the member ends
				}
				c.mu.Lock()
				for _, change := range d.Changes {
					c.seen[n] = append(c.seen[n], string(change.KV.Value))
				}
				c.mu.Unlock()
			}
		})
	}
}

// step does something to the members.
func (c *chaos) step() {
	up := c.followers(-1)
	var one int
	if len(up) > 0 {
		one = up[c.rng.IntN(len(up))]
	}
	unsynced := c.rng.IntN(3) * 50
	switch what := c.rng.IntN(12); {
	case len(up) == 0 || what < 2:
		c.startSome()
	case what < 4:
		c.crash(one, unsynced)
	case what == 4:
		for _, i := range up {
			c.crash(i, unsynced)
		}
	case what == 5:
		c.stop(one)
	case what == 6:
		c.isolate(one)
	case what == 7:
		other := up[c.rng.IntN(len(up))]
		if one != other {
			c.net.block(one, other)
		}
	case what == 8:
		c.net.heal()
	case what == 9:
		c.net.cut(func(from, to int) bool { return from == one || to == one })
	case what == 10:
		c.net.slow(time.Duration(c.rng.IntN(20)) * time.Millisecond)
	default:
		c.replace()
	}
}

// down are the members that do not run and were not removed.
func (c *chaos) down() (all []int) {
	for i, n := range c.nodes {
		if n == nil && c.configs[i].Name != "" {
			all = append(all, i)
		}
	}
	return all
}

func (c *chaos) startSome() {
	for _, i := range c.down() {
		if c.rng.IntN(2) == 0 {
			c.start(i)
		}
	}
}

// recover heals all.
func (c *chaos) recover() {
	c.net.heal()
	for _, i := range c.down() {
		c.start(i)
	}
	c.waitLeader()
	c.ready()
}

// replace removes a member, which may lead, and adds another.
func (c *chaos) replace() {
	c.recover()
	up := c.followers(-1)
	gone, through := up[c.rng.IntN(len(up))], up[c.rng.IntN(len(up))]
	id := c.id(gone)
	late := c.rng.IntN(2) == 0
	if late && gone != through {
		c.crash(gone, 100)
	}
	c.eventually("a member is removed", func() bool {
		_, err := c.nodes[through].Membership().Remove(testContext(c.t), core.Principal{}, id)
		return err == nil || core.KindOf(err) == core.MemberNotFound
	})
	if c.nodes[gone] == nil {
		c.start(gone)
	}
	c.removed(gone)
	c.configs[gone].Name = "" // for good
	up = c.followers(-1)
	c.waitLeader()
	c.add(up[c.rng.IntN(len(up))], false, func(cfg *Config) { c.change(0, cfg) })
}

// check looks at the history.
func (c *chaos) check() {
	up := c.followers(-1)
	require.Len(c.t, up, 3)
	for _, i := range up {
		sameState(c.t, c.nodes[up[0]], c.nodes[i])
		select {
		case err := <-c.nodes[i].Failed():
			require.NoError(c.t, err)
		default:
		}
	}
	history := c.history(c.nodes[up[0]])
	times := map[string]int{}
	for _, value := range history {
		times[value]++
		require.Equal(c.t, 1, times[value], "value %s", value)
	}
	for _, i := range up {
		c.eventually("the watch has seen all", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.seen[c.nodes[i]]) >= len(history)
		})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for value := range c.acked {
		require.Contains(c.t, times, value, "acknowledged")
	}
	for _, seen := range c.seen {
		require.LessOrEqual(c.t, len(seen), len(history))
		require.Equal(c.t, history[:len(seen)], append([]string{}, seen...))
	}
}

// history is the values that were written, in order.
func (c *chaos) history(n *Node) (values []string) {
	v := n.published.hold()
	defer v.Close()
	for from := core.Rev(2); from <= v.Rev(); {
		revs, next, err := v.Revisions(c.t.Context(), from, chaosKeys, false, 1<<20)
		require.NoError(c.t, err)
		for _, r := range revs {
			for _, change := range r.Changes {
				values = append(values, string(change.KV.Value))
			}
		}
		require.Greater(c.t, next, from)
		from = next
	}
	return values
}
