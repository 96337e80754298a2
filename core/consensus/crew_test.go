package consensus

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
)

// startQuiet is startLone, with a tick once in a while only. steps counts the steps.
func startQuiet(t *testing.T) (d *Driver, log *memLog, state *recorder, steps *atomic.Int64) {
	t.Helper()
	log, state, steps = newMemLog(1), &recorder{}, new(atomic.Int64)
	d = start(t, Config{
		ID: 1, Log: log, Applier: state, TickInterval: time.Hour, ElectionTimeout: 10 * time.Hour,
		Now: func() time.Time {
			steps.Add(1)
			return time.Now()
		},
	})
	synctest.Wait()
	require.True(t, d.SoleLeader())
	return d, log, state, steps
}

// A lone write goes through all of its stages on the goroutine that its caller woke, and
// takes two steps: one that appends it, and one that finds it committed.
func TestLoneWriteIsHandedOverOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, _, steps := startQuiet(t)
		handed, stepped := d.crew.handed.Load(), steps.Load()
		for i := range 10 {
			require.NoError(t, (<-propose(t, d, numbered(i), never)).err)
			synctest.Wait()
		}
		require.EqualValues(t, 10, d.crew.handed.Load()-handed)
		require.EqualValues(t, 20, steps.Load()-stepped)
	})
}

// While one batch is applied the next is appended, and a third gathers.
func TestStagesOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, log, state, _ := startQuiet(t)
		apply := make(chan struct{})
		state.before = func([]Committed) error { <-apply; return nil }
		first := propose(t, d, "first", never)
		synctest.Wait()
		require.EqualValues(t, 3, log.now.last(), "it is being applied")
		second := propose(t, d, "second", never)
		synctest.Wait()
		require.EqualValues(t, 4, log.now.last(), "appended beside")
		release := hold(log)
		third := propose(t, d, "third", never)
		synctest.Wait()
		_, _, committed, applied := d.Status()
		require.EqualValues(t, 4, committed)
		require.EqualValues(t, 2, applied)
		_ = propose(t, d, "fourth", never) // with all three at work: one applies, one appends, one looks
		close(apply)
		require.NoError(t, (<-first).err)
		require.NoError(t, (<-second).err, "while the third is appended")
		release()
		require.NoError(t, (<-third).err)
	})
}

// A leader whose disk and state machine hang goes on to send heartbeats, and to hear.
func TestTicksGoOnWhileTheOthersHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		leader := c.leader(t)
		_, term, _, _ := c.drivers[leader].Status()
		apply := make(chan struct{})
		applying := make(chan struct{}, 1)
		c.states[leader].before = func([]Committed) error {
			applying <- struct{}{}
			<-apply
			return nil
		}
		first := propose(t, c.drivers[leader], "being applied", never)
		<-applying
		release := hold(c.logs[leader])
		second := propose(t, c.drivers[leader], "being appended", never)
		<-time.After(10 * defaultElectionTimeout)
		synctest.Wait()
		require.Equal(t, leader, c.leader(t))
		_, now, committed, _ := c.drivers[leader].Status()
		require.Equal(t, term, now)
		require.EqualValues(t, 4, committed, "the followers have it")
		close(apply)
		release()
		require.NoError(t, (<-first).err)
		<-applying
		require.NoError(t, (<-second).err)
	})
}

// Stop waits for the stage that a lone write is in, and there is none after it.
func TestStopWithinAStage(t *testing.T) {
	for name, stage := range map[string]struct {
		hold    func(*memLog, *recorder, func() error)
		applied bool
	}{
		"append": {hold: func(l *memLog, _ *recorder, held func() error) {
			l.beforeAppend = func([]*raftpb.Entry, bool) error { return held() }
		}},
		"apply": {applied: true, hold: func(_ *memLog, r *recorder, held func() error) {
			r.before = func([]Committed) error { return held() }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, log, state, _ := startQuiet(t)
				entered, leave := make(chan struct{}), make(chan struct{})
				stage.hold(log, state, func() error {
					close(entered)
					<-leave
					return nil
				})
				c := propose(t, d, "x", never)
				<-entered
				stopped := make(chan error, 1)
				go func() { stopped <- d.Stop() }()
				synctest.Wait()
				require.Empty(t, stopped)
				close(leave)
				require.NoError(t, <-stopped)
				o := <-c
				if stage.applied {
					require.NoError(t, o.err)
				} else {
					require.ErrorContains(t, o.err, "stop")
				}
				require.Equal(t, stage.applied, len(state.commands()) == 1)
			})
		})
	}
}

