package consensus

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestLeadershipIsToldBeforeReadsAreServed: what a new leader must set up, such
// as the deadlines of leases, is set up before a read relies on it.
func TestLeadershipIsToldBeforeReadsAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan struct{})
		d := start(t, Config{
			ID: 1, Log: newMemLog(1), Applied: 1, Applier: &recorder{},
			OnLeadership: func(_ core.MemberID, _ uint64, self bool) {
				if self {
					<-told
				}
			},
		})
		synctest.Wait()
		require.False(t, d.SoleLeader(), "the state machine does not know yet that it leads")
		read := make(chan error, 1)
		go func() {
			_, err := d.ReadIndex(context.Background())
			read <- err
		}()
		synctest.Wait()
		require.Empty(t, read)
		close(told)
		require.NoError(t, <-read)
		require.True(t, d.SoleLeader())
	})
}
