package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestLeaseCheckpoints runs a member for a quarter of an hour: what its lease has left
// outlives a restart if that is asked for, until the lease is renewed.
func TestLeaseCheckpoints(t *testing.T) {
	for _, enabled := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.Leases.Checkpoint, cfg.Leases.CheckpointPersist = enabled, enabled
			n := startNode(t, cfg)
			require.NoError(t, n.Ready(testContext(t)))
			for id, ttl := range map[core.LeaseID]time.Duration{1: time.Hour, 2: time.Hour, 3: 20 * time.Minute} {
				_, err := n.Do(testContext(t), core.Principal{}, &core.LeaseGrant{ID: id, TTL: ttl})
				require.NoError(t, err)
			}
			restart := func() {
				stopNode(t, n)
				n = startNode(t, cfg)
				require.NoError(t, n.Ready(testContext(t)))
			}
			left := func(id core.LeaseID) time.Duration {
				s, err := n.Leases().Status(testContext(t), core.Principal{}, id, false)
				require.NoError(t, err)
				return s.Remaining.Round(10 * time.Second)
			}
			<-time.After(16 * time.Minute)
			require.Equal(t, 44*time.Minute, left(1))
			ttl, err := n.Leases().KeepAlive(testContext(t), core.Principal{}, 2)
			require.NoError(t, err)
			require.Equal(t, time.Hour, ttl)

			restart()
			require.Equal(t, time.Hour, left(2))
			if !enabled {
				require.Equal(t, time.Hour, left(1))
				stopNode(t, n)
				return
			}
			require.Equal(t, 45*time.Minute, left(1))
			require.Equal(t, 5*time.Minute, left(3))
			ids, err := n.Leases().List(testContext(t), core.Principal{})
			require.NoError(t, err)
			require.Equal(t, []core.LeaseID{3, 1, 2}, ids)

			// What is overdue is revoked, what is renewed has all its time again.
			_, err = n.Leases().KeepAlive(testContext(t), core.Principal{}, 1)
			require.NoError(t, err)
			<-time.After(6 * time.Minute)
			restart()
			require.Equal(t, 55*time.Minute, left(1), "renewed, and written down once since")
			_, err = n.Leases().Status(testContext(t), core.Principal{}, 3, false)
			require.ErrorIs(t, err, core.LeaseNotFound)
			stopNode(t, n)
		})
	}
}

func TestCheckpointGateNeedsTheOther(t *testing.T) {
	cfg := testConfig(t)
	cfg.Leases.CheckpointPersist = true
	_, err := Start(cfg)
	require.EqualError(t, err, "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint")
}
