//go:build linux

package ensemble_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// A leader that is cut off is followed by another one, and follows it once the network
// is healed: the proxies are where all that the members say to each other goes. TARGET
// says of which server, as everywhere.
func TestACutOffLeaderIsReplaced(t *testing.T) {
	kind, err := ensemble.KindFromEnv()
	require.NoError(t, err)
	for _, secure := range []bool{false, true} {
		if secure && kind == ensemble.ZooKeeper {
			continue // it is started without TLS
		}
		t.Run(fmt.Sprintf("TLS=%v", secure), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			c, err := ensemble.Start(ctx, ensemble.Options{Kind: kind, Tick: 200 * time.Millisecond, PeerTLS: secure})
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

// A cluster that is kept goes on with its data, where its members know each other.
func TestKept(t *testing.T) {
	t.Parallel()
	kind, err := ensemble.KindFromEnv()
	require.NoError(t, err)
	o := ensemble.Options{Kind: kind, Dir: t.TempDir(), Kept: true}
	var addresses []string
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		c, err := ensemble.Start(ctx, o)
		cancel()
		now := append(c.EtcdEndpoints(), c.ZKEndpoints()...)
		require.NoError(t, errors.Join(err, c.Close()))
		if addresses != nil {
			require.Equal(t, addresses, now)
		}
		addresses = now
		require.DirExists(t, c.Members[0].DataDir())
	}
}
