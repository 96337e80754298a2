package expiry

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// checkpoints is due checkpoints as text: without the term.
func dueCheckpoints(d *Deadlines, now time.Duration) []core.LeaseRemaining {
	if c := d.DueCheckpoints(now, 1000); c != nil {
		return c.Leases
	}
	return nil
}

func newCheckpointing() *Deadlines {
	return New(Options{MaxGap: time.Hour, CheckpointInterval: 5 * time.Minute})
}

func TestCheckpoints(t *testing.T) {
	const minute = time.Minute
	d := newCheckpointing()
	d.Lead(0, 7, []Lease{{ID: 1, TTL: time.Hour}, {ID: 2, TTL: 5 * minute}, {ID: 3, TTL: time.Hour, Session: true}}, 0)
	d.Granted(minute, Lease{ID: 4, TTL: 6*minute + time.Millisecond})
	d.Granted(minute, Lease{ID: 5, TTL: time.Hour})
	d.Revoked(5)

	d.Tick(5*minute - 1)
	require.Nil(t, d.DueCheckpoints(5*minute-1, 10))
	d.Tick(5 * minute)
	require.Equal(t, &core.LeaseCheckpoint{
		Leases: []core.LeaseRemaining{{ID: 1, TTL: 55 * minute}}, Persist: true, Term: 7,
	}, d.DueCheckpoints(5*minute, 10))
	require.Nil(t, d.DueCheckpoints(time.Hour-1, 0), "the bound of a command")
	require.Empty(t, dueCheckpoints(d, 5*minute), "under way")
	_, answer := d.Renew(5*minute, 1)
	require.Equal(t, Checkpointed, answer, "it is about to be written down")
	d.Checkpointed(5*minute, core.LeaseRemaining{ID: 1})
	_, answer = d.Renew(5*minute, 1)
	require.Equal(t, Checkpointed, answer, "and was undone too early")

	// It took effect: the lease has to be given its time again before it is renewed.
	d.Checkpointed(5*minute, core.LeaseRemaining{ID: 1, TTL: 55 * minute})
	_, answer = d.Renew(5*minute, 1)
	require.Equal(t, Checkpointed, answer)
	require.Equal(t, &core.LeaseCheckpoint{Leases: []core.LeaseRemaining{{ID: 1}}, Persist: true, Term: 7}, Undo(1, 7))
	d.Checkpointed(5*minute, core.LeaseRemaining{ID: 1})
	_, answer = d.Renew(5*minute, 1)
	require.Equal(t, Renewed, answer)

	// In whole seconds, rounded up.
	d.Tick(6 * minute)
	require.Equal(t, []core.LeaseRemaining{{ID: 4, TTL: minute + time.Second}}, dueCheckpoints(d, 6*minute))
	d.Checkpointed(6*minute, core.LeaseRemaining{ID: 4, TTL: minute + time.Second})
	d.Checkpointed(6*minute, core.LeaseRemaining{ID: 99, TTL: minute})

	// One that is renewed all the time has nothing to write down.
	d.Tick(10 * minute)
	d.Renew(10*minute, 1)
	require.Empty(t, dueCheckpoints(d, 10*minute))
	d.Tick(15 * minute)
	require.Equal(t, []core.LeaseRemaining{{ID: 1, TTL: 55 * minute}}, dueCheckpoints(d, 15*minute), "lease 4 has too little left")

	// It did not take effect.
	d.Unwritten(15*minute, []core.LeaseRemaining{{ID: 1}, {ID: 99}})
	d.Tick(20 * minute)
	require.Equal(t, []core.LeaseRemaining{{ID: 1, TTL: 50 * minute}}, dueCheckpoints(d, 20*minute))
}

func TestLeadFromCheckpoints(t *testing.T) {
	d := newCheckpointing()
	d.Lead(0, 7, []Lease{{ID: 1, TTL: time.Hour, Remaining: time.Minute}, {ID: 2, TTL: time.Hour}}, second)
	left, _ := d.Remaining(0, 1)
	require.Equal(t, time.Minute+second, left)
	_, answer := d.Renew(0, 1)
	require.Equal(t, Checkpointed, answer)
	d.Tick(time.Minute + second)
	require.Equal(t, []core.LeaseID{1}, due(d, time.Minute+second))
	_, answer = d.Renew(time.Minute+second, 1)
	require.Equal(t, Overdue, answer)
	d.Follow()
	require.Empty(t, dueCheckpoints(d, time.Hour))
	d.Checkpointed(time.Hour, core.LeaseRemaining{ID: 2})
	require.Zero(t, d.Len())
}

// Leases that are overdue have nothing to write down, and none is looked at right
// after a gap.
func TestCheckpointsOfOverdueLeases(t *testing.T) {
	d := New(Options{MaxGap: time.Hour, CheckpointInterval: 5 * time.Minute})
	d.Lead(0, 7, []Lease{{ID: 1, TTL: 6 * time.Minute}, {ID: 2, TTL: time.Hour}}, 0)
	now := 10 * time.Minute
	d.Tick(now)
	require.Equal(t, []core.LeaseRemaining{{ID: 2, TTL: 50 * time.Minute}}, dueCheckpoints(d, now))
	d.Checkpointed(now, core.LeaseRemaining{ID: 2, TTL: 50 * time.Minute})
	d.Tick(now + 2*time.Hour)
	require.Nil(t, d.DueCheckpoints(now+2*time.Hour, 10), "a gap")
}

func BenchmarkCheckpoints(b *testing.B) {
	const n = 100_000
	leases := leasesOf(n, time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		d := newCheckpointing()
		d.Lead(0, 1, leases, 0)
		d.Tick(5 * time.Minute)
		b.StartTimer()
		for left := n; left > 0; left -= 1000 {
			if c := d.DueCheckpoints(5*time.Minute, 1000); len(c.Leases) != 1000 {
				b.Fatal("not all are due")
			}
		}
	}
}
