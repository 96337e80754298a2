package expiry

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

const second = time.Second

// due calls Due and returns the ids alone.
func due(d *Deadlines, now time.Duration) []core.LeaseID {
	if c := d.Due(now, math.MaxInt); c != nil {
		return c.IDs
	}
	return nil
}

// ids returns all leases, those that expire first in front.
func ids(d *Deadlines) []core.LeaseID {
	all := make([]Expiry, 0, d.Len())
	for _, l := range d.leases {
		all = append(all, Expiry{l.ID, l.deadline})
	}
	SortExpiries(all)
	var ids []core.LeaseID
	for _, e := range all {
		ids = append(ids, e.ID)
	}
	return ids
}

// steady ticks every 100 ms from *now to end, as a process that runs well does.
func steady(d *Deadlines, now *time.Duration, end time.Duration) {
	for *now < end {
		*now += 100 * time.Millisecond
		d.Tick(*now)
	}
}

func TestLife(t *testing.T) {
	d := New(Options{})
	now := 7 * second
	d.Lead(now, 3, nil, 0)
	d.Granted(now, Lease{ID: 1, TTL: 5 * second})
	d.Granted(now, Lease{ID: 2, TTL: 3 * second})
	require.Equal(t, []core.LeaseID{2, 1}, ids(d))
	require.Equal(t, 2, d.Len())

	steady(d, &now, 9*second)
	require.Empty(t, due(d, now))
	left, ok := d.Remaining(now, 2)
	require.True(t, ok)
	require.Equal(t, second, left)
	ttl, answer := d.Renew(now, 2)
	require.Equal(t, Renewed, answer)
	require.Equal(t, 3*second, ttl)
	require.Equal(t, []core.LeaseID{1, 2}, ids(d), "both expire at 12 s: by id")

	steady(d, &now, 12*second)
	require.Equal(t, &core.LeaseExpire{IDs: []core.LeaseID{1}, Term: 3}, d.Due(now, 1), "the bound of a command")
	require.Equal(t, &core.LeaseExpire{IDs: []core.LeaseID{2}, Term: 3}, d.Due(now, 1))
	require.Nil(t, d.Due(now, 1), "pending")

	d.Revoked(1)
	_, answer = d.Renew(now, 1)
	require.Equal(t, Unknown, answer)
	_, answer = d.Renew(now, 2)
	require.Equal(t, Overdue, answer)
	require.Equal(t, []core.LeaseID{2}, ids(d), "it exists until it is revoked")

	require.Equal(t, 1, d.Retry([]core.LeaseID{1, 2, 99}))
	_, answer = d.Renew(now, 2)
	require.Equal(t, Overdue, answer, "a failed proposal does not bring it back")
	require.Equal(t, []core.LeaseID{2}, due(d, now))
	d.Revoked(2)
	require.Zero(t, d.Len())
}

// TestOverdueIsNotRenewed checks the time between the deadline and the next Due.
func TestOverdueIsNotRenewed(t *testing.T) {
	d := New(Options{})
	d.Lead(0, 1, nil, 0)
	d.Granted(0, Lease{ID: 1, TTL: second})
	_, answer := d.Renew(second-1, 1)
	require.Equal(t, Renewed, answer)
	d.Tick(second)
	_, answer = d.Renew(2*second-1, 1)
	require.Equal(t, Overdue, answer)
	left, ok := d.Remaining(2*second, 1)
	require.True(t, ok)
	require.Equal(t, -time.Duration(1), left)
}

func TestFollower(t *testing.T) {
	d := New(Options{})
	check := func() {
		d.Granted(0, Lease{ID: 1, TTL: second})
		d.Revoked(1)
		d.Retry([]core.LeaseID{1})
		d.Tick(5 * second)
		_, answer := d.Renew(0, 1)
		require.Equal(t, NotLeading, answer)
		_, ok := d.Remaining(0, 1)
		require.False(t, ok)
		require.Nil(t, d.Due(100*second, 10))
		require.Empty(t, ids(d))
		require.Zero(t, d.Len())
	}
	check()
	d.Lead(0, 1, []Lease{{ID: 1, TTL: second}}, 0)
	require.Equal(t, 1, d.Len())
	d.Follow()
	check()
}

// TestLeadership checks that all leases have their full TTL and the grace again,
// and that a renewal then gives the TTL without it.
func TestLeadership(t *testing.T) {
	d := New(Options{})
	d.Lead(0, 1, []Lease{{ID: 1, TTL: 3 * second}, {ID: 2, TTL: 2 * second}}, 0)
	now := time.Duration(0)
	steady(d, &now, 2*second)
	require.Equal(t, []core.LeaseID{2}, due(d, now))

	d.Lead(now, 2, []Lease{{ID: 1, TTL: 3 * second}, {ID: 2, TTL: 2 * second}}, second)
	left, _ := d.Remaining(now, 2)
	require.Equal(t, 3*second, left)
	left, _ = d.Remaining(now, 1)
	require.Equal(t, 4*second, left)
	_, answer := d.Renew(now, 1)
	require.Equal(t, Renewed, answer)
	left, _ = d.Remaining(now, 1)
	require.Equal(t, 3*second, left, "the deadline came nearer")

	steady(d, &now, 5*second)
	require.Equal(t, &core.LeaseExpire{IDs: []core.LeaseID{1, 2}, Term: 2}, d.Due(now, 10))
}

