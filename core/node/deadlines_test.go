package node

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/lease"
)

// The deadlines know what a view shows: else an expiry that says "as of this view"
// would end a lease whose new deadline nobody has looked at. The lock is held most
// of the time, so that whoever tells the deadlines after the view is out comes late.
func TestDeadlinesKnowWhatAViewShows(t *testing.T) {
	n := startNode(t, testConfig(t))
	defer stopNode(t, n)
	require.NoError(t, n.Ready(testContext(t)))
	var done atomic.Bool
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		for id := core.LeaseID(1); id <= 100; id++ {
			openSession(t, n, id, time.Minute)
		}
		done.Store(true)
	}()
	unknown := 0
	for !done.Load() {
		view := n.published.hold()
		n.leases.mu.Lock()
		require.NoError(t, view.EachLease(func(id core.LeaseID, _ lease.Lease) {
			if _, known := n.leases.deadlines.Remaining(n.leases.now(), id); !known {
				unknown++
			}
		}))
		n.leases.mu.Unlock()
		view.Close()
	}
	<-opened
	require.Zero(t, unknown)
}