// What fails on the one goroutine that carries a lone write ends the member as it does
// on any.
func TestFailureWithinAStage(t *testing.T) {
	broken := errors.New("broken")
	for name, breaks := range map[string]func(*memLog, *recorder){
		"append": func(l *memLog, _ *recorder) { l.beforeAppend = func([]*raftpb.Entry, bool) error { return broken } },
		"apply":  func(_ *memLog, r *recorder) { r.before = func([]Committed) error { return broken } },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, log, state, _ := startQuiet(t)
				breaks(log, state)
				require.ErrorIs(t, (<-propose(t, d, "x", never)).err, broken)
				require.ErrorIs(t, <-d.Failed(), broken)
				require.ErrorIs(t, d.Propose(NewProposal(nil, never)), broken)
				require.ErrorIs(t, d.Stop(), broken)
				require.Empty(t, state.commands())
			})
		})
	}
}

// Many callers make a crowd, for which the next entry waits a moment; a lone one waits for
// nobody.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, log, _, _ := startQuiet(t)
		release := hold(log)
		var all []<-chan outcome
		for i := range 2 * crowd {
			all = append(all, propose(t, d, numbered(i), never))
			synctest.Wait()
		}
		release()
		for _, c := range all {
			require.NoError(t, (<-c).err)
		}
		synctest.Wait()
		require.True(t, d.stepper.crowded)
		require.NoError(t, (<-propose(t, d, "alone", never)).err)
		synctest.Wait()
		require.False(t, d.stepper.crowded)
	})
}

// What waits for an entry to be applied beside its callers is not made to wait.
func TestLazyTasks(t *testing.T) {
	log := newMemLog(1)
	c := Config{ID: 1, Log: log, Applied: 1, Applier: noApplier{}, Logger: quiet()}.withDefaults()
	r, err := newReplica(&c)
	require.NoError(t, err)
	r.status = status{leader: 1, term: 2, ownTerm: true, serving: true, soleLeader: true}
	r.disk.applying = 1
	task := func() *applyTask { return &applyTask{entries: []Committed{{Index: 5, Term: 2, Data: []byte("x")}}} }
	require.True(t, r.patient(task()))
	for name, change := range map[string]func(t *applyTask){
		"changes the members": func(t *applyTask) { t.entries[0].Change.Kind = AddLearner },
		"is large":            func(t *applyTask) { t.entries[0].Data = make([]byte, maxLazyBytes+1) },
		"tells of a leader":   func(t *applyTask) { t.leadership = &leadership{} },
	} {
		x := task()
		change(x)
		require.False(t, r.patient(x), name)
	}
	for name, change := range map[string]func(r *replica){
		"another one is under way": func(r *replica) { r.disk.applying = 2 },
		"much is under way":        func(r *replica) { r.proposer.unapplied = maxUnappliedBytes },
		"readers wait for it":      func(r *replica) { r.status.serving = false },
		"it leads alone then":      func(r *replica) { r.status.soleLeader = false },
		"a state is to be put in":  func(r *replica) { r.catchUp.waiting = &Installed{} },
		"a farewell":               func(r *replica) { r.members.leaving.at = 5 },
	} {
		other := *r
		change(&other)
		require.False(t, other.patient(task()), name)
	}

	m := newMailbox(1, nil)
	require.False(t, m.settle(0, appetite{proposals: true}))
	require.False(t, m.applied([]*applyTask{{lazy: true}}))
	require.False(t, m.settle(0, appetite{proposals: true}), "there is nothing to step for")
	require.True(t, m.applied([]*applyTask{{}, {lazy: true}}))
	var in inputs
	require.True(t, m.take(&in))
	require.Len(t, in.applied, 3)
	require.False(t, m.settle(0, appetite{proposals: true}))
}

// What is done is let go of, however long it is until there is more to do.
func TestDoneTasksAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, _, _ := startQuiet(t)
		require.NoError(t, (<-propose(t, d, "large", never)).err)
		synctest.Wait()
		for _, task := range slices.Concat(d.writing[:cap(d.writing)], d.appends.items[:cap(d.appends.items)]) {
			require.Nil(t, task)
		}
		for _, task := range slices.Concat(d.applier.tasks[:cap(d.applier.tasks)], d.applies.items[:cap(d.applies.items)]) {
			require.Nil(t, task)
		}
	})
}
