package consensus

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// A tick makes up for a wake-up that was lost, and for what was put off by mistake. So
// whatever many callers do at the same time must take no time on a clock that stands still
// while anybody can go on.
func TestNothingWaitsForATick(t *testing.T) {
	for range 5 {
		synctest.Test(t, func(t *testing.T) {
			c := startCluster(t)
			leader := c.leader(t)
			begun := time.Now()
			var all sync.WaitGroup
			for i := range 30 {
				all.Go(func() { callAtRandom(t, c.drivers[core.MemberID(1+i%3)]) })
			}
			all.Go(func() { changeToAndFro(t, c.drivers[leader]) })
			all.Wait()
			require.NoError(t, c.drivers[leader].TransferLeadership(t.Context(), leader%3+1))
			require.Zero(t, time.Since(begun))
		})
	}
}

// The same of a lone member, to whom others come and from whom they go.
func TestNothingWaitsForATickAlone(t *testing.T) {
	for range 5 {
		synctest.Test(t, func(t *testing.T) {
			d, _, _, _ := startQuiet(t)
			begun := time.Now()
			var all sync.WaitGroup
			for range 30 {
				all.Go(func() { callAtRandom(t, d) })
			}
			all.Go(func() { changeToAndFro(t, d) })
			all.Wait()
			synctest.Wait()
			require.Zero(t, time.Since(begun))
			require.True(t, d.SoleLeader())
		})
	}
}

func callAtRandom(t *testing.T, d *Driver) {
	t.Helper()
	for range 50 {
		var err error
		if rand.IntN(3) == 0 {
			_, err = d.ReadIndex(t.Context())
		} else {
			p := NewProposal(make([]byte, rand.IntN(1000)), never)
			if err = d.Propose(p); err == nil {
				_, err = p.Wait(t.Context())
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// changeToAndFro adds a learner, whom there is no way to, and removes it.
func changeToAndFro(t *testing.T, leader *Driver) {
	t.Helper()
	for id := range core.MemberID(10) {
		for _, kind := range []ChangeKind{AddLearner, RemoveMember} {
			if err := tryChange(t, leader, kind, 10+id); err != nil {
				t.Error(err)
			}
		}
	}
}
