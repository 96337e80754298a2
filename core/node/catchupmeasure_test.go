package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// TestMeasureCatchUp prints how long a member takes to catch up with a state of
// TRIGLOT_MEASURE_MIB MiB on this machine's disk and loopback, with no limit and with the
// default one, and what puts take at the leader before and meanwhile. All three members
// and the writers share the machine.
func TestMeasureCatchUp(t *testing.T) {
	mib, err := strconv.Atoi(os.Getenv("TRIGLOT_MEASURE_MIB"))
	if err != nil {
		t.Skip("TRIGLOT_MEASURE_MIB is not set: this is a measurement")
	}
	for _, rate := range []int64{-1, DefaultTransferRate} {
		measureCatchUp(t, mib, rate)
	}
}

func measureCatchUp(t *testing.T, mib int, rate int64) {
	dir := t.TempDir()
	c := newTestCluster(t, 3, func(member int, cfg *Config) {
		cfg.FS, cfg.DataDir, cfg.Memory = storage.DefaultFS, fmt.Sprintf("%s/%d", dir, member), Memory{}
		cfg.Limits.CatchUpEntries, cfg.Limits.TransferBytesPerSecond = 100, rate
		cfg.Timing = Timing{}
	})
	leader := c.waitLeader()
	down := c.followers(leader)[0]
	c.waitApplied()
	applied := c.nodes[down].Status().Applied
	c.stop(down)
	fillParallel(t, c.nodes[leader], mib)
	awaitTruncated(c, leader, applied)

	before := latencies(t, c.nodes[leader], func() { <-time.After(5 * time.Second) })
	begun := time.Now()
	var started, caughtUp time.Duration
	meanwhile := latencies(t, c.nodes[leader], func() {
		c.start(down)
		started = time.Since(begun)
		for c.nodes[down].published.rev() < c.nodes[leader].published.rev()-1 {
			require.Less(t, time.Since(begun), 5*time.Minute)
			<-time.After(5 * time.Millisecond)
		}
		caughtUp = time.Since(begun)
	})
	require.EqualValues(t, 1, installs(t, c.nodes[down]))
	o := &c.nodes[leader].peers.states.outgoing
	t.Logf("catch-up of %d MiB (limit %d MiB/s): %v after the start of the process, %v of them to open; %d MiB were sent",
		mib, rate>>20, caughtUp.Round(time.Millisecond), started.Round(time.Millisecond), o.sent>>20)
	t.Logf("puts at the leader before: %s; meanwhile: %s", before, meanwhile)
	c.stopAll()
	clear(c.nodes)
}

// fillParallel writes so many MiB that cannot be compressed, in values of 16 KiB.
func fillParallel(t *testing.T, n *Node, mib int) {
	const size, writers = 16 << 10, 16
	total := mib << 20 / size
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			for i := w; i < total; i += writers {
				value := make([]byte, size)
				rand.Read(value) // never fails
				for {
					_, err := n.Do(context.Background(), core.Principal{}, &core.Put{Key: fmt.Appendf(nil, "fill/%08d", i), Value: value})
					if err == nil {
						break
					}
					if core.KindOf(err) != core.TooManyRequests {
						t.Errorf("fill: %v", err)
						return
					}
					<-time.After(10 * time.Millisecond)
				}
			}
		})
	}
	done.Wait()
}

// figures are how long puts took.
type figures struct{ all []time.Duration }

func (f figures) String() string {
	slices.Sort(f.all)
	at := func(part float64) time.Duration {
		return f.all[min(int(part*float64(len(f.all))), len(f.all)-1)].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%d puts, half of them within %v, 99%% within %v, the longest %v", len(f.all), at(0.5), at(0.99), at(1))
}

// latencies puts, one put after the other, while during runs.
func latencies(t *testing.T, n *Node, during func()) figures {
	ctx, cancel := context.WithCancel(context.Background())
	var f figures
	var done sync.WaitGroup
	done.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			begun := time.Now()
			if _, err := n.Do(context.Background(), core.Principal{}, &core.Put{Key: fmt.Appendf(nil, "l/%03d", i%1000), Value: []byte("value")}); err != nil {
				t.Errorf("put: %v", err)
				return
			}
			f.all = append(f.all, time.Since(begun))
		}
	})
	during()
	cancel()
	done.Wait()
	return f
}
