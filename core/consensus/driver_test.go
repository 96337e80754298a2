package consensus

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
)

// never is a deadline that does not come up.
var never = time.Time{}.AddDate(9000, 0, 0)

func TestLoneClientWaitsForOneAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, log, state := startLone(t)
		writes, syncs := log.writes, log.syncs
		for i := range 10 {
			o := <-propose(t, d, numbered(i), never)
			require.NoError(t, o.err)
			require.Zero(t, o.after, "there must be no timer in the way")
		}
		require.Equal(t, 10, state.filled())
		synctest.Wait()
		require.Equal(t, 10, log.writes-writes)
		require.Equal(t, 10, log.syncs-syncs)
		_, _, committed, applied := d.Status()
		require.EqualValues(t, 12, committed) // after the log's beginning and the term's
		require.EqualValues(t, 12, applied)
	})
}

// Appending is told of an entry before the log is: what it takes to apply it can be got
// ready while the disk syncs.
func TestAppendingComesBeforeTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog(1)
		var told [][]byte
		d := start(t, Config{ID: 1, Log: log, Applier: &recorder{}, Appending: func(data []byte) {
			told = append(told, data)
		}})
		synctest.Wait()
		require.Empty(t, told, "the entry that begins a term holds no commands")
		release := hold(log)
		c := propose(t, d, "x", never)
		synctest.Wait()
		require.Len(t, told, 1)
		require.EqualValues(t, 2, log.now.last(), "the log does not have it yet")
		frame, err := command.DecodeEntry(told[0])
		require.NoError(t, err)
		require.Equal(t, [][]byte{[]byte("x")}, frame.Batches[0].Commands)
		release()
		require.NoError(t, (<-c).err)
	})
}

// An entry that changes the members is wrapped, and nothing to read ahead for.
func TestAppendingPassesOverChangesOfMembers(t *testing.T) {
	var told []string
	task := &appendTask{entries: []*raftpb.Entry{
		{Data: []byte("a")}, {}, {Type: raftpb.EntryConfChange.Enum(), Data: []byte("change")}, {Data: []byte("b")},
	}}
	task.announce(nil)
	task.announce(func(data []byte) { told = append(told, string(data)) })
	require.Equal(t, []string{"a", "b"}, told)
}

func TestBatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, log, state := startLone(t)
		release := hold(log)
		var outcomes []<-chan outcome
		var want []string
		for i := range 1000 {
			want = append(want, numbered(i))
			outcomes = append(outcomes, propose(t, d, numbered(i), never))
			if i == 0 {
				synctest.Wait() // the first one is being appended
			}
		}
		synctest.Wait()
		release()
		for i, c := range outcomes {
			o := <-c
			require.NoError(t, o.err)
			require.EqualValues(t, min(3+i, 4), o.result.Rev)
		}
		require.Equal(t, 2, state.filled(), "the first one, and all that gathered meanwhile")
		require.Equal(t, want, state.commands())
	})
}

func TestEntrySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, log, state := startLone(t)
		release := hold(log)
		large := strings.Repeat("x", 600<<10)
		first := propose(t, d, "first", never)
		synctest.Wait()
		var outcomes []<-chan outcome
		for _, command := range []string{"a", large, "b", large, "c", strings.Repeat("y", 3<<20), "d", "e"} {
			outcomes = append(outcomes, propose(t, d, command, never))
		}
		release()
		require.NoError(t, (<-first).err)
		var at []int
		for _, c := range outcomes {
			o := <-c
			require.NoError(t, o.err)
			at = append(at, int(o.result.Rev)-4)
		}
		// Three full entries, one command that is larger than an entry may be, the rest.
		require.Equal(t, []int{0, 0, 0, 1, 1, 2, 3, 3}, at)
		require.Equal(t, 5, state.filled())
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog(1)
		d := start(t, Config{ID: 1, Log: log, Applier: &recorder{}, QueueBytes: 10 * (100 + proposalOverhead)})
		synctest.Wait()
		release := hold(log)
		command := strings.Repeat("x", 100)
		first := propose(t, d, command, never)
		synctest.Wait() // it has left the queue
		var outcomes []<-chan outcome
		for range 10 {
			outcomes = append(outcomes, propose(t, d, command, never))
		}
		require.ErrorIs(t, d.Propose(NewProposal([]byte(command), never)), core.TooManyRequests)
		release()
		require.NoError(t, (<-first).err)
		for _, c := range outcomes {
			require.NoError(t, (<-c).err)
		}
		require.NoError(t, (<-propose(t, d, strings.Repeat("x", 1<<20), never)).err, "an empty queue takes anything")
	})
}

func TestRefusesWhileApplyIsFarBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, state := startLone(t)
		open := make(chan struct{})
		state.before = func([]Committed) error { <-open; return nil }
		refused := 0
		for n := range maxUnapplied + 10 {
			err := d.Propose(NewProposal([]byte("x"), never))
			if err != nil {
				require.Equal(t, core.TooManyRequests, err)
				require.Greater(t, n, maxUnapplied)
				refused++
			}
			synctest.Wait() // so that each is an entry
		}
		require.Equal(t, 9, refused)
		close(open)
		synctest.Wait()
		require.NoError(t, (<-propose(t, d, "x", never)).err)
	})
}

// Clients wait while a long log is replayed, in calls that are bounded.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog(1)
		var entries []*raftpb.Entry
		const last = maxUnapplied + 1000
		for i := uint64(2); i <= last; i++ {
			entries = append(entries, &raftpb.Entry{Term: new(uint64(1)), Index: new(i)})
		}
		require.NoError(t, log.Append(nil, entries, true))
		log.raiseCommit(last)
		open := make(chan struct{})
		state := &recorder{before: func([]Committed) error { <-open; return nil }}
		d := start(t, Config{ID: 1, Log: log, Applier: state})
		synctest.Wait()
		c := propose(t, d, "x", never)
		synctest.Wait()
		require.False(t, d.SoleLeader())
		require.Empty(t, c)
		close(open)
		require.NoError(t, (<-c).err)
		require.Greater(t, len(state.calls), 4)
		for _, n := range state.calls {
			require.LessOrEqual(t, n, maxApplyEntries)
		}
		for i, e := range state.entries {
			require.EqualValues(t, i+2, e.Index)
		}
	})
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, log, state := startLone(t)
		release := hold(log)
		appended := propose(t, d, "appended", time.Now().Add(time.Second))
		patient := propose(t, d, "patient", never)
		synctest.Wait()
		queued := propose(t, d, "queued", time.Now().Add(time.Second))
		usual := propose(t, d, "usual", time.Time{})

		for _, c := range []<-chan outcome{appended, queued} {
			o := <-c
			require.Equal(t, core.Timeout, o.err)
			require.GreaterOrEqual(t, o.after, time.Second)
			require.LessOrEqual(t, o.after, time.Second+defaultTickInterval)
		}
		o := <-usual
		require.Equal(t, core.Timeout, o.err)
		require.InDelta(t, 7*time.Second, o.after, float64(defaultTickInterval)) // etcd T-04
		release()
		require.NoError(t, (<-patient).err)
		synctest.Wait()
		require.Equal(t, []string{"appended", "patient"}, state.commands(), "what timed out in the queue is not proposed")
	})
}

func TestNoLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, Config{ID: 1, Log: newMemLog(1, 2, 3), Applier: &recorder{}, Send: func([]*Message) {}})
		c := propose(t, d, "x", time.Now().Add(time.Second))
		_, err := d.ReadIndex(t.Context())
		require.Equal(t, core.NoLeader, err)
		require.Equal(t, core.NoLeader, (<-c).err)
		require.False(t, d.SoleLeader())
	})
}

func TestStopAnswersEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog(1)
		applying, open := make(chan struct{}), make(chan struct{})
		state := &recorder{before: func(batch []Committed) error {
			if len(batch[0].Local) > 0 {
				close(applying)
				<-open
			}
			return nil
		}}
		d := start(t, Config{ID: 1, Log: log, Applier: state})
		synctest.Wait()
		applied := propose(t, d, "being applied", never)
		<-applying
		toApply := propose(t, d, "to be applied", never)
		synctest.Wait()
		release := hold(log)
		appended := propose(t, d, "being appended", never)
		synctest.Wait()
		queued := propose(t, d, "queued", never)

		stopped := make(chan error, 1)
		go func() { stopped <- d.Stop() }()
		synctest.Wait()
		require.Empty(t, stopped, "it must wait for its goroutines")
		require.Equal(t, core.Stopped, d.Propose(NewProposal([]byte("late"), never)))
		_, err := d.ReadIndex(t.Context())
		require.Equal(t, core.Stopped, err)
		close(open)
		release()

		require.NoError(t, <-stopped)
		require.NoError(t, (<-applied).err)
		for _, c := range []<-chan outcome{toApply, appended, queued} {
			require.Equal(t, core.Stopped, (<-c).err)
		}
		require.NoError(t, d.Stop(), "it may be called again")
		require.False(t, d.SoleLeader())
		require.Equal(t, []string{"being applied"}, state.commands())
	})
}

func TestStopAnswersReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, Config{ID: 1, Log: newMemLog(1, 2, 3), Applier: &recorder{}, Send: func([]*Message) {}})
		answered := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := d.ReadIndex(context.Background())
				answered <- err
			}()
			synctest.Wait()
		}
		require.NoError(t, d.Stop())
		require.Equal(t, core.Stopped, <-answered)
		require.Equal(t, core.Stopped, <-answered)
	})
}

func TestLogFailureStopsTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, log, state := startLone(t)
		full := errors.New("no space left on device")
		log.mu.Lock()
		log.beforeAppend = func([]*raftpb.Entry, bool) error { return full }
		log.mu.Unlock()
		o := <-propose(t, d, "x", never)
		require.ErrorIs(t, o.err, core.Stopped)
		require.ErrorIs(t, o.err, full)
		err := <-d.Failed()
		require.ErrorIs(t, err, full)
		require.ErrorContains(t, err, "append to the log")
		require.ErrorIs(t, d.Stop(), full)
		require.ErrorIs(t, d.Propose(NewProposal([]byte("y"), never)), core.Stopped)
		require.Empty(t, state.commands())
	})
}

func TestApplyFailureStopsTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, log, state := startLone(t)
		broken := errors.New("broken")
		state.before = func([]Committed) error { return broken }
		release := hold(log)
		first := propose(t, d, "x", never)
		synctest.Wait()
		second := propose(t, d, "y", never)
		release()
		for _, c := range []<-chan outcome{first, second} {
			o := <-c
			require.ErrorIs(t, o.err, core.Stopped)
		}
		err := <-d.Failed()
		require.ErrorIs(t, err, broken)
		require.ErrorContains(t, err, "apply entries 3 to ")
		_, _, _, applied := d.Status()
		require.EqualValues(t, 2, applied)
	})
}

func TestOtherEntryTypeStopsTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog(1)
		require.NoError(t, log.Append(nil, []*raftpb.Entry{
			{Term: new(uint64(1)), Index: new(uint64(2)), Type: raftpb.EntryConfChangeV2.Enum()},
		}, true))
		d := start(t, Config{ID: 1, Log: log, Applier: &recorder{}})
		require.ErrorContains(t, <-d.Failed(), "entry 2: it is of type EntryConfChangeV2")
	})
}

func TestMalformedEntryStopsTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog(1)
		require.NoError(t, log.Append(nil, []*raftpb.Entry{
			{Term: new(uint64(1)), Index: new(uint64(2)), Data: []byte("no entry of ours")},
		}, true))
		d := start(t, Config{ID: 1, Log: log, Applier: &recorder{}})
		require.ErrorContains(t, <-d.Failed(), "entry 2: ")
	})
}

// unreadable is a log whose disk fails.
type unreadable struct{ *memLog }

func (unreadable) Entries(_, _, _ uint64) ([]*raftpb.Entry, error) {
	return nil, errors.New("segment 7: checksum mismatch")
}

func TestUnreadableLogStopsTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, Config{ID: 1, Log: unreadable{newMemLog(1)}, Applier: &recorder{}})
		require.ErrorContains(t, <-d.Failed(), "segment 7: checksum mismatch")
	})
}

// A member that has lost what it once acknowledged must not go on.
func TestLostLogStopsTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, Config{ID: 1, Log: newMemLog(1, 2, 3), Applier: &recorder{}, Send: func([]*Message) {}})
		c := propose(t, d, "x", never)
		d.Receive(&Message{
			Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(5)), Commit: new(uint64(9)),
		})
		require.ErrorContains(t, <-d.Failed(), "tocommit(9) is out of range [lastIndex(1)]")
		require.ErrorIs(t, (<-c).err, core.Stopped)
	})
}
