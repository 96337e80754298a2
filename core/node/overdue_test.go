package node

import (
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
