package node

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
)

// hangingWrite is a write of entry 10 that ends at a time.
type hangingWrite struct{ began, ends time.Time }

func (w hangingWrite) UnderWay() (time.Duration, uint64) {
	if time.Now().After(w.ends) {
		return 0, 10
	}
	return time.Since(w.began), 10
}

// fakeLeader is a leader of its members, which notes to whom it hands over.
type fakeLeader struct {
	leader  core.MemberID
	members []consensus.Progress
	handed  []core.MemberID
	// late is when the members are where they are; before that they lack the last entry.
	late time.Time
}

func (f *fakeLeader) Status() (core.MemberID, uint64, uint64, uint64) { return f.leader, 1, 1, 1 }

func (f *fakeLeader) Progress(context.Context) ([]consensus.Progress, error) {
	members := slices.Clone(f.members)
	for i := range members {
		if time.Now().Before(f.late) {
			members[i].Match = 9
		}
	}
	return members, nil
}

func (f *fakeLeader) TransferLeadership(_ context.Context, to core.MemberID) error {
	f.handed = append(f.handed, to)
	return core.Timeout
}

func voter(id core.MemberID, match uint64) consensus.Progress {
	return consensus.Progress{ID: id, Match: match, Active: true}
}

// TestHungDisk has a leader write entry 10 to a disk that hangs for a while.
func TestHungDisk(t *testing.T) {
	const election = time.Second
	away := voter(3, 10)
	away.Active = false
	learner := voter(4, 10)
	learner.Learner = true
	for _, c := range []struct {
		name    string
		takes   time.Duration
		leader  core.MemberID
		members []consensus.Progress
		want    []core.MemberID
		late    time.Duration // until the members have the entry
	}{
		{"a disk that works", 900 * time.Millisecond, 1, []consensus.Progress{voter(1, 9), voter(2, 10), voter(3, 10)}, nil, 0},
		{"a disk that hangs", 3 * time.Second, 1, []consensus.Progress{voter(1, 9), voter(2, 9), voter(3, 10)}, []core.MemberID{3}, 0},
		{"for long", 25 * time.Second, 1, []consensus.Progress{voter(1, 9), voter(2, 10), voter(3, 9)}, []core.MemberID{2, 2, 2}, 0},
		{"all disks hang", time.Minute, 1, []consensus.Progress{voter(1, 9), voter(2, 9), voter(3, 9)}, nil, 0},
		{"the others have no majority", time.Minute, 1, []consensus.Progress{voter(1, 9), voter(2, 10), away}, nil, 0},
		{"two members", time.Minute, 1, []consensus.Progress{voter(1, 9), voter(2, 10)}, nil, 0},
		{"only a learner has it", time.Minute, 1, []consensus.Progress{voter(1, 9), voter(2, 9), voter(3, 9), learner}, nil, 0},
		{"a follower", time.Minute, 2, nil, nil, 0},
		{"all disks are slow", 2 * time.Second, 1, []consensus.Progress{voter(1, 9), voter(2, 10), voter(3, 10)}, nil, 1700 * time.Millisecond},
		{"the others are slow, this hangs", 4 * time.Second, 1, []consensus.Progress{voter(1, 9), voter(2, 10), voter(3, 9)}, []core.MemberID{2}, 1700 * time.Millisecond},
		{"alone", time.Minute, 1, []consensus.Progress{voter(1, 9)}, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hungDisk{
					log: hangingWrite{time.Now(), time.Now().Add(c.takes)}, self: 1, election: election,
					logger: slog.New(slog.DiscardHandler),
				}
				f := &fakeLeader{leader: c.leader, members: c.members, late: time.Now().Add(c.late)}
				ctx, cancel := context.WithTimeout(t.Context(), c.takes+5*election)
				defer cancel()
				h.watch(ctx, f)
				require.Equal(t, c.want, f.handed)
			})
		})
	}
}
