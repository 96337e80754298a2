package expiry

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

const touchInterval = core.TouchInterval

// isDone says whether a renewal has an outcome.
func isDone(r *Renewing) bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}

// Touches go every interval, each session once, and renewals at once, but one batch at a
// time: what has gathered while the last was under way.
func TestRenewals(t *testing.T) {
	r := NewRenewals()
	b, wait := r.Next(second, 0)
	require.Nil(t, b)
	require.Equal(t, never, wait, "there is nothing to send, ever")

	for range 3 {
		r.Touch(1)
	}
	r.Touch(2)
	b, _ = r.Next(second, 0)
	slices.Sort(b.Touches)
	require.Equal(t, []core.LeaseID{1, 2}, b.Touches)
	require.Equal(t, second, b.Sent)

	a1, a2, b1 := r.Renew(10), r.Renew(10), r.Renew(11)
	require.Same(t, a1, a2, "callers share it")
	none, wait := r.Next(2*second, second)
	require.Nil(t, none)
	require.Equal(t, never, wait, "one at a time")
	r.Answered(2*second, Answer{Confirmed: true, Term: 3})

	b, _ = r.Next(2*second, 0)
	require.Equal(t, []core.LeaseID{10, 11}, b.Leases)
	require.Empty(t, b.Touches)
	later := r.Renew(10)
	require.NotSame(t, a1, later, "the one under way may be too early for it")
	r.Answered(2*second, Answer{Confirmed: true, Term: 3, Leases: []Outcome{{Answer: Renewed, TTL: second}, {Answer: Overdue}}})
	require.True(t, isDone(a1) && isDone(b1))
	require.Equal(t, Outcome{Answer: Renewed, TTL: second, Term: 3}, a1.Got())
	require.Equal(t, Outcome{Answer: Overdue, Term: 3}, b1.Got())
	require.False(t, isDone(later))
	b, _ = r.Next(2*second, 0)
	require.Equal(t, []core.LeaseID{10}, b.Leases)
	r.Answered(2*second, Answer{Confirmed: true, Term: 3, Leases: []Outcome{{}}})

	r.Touch(1)
	none, wait = r.Next(2*second+touchInterval/4, 0)
	require.Nil(t, none)
	require.Equal(t, touchInterval*3/4, wait)
	b, _ = r.Next(2*second+touchInterval, 0)
	require.Equal(t, []core.LeaseID{1}, b.Touches)
	r.Answered(3*second, Answer{Confirmed: true, Term: 3})

	none, wait = r.Next(3*second, 5*second)
	require.Nil(t, none)
	require.Equal(t, 4*second+touchInterval, wait, "since the last was sent")
	b, _ = r.Next(8*second, 5*second)
	require.Equal(t, &Batch{Sent: 8 * second}, b, "which confirms")
	r.Answered(8*second, Answer{Confirmed: true, Term: 3})
}

// A batch that nobody answers, or one that does not lead, loses no touch, and those who
// wait are told.
func TestRenewalsFail(t *testing.T) {
	for name, answer := range map[string]*Answer{
		"lost": nil, "not leading": {Leases: make([]Outcome, 1)}, "not fitting": {Term: 1, Leases: make([]Outcome, 2)},
	} {
		r := NewRenewals()
		r.Touch(1)
		w := r.Renew(10)
		b, _ := r.Next(second, 0)
		require.NotNil(t, b)
		r.Touch(2)
		if answer == nil {
			r.Failed(second)
		} else {
			r.Answered(second, *answer)
		}
		require.True(t, isDone(w), name)
		require.Equal(t, Outcome{Answer: NotLeading}, w.Got())

		w = r.Renew(10)
		none, wait := r.Next(second, second)
		require.Nil(t, none, "not again at once")
		require.Equal(t, touchInterval, wait)
		b, _ = r.Next(second+touchInterval, 0)
		slices.Sort(b.Touches)
		require.Equal(t, []core.LeaseID{1, 2}, b.Touches)
		require.Equal(t, []core.LeaseID{10}, b.Leases)
		again := r.Renew(12)
		r.Touch(3)
		r.Abandon()
		require.True(t, isDone(again))
		require.Equal(t, Outcome{Answer: NotLeading}, again.Got())
		require.False(t, isDone(w), "it is under way")
		r.Answered(2*second, Answer{Term: 1, Leases: []Outcome{{Answer: Unknown}}})
		require.Equal(t, Unknown, w.Got().Answer)
		none, _ = r.Next(3*second, 0)
		require.Nil(t, none)
	}
}

// A lease counts as renewed only by a leader that is in contact.
func TestRenewalsThatAreNotConfirmed(t *testing.T) {
	for confirmed, want := range map[bool]Outcome{true: {Renewed, second, 7}, false: {Answer: NotLeading}} {
		r := NewRenewals()
		renewed, overdue := r.Renew(1), r.Renew(2)
		_, _ = r.Next(second, 0)
		r.Answered(second, Answer{Term: 7, Confirmed: confirmed, Leases: []Outcome{{Renewed, second, 0}, {Answer: Overdue}}})
		require.Equal(t, want, renewed.Got())
		require.Equal(t, Overdue, overdue.Got().Answer)
	}
}

