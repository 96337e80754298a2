package consensus

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
)

// far is a cluster whose messages take their time each way, and whose disks do.
type far struct {
	*cluster
	way   time.Duration
	links map[[2]core.MemberID]chan late
}

// late is a message on its way.
type late struct {
	due     time.Time
	message *Message
}

// startFar starts three members that are so far from each other.
func startFar(t *testing.T, way, disk time.Duration) *far {
	t.Helper()
	f := &far{
		cluster: &cluster{drivers: map[core.MemberID]*Driver{}, logs: map[core.MemberID]*memLog{}, states: map[core.MemberID]*recorder{}},
		way:     way, links: map[[2]core.MemberID]chan late{},
	}
	for from := core.MemberID(1); from <= 3; from++ {
		for to := core.MemberID(1); to <= 3; to++ {
			f.links[[2]core.MemberID{from, to}] = make(chan late, 1000)
		}
	}
	for id := core.MemberID(1); id <= 3; id++ {
		f.logs[id], f.states[id] = newMemLog(1, 2, 3), &recorder{}
		f.logs[id].beforeAppend = func([]*raftpb.Entry, bool) error {
			<-time.After(disk)
			return nil
		}
		f.drivers[id] = start(t, Config{ID: id, Log: f.logs[id], Applier: f.states[id], Send: f.post})
	}
	var carrying sync.WaitGroup
	t.Cleanup(carrying.Wait)
	for ends, link := range f.links {
		carrying.Go(func() { carry(t.Context(), link, f.drivers[ends[1]]) })
	}
	f.leader(t)
	return f
}

func (f *far) post(messages []*Message) {
	for _, m := range messages {
		f.links[[2]core.MemberID{core.MemberID(m.GetFrom()), core.MemberID(m.GetTo())}] <- late{time.Now().Add(f.way), m}
	}
}

// carry brings the messages of a link, in order, until ctx ends.
func carry(ctx context.Context, link <-chan late, to *Driver) {
	for {
		select {
		case l := <-link:
			select {
			case <-time.After(time.Until(l.due)):
				to.Receive(l.message)
			case <-ctx.Done():
			}
		case <-ctx.Done():
			return
		}
	}
}

// rate is how many proposals of a size so many callers get through in a second.
func rate(t *testing.T, d *Driver, callers, size int) float64 {
	t.Helper()
	const long = 20 * time.Second
	end := time.Now().Add(long)
	var all sync.WaitGroup
	var done atomic.Int64
	for range callers {
		all.Go(func() {
			for time.Now().Before(end) {
				p := NewProposal(make([]byte, size), never)
				if err := d.Propose(p); err != nil {
					t.Error(err)
					return
				}
				if _, err := p.Wait(context.Background()); err != nil {
					t.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / long.Seconds()
}

// What a hundred callers of a follower get through over a link of 100 ms each way, where a
// proposal takes four ways: at most 250 a second, if none ever waited for the window.
func TestFarFollower(t *testing.T) {
	for name, c := range map[string]struct {
		size  int
		least float64
	}{
		"small": {256, 160},
		"large": {16 << 10, 110},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := startFar(t, 100*time.Millisecond, time.Millisecond)
				follower, _ := f.follower(t)
				got := rate(t, f.drivers[follower], 100, c.size)
				t.Logf("%.0f/s", got)
				require.Greater(t, got, c.least)
			})
		})
	}
}