// TestGap checks that time in which the process did not run is not counted, and
// that nothing is due before the next tick, whatever asks first.
func TestGap(t *testing.T) {
	for _, first := range []string{"tick", "renew", "due"} {
		t.Run(first, func(t *testing.T) {
			d := New(Options{MaxGap: 500 * time.Millisecond})
			d.Lead(0, 1, []Lease{{ID: 1, TTL: 2 * second}, {ID: 2, TTL: 3 * second}}, 0)
			var now time.Duration
			steady(d, &now, 1900*time.Millisecond)
			now += time.Hour
			switch first {
			case "renew":
				ttl, answer := d.Renew(now, 1)
				require.Equal(t, Renewed, answer)
				require.Equal(t, 2*second, ttl)
			case "due":
				require.Empty(t, due(d, now))
			}
			left, _ := d.Remaining(now, 2)
			require.Equal(t, 1100*time.Millisecond, left)
			require.Equal(t, time.Hour, d.Tick(now))
			left, _ = d.Remaining(now, 2)
			require.Equal(t, 1100*time.Millisecond, left, "as before the gap")

			now += 200 * time.Millisecond
			require.Empty(t, due(d, now), "the sockets are read first")
			if first == "renew" {
				return
			}
			require.Zero(t, d.Tick(now))
			require.Equal(t, []core.LeaseID{1}, due(d, now))
		})
	}
}

// TestSpread checks that what a leader begins with does not all fall due at
// once, and that leases whose deadlines lie apart are left as they are.
func TestSpread(t *testing.T) {
	d := New(Options{SpreadPerSecond: 10})
	var leases []Lease
	for i := range 35 {
		leases = append(leases, Lease{ID: core.LeaseID(100 - i), TTL: 5 * second})
	}
	leases = append(leases, Lease{ID: 1, TTL: 20 * second}, Lease{ID: 2, TTL: second})
	d.Lead(0, 1, leases, second)

	perSecond := make(map[int]int)
	for _, l := range leases {
		left, ok := d.Remaining(0, l.ID)
		require.True(t, ok)
		require.GreaterOrEqual(t, left, l.TTL+second)
		perSecond[int(left/second)]++
	}
	require.Equal(t, map[int]int{2: 1, 6: 10, 7: 10, 8: 10, 9: 5, 21: 1}, perSecond)
	require.True(t, slices.IsSorted(ids(d)[1:36]), "in the order of their ids")
}

// TestSpreadOrder checks that leases which the spreading gives one deadline are
// in the order of their ids, whichever was to expire first.
func TestSpreadOrder(t *testing.T) {
	d := New(Options{SpreadPerSecond: 2})
	d.Lead(0, 1, []Lease{{ID: 1, TTL: 5 * second}, {ID: 2, TTL: 5 * second}, {ID: 9, TTL: 5*second + 1}, {ID: 3, TTL: 5*second + 2}}, 0)
	require.Equal(t, []core.LeaseID{1, 2, 3, 9}, ids(d))
	var now time.Duration
	steady(d, &now, 6*second)
	require.Equal(t, []core.LeaseID{1, 2, 3, 9}, due(d, now))
}

// TestPendingOverGap checks a lease that fell due between two ticks that turn out
// to be a gap: it has been proposed, and stays so.
func TestPendingOverGap(t *testing.T) {
	d := New(Options{MaxGap: second})
	d.Lead(0, 1, []Lease{{ID: 1, TTL: second}}, 0)
	require.Equal(t, []core.LeaseID{1}, due(d, second))
	require.Equal(t, 5*second, d.Tick(5*second))
	left, _ := d.Remaining(5*second, 1)
	require.Equal(t, second, left)
	_, answer := d.Renew(5*second, 1)
	require.Equal(t, Overdue, answer)
}

// TestLongestTTL checks that the end of a lease of 285 years is not in the past.
func TestLongestTTL(t *testing.T) {
	const longest = 9_000_000_000 * second
	d := New(Options{})
	now := 40 * 365 * 24 * time.Hour
	d.Lead(0, 1, nil, 0)
	d.Tick(now)
	d.Lead(now, 1, []Lease{{ID: 1, TTL: longest}}, longest)
	d.Granted(now, Lease{ID: 2, TTL: longest})
	for id := range core.LeaseID(2) {
		_, answer := d.Renew(now, id+1)
		require.Equal(t, Renewed, answer)
	}
	require.Empty(t, due(d, now))
}

// A session may be touched as late as its timeout and what a front end kept back.
func TestSessionHasSlack(t *testing.T) {
	d := New(Options{})
	now := time.Duration(0)
	d.Lead(now, 1, []Lease{{ID: 1, TTL: second, Session: true}}, 0)
	d.Granted(now, Lease{ID: 2, TTL: 2 * second, Session: true})
	_, answer := d.Renew(now, 1)
	require.Equal(t, Unknown, answer, "it is no lease to be kept alive")
	steady(d, &now, second)
	left, ok := d.Remaining(now, 1)
	require.True(t, ok)
	require.Zero(t, left)
	require.Empty(t, due(d, now+core.TouchInterval-1))
	require.Equal(t, Renewed, d.Touch(now+core.TouchInterval-1, 1))
	require.Equal(t, Renewed, d.Touch(now, 1))
	d.Granted(now, Lease{ID: 1, TTL: 3 * second, Session: true}) // attached
	steady(d, &now, 2*second+core.TouchInterval)
	require.Equal(t, []core.LeaseID{2}, due(d, now))
	require.Equal(t, Overdue, d.Touch(now, 2))
	d.Granted(now, Lease{ID: 2, TTL: 2 * second, Session: true}) // attached, just in time
	d.Retry([]core.LeaseID{2})
	require.Equal(t, Renewed, d.Touch(now, 2))
	steady(d, &now, 4*second)
	require.Empty(t, due(d, now))
	steady(d, &now, 4*second+core.TouchInterval)
	require.Equal(t, []core.LeaseID{1}, due(d, now))
}
