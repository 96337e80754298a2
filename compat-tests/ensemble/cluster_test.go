//go:build linux

package ensemble_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// A leader that is cut off is followed by another one, and follows it once the network
// is healed: the proxies are where all that the members say to each other goes.
func TestACutOffLeaderIsReplaced(t *testing.T) {
	for _, kind := range []ensemble.Kind{ensemble.Etcd, ensemble.ZooKeeper} {
		t.Run(string(kind), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			c, err := ensemble.Start(ctx, ensemble.Options{Kind: kind, Tick: 200 * time.Millisecond})
			t.Cleanup(func() { require.NoError(t, c.Close()) })
			require.NoError(t, err)
			old := c.Leader(ctx)
			require.NotNil(t, old)
			c.Isolate(old, true, true)
			var leader *ensemble.Member
			require.Eventually(t, func() bool {
				leader = c.Leader(ctx)
				return leader != nil && leader != old
			}, 30*time.Second, 50*time.Millisecond)
			c.Network.Heal(true)
			require.NoError(t, c.AwaitAll(ctx))
			require.NoError(t, leader.Kill())
			require.Eventually(t, func() bool { return c.Leader(ctx) != nil }, 30*time.Second, 50*time.Millisecond)
			require.NoError(t, leader.Restart(ctx))
		})
	}
}
