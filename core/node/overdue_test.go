package node

import (
	"bytes"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestRenewalOfAnOverdueLease: who renews too late is not told so before the lease's
// keys are gone (etcd T-62).
func TestRenewalOfAnOverdueLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, testConfig(t))
		require.NoError(t, n.Ready(testContext(t)))
		_, err := n.Do(testContext(t), core.Principal{}, &core.LeaseGrant{ID: 1, TTL: 10*expiryInterval + expiryInterval/2})
		require.NoError(t, err)
		_, err = n.Do(testContext(t), core.Principal{}, &core.Put{Key: []byte("k"), Lease: 1})
		require.NoError(t, err)
		<-time.After(10*expiryInterval + expiryInterval/2) // it is due, and not looked at before the next tick
		require.Empty(t, get(t, n, "k"))
		asked := time.Now()
		_, err = n.Leases().KeepAlive(testContext(t), core.Principal{}, 1)
		require.ErrorIs(t, err, core.LeaseNotFound)
		require.Positive(t, time.Since(asked))
		require.Equal(t, "<none>", get(t, n, "k"))
		stopNode(t, n)
	})
}

// TestNothingExpiresWhileCorrupt: etcd refuses to revoke overdue leases under the CORRUPT
// alarm (etcd 3.7 applierV3Corrupt), and a session and a container that is due are kept
// alike: what would be deleted may be all that is left of it. None of it fills the log.
func TestNothingExpiresWhileCorrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		cfg := testConfig(t)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		cfg.Reaper.CheckInterval = time.Second
		n := startNode(t, cfg)
		defer stopNode(t, n)
		require.NoError(t, n.Ready(testContext(t)))
		do := func(cmd core.Command) error {
			_, err := n.Do(testContext(t), core.Principal{}, cmd)
			return err
		}
		alarm := core.Alarm{Member: 1, Type: core.AlarmCorrupt}
		keeper := openSession(t, n, 7, time.Hour)
		require.NoError(t, do(&core.ZnodeWrite{Session: keeper, Ops: []core.ZnodeOp{
			{Type: core.ZnodeCreate, Path: "/ttl", Kind: core.ZnodeTTL, TTL: time.Second, OpenACL: true},
		}}))
		gone := openSession(t, n, 8, 4*time.Second)
		require.NoError(t, createEphemeral(t, n, gone, "/gone"))
		back := openSession(t, n, 9, 4*time.Second)
		require.NoError(t, createEphemeral(t, n, back, "/back"))
		require.NoError(t, do(&core.LeaseGrant{ID: 1, TTL: 2 * time.Second}))
		require.NoError(t, do(&core.Put{Key: []byte("k"), Lease: 1}))
		require.NoError(t, do(&core.SetAlarm{Alarm: alarm, On: true}))
		kept := func() (all []string) {
			for _, key := range []string{"k", "/zk/gone", "/zk/back", "/zk/ttl"} {
				if get(t, n, key) != "<none>" {
					all = append(all, key)
				}
			}
			return all
		}

		revision := n.Status().Rev
		pass(time.Minute)
		require.Equal(t, []string{"k", "/zk/gone", "/zk/back", "/zk/ttl"}, kept())
		require.Equal(t, revision, n.Status().Rev)
		require.ErrorIs(t, do(&core.SessionClose{Session: gone}), core.Corrupt)
		_, err := attach(t, n, 9, 4*time.Second, secretA) // as late as it is
		require.NoError(t, err)
		require.Empty(t, log.String())

		require.NoError(t, do(&core.SetAlarm{Alarm: alarm}))
		pass(3 * time.Second)
		require.Equal(t, []string{"/zk/back"}, kept())
	})
}
