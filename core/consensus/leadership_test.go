package consensus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

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

// A lone member's readers are woken by the driver once it has published that it serves: who
// is answered and goes on at once must find it so.
func TestReadersWakeBehindTheStatus(t *testing.T) {
	log := newMemLog(1)
	c := Config{ID: 1, Log: log, Applied: 1, Applier: noApplier{}, Logger: quiet()}.withDefaults()
	r, err := newReplica(&c)
	require.NoError(t, err)
	b := newReadBatch()
	var out outputs
	for in := (inputs{reads: b}); len(out.answers) == 0; {
		require.False(t, out.status.soleLeader, "it serves, and has not answered")
		out, err = r.step(time.UnixMilli(0), &in)
		require.NoError(t, err)
		in.reset()
		in.appended, in.applied = append(in.appended, out.appends...), append(in.applied, out.applies...)
		for _, a := range out.appends {
			require.NoError(t, log.Append(a.hard, a.entries, a.sync))
		}
	}
	require.Equal(t, []*readBatch{b}, out.answers)
	require.NoError(t, b.err)
	require.True(t, out.status.soleLeader)
	select {
	case <-b.done:
		require.FailNow(t, "nobody can know the status yet")
	default:
	}
	d := Driver{replica: r, appends: newQueue[*appendTask](), applies: newQueue[*applyTask]()}
	d.carryOut(&out)
	<-b.done
	require.True(t, d.SoleLeader())
}