// A batch is bounded: what does not fit goes with the next.
func TestRenewalsAreBounded(t *testing.T) {
	const n = 2*MaxBatch + 5
	r := NewRenewals()
	var waiting []*Renewing
	for i := range core.LeaseID(n) {
		r.Touch(i)
		waiting = append(waiting, r.Renew(i))
	}
	touches, leases := map[core.LeaseID]bool{}, 0
	for now := second; leases < n; now += second {
		b, _ := r.Next(now, 0)
		require.LessOrEqual(t, len(b.Touches), MaxBatch)
		require.LessOrEqual(t, len(b.Leases), MaxBatch)
		for _, id := range b.Touches {
			touches[id] = true
		}
		leases += len(b.Leases)
		r.Answered(now, Answer{Term: 1, Leases: make([]Outcome, len(b.Leases))})
	}
	require.Len(t, touches, n)
	for _, w := range waiting {
		require.True(t, isDone(w))
	}
}

// What the leader makes of a batch.
func TestRenewAll(t *testing.T) {
	d := New(Options{})
	require.Equal(t, Answer{Leases: []Outcome{{Answer: NotLeading}}}, d.RenewAll(0, []core.LeaseID{1}, []core.LeaseID{2}))
	d.Lead(0, 7, []Lease{{ID: 1, TTL: 2 * second, Session: true}, {ID: 2, TTL: second}, {ID: 3, TTL: second / 2}}, 0)
	require.Equal(t, uint64(7), d.Term())
	now := time.Duration(0)
	steady(d, &now, 600*time.Millisecond)
	require.Equal(t, Answer{Term: 7, Leases: []Outcome{{Renewed, second, 0}, {Overdue, 0, 0}, {Unknown, 0, 0}, {Unknown, 0, 0}}},
		d.RenewAll(now, []core.LeaseID{1, 2, 9}, []core.LeaseID{2, 3, 4, 1}))
	left, _ := d.Remaining(now, 1)
	require.Equal(t, 2*second, left, "touched")
}

// The arithmetic of the package comment: a member that is cut off closes the connection
// of a session before the others have it end, whether by the deadlines of the leader that
// confirmed it last or by a new one's. A client sends something every third of its
// timeout, the network takes what it takes, and the cut comes at any moment.
func TestCutOffMembersCloseFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const step = 5 * time.Millisecond
		election := time.Duration(rapid.IntRange(500, 2000).Draw(t, "election in ms")) * time.Millisecond
		timeout := 2*election + time.Duration(rapid.IntRange(0, 2000).Draw(t, "more in ms"))*time.Millisecond
		cut := time.Duration(rapid.IntRange(3000, 12_000).Draw(t, "cut in ms")) * time.Millisecond
		late := time.Duration(rapid.IntRange(0, 300).Draw(t, "how late it notices, in thousandths")) * election / 1000
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		delay := func() time.Duration { return time.Duration(random.Int64N(int64(touchInterval / 2))) }

		leader := New(Options{SessionSlack: 3 * touchInterval, MaxGap: time.Hour})
		leader.Lead(0, 1, []Lease{{ID: 1, TTL: timeout, Session: true}}, election)
		member := NewRenewals()
		var quorum, confirmed, touched, spoke, arrives, returns time.Duration
		var sent *Batch
		for now := step; ; now += step {
			// The client, and the face, which keeps back what it hears.
			if now-spoke >= timeout/3 {
				if spoke = now; now-touched >= touchInterval {
					member.Touch(1)
					touched = now
				}
			}
			if now%(election/4) < step && now < cut {
				quorum = now // the leader is confirmed by the others
			}
			if sent == nil {
				if sent, _ = member.Next(now, election/4); sent != nil {
					arrives = now + delay()
					returns = arrives + delay()
				}
			}
			switch leader.Tick(now); {
			case sent != nil && arrives > 0 && now >= arrives:
				arrives = 0
				if now < cut {
					leader.RenewAll(now, sent.Touches, nil)
				}
			case sent != nil && arrives == 0 && now >= returns && now < cut:
				if now < quorum+election {
					confirmed = sent.Sent
				}
				member.Answered(now, Answer{Term: 1})
				sent = nil
			}
			if due(leader, now) != nil {
				require.LessOrEqual(t, confirmed+election+late, now, "the leader was first")
				break
			}
			require.Less(t, now, cut+time.Minute)
		}
		// A leader that is elected as soon as the old one's last question was answered.
		require.LessOrEqual(t, confirmed+election+late, quorum+timeout+election, "a new leader was first")
	})
}
