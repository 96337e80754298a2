package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// BenchmarkPutBesideLogins is a put by one of four clients, each of which makes one a
// millisecond, while 32 others log in at the default cost as fast as they can: what the
// slowest in a hundred takes must stay within twice of what it takes by itself.
func BenchmarkPutBesideLogins(b *testing.B) {
	cfg := testConfig(b)
	cfg.DataDir, cfg.FS = b.TempDir(), storage.DefaultFS
	cfg.Memory = Memory{}
	g := startGuarded(b, cfg)
	b.Cleanup(func() { stopNode(b, g.Node) })
	root := core.Principal{User: "root", AuthRev: g.Auth().Status().Rev}
	for _, logins := range []int{0, 32} {
		b.Run(fmt.Sprint(logins), func(b *testing.B) {
			ctx, stop := context.WithCancel(context.Background())
			var callers sync.WaitGroup
			var mu sync.Mutex
			done := 0
			for range logins {
				callers.Go(func() {
					for ctx.Err() == nil {
						if _, _, err := g.Auth().Login(ctx, "alice", "wonderland"); err == nil {
							mu.Lock()
							done++
							mu.Unlock()
						}
					}
				})
			}
			b.ResetTimer()
			began := time.Now()
			took := putAll(b, g.Node, root, 4)
			b.StopTimer()
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
			mu.Lock()
			b.ReportMetric(float64(done)/time.Since(began).Seconds(), "logins/s")
			mu.Unlock()
			stop()
			callers.Wait()
		})
	}
}

// putAll makes b.N puts by some clients, and returns how long each took, in order.
func putAll(b *testing.B, n *Node, who core.Principal, clients int) []time.Duration {
	took := make([]time.Duration, b.N)
	var putting sync.WaitGroup
	for c := range clients {
		putting.Go(func() {
			pace := time.NewTicker(time.Millisecond)
			defer pace.Stop()
			for i := c; i < b.N; i += clients {
				<-pace.C
				began := time.Now()
				_, err := n.Do(context.Background(), who, &core.Put{Key: fmt.Append(nil, "key-", i%1000), Value: make([]byte, 256)})
				took[i] = time.Since(began)
				require.NoError(b, err)
			}
		})
	}
	putting.Wait()
	slices.Sort(took)
	return took
}
