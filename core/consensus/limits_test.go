package consensus

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
)

// What a leader may have appended and not applied is bounded; the rest waits in
// the queue, and raft is not even asked.
func TestUnappliedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var warnings lockedBuffer
		open := make(chan struct{})
		state := &recorder{before: func([]Committed) error { <-open; return nil }}
		log := newMemLog(1)
		d := start(t, Config{
			ID: 1, Log: log, Applier: state, QueueBytes: 100 << 20,
			Logger: slog.New(slog.NewTextHandler(&warnings, &slog.HandlerOptions{Level: slog.LevelWarn})),
		})
		synctest.Wait()
		var outcomes []<-chan outcome
		large := strings.Repeat("x", maxEntryBytes)
		for range 40 {
			outcomes = append(outcomes, propose(t, d, large, never))
		}
		synctest.Wait()
		require.Less(t, log.now.last(), uint64(2+maxUnappliedBytes/maxEntryBytes))
		require.Greater(t, log.now.last(), uint64(maxUnappliedBytes/maxEntryBytes-2))
		close(open)
		for _, c := range outcomes {
			require.NoError(t, (<-c).err)
		}
		require.Empty(t, warnings.String())
	})
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Calls of the state machine are bounded in bytes and entries, whatever the tasks
// are, and tasks that have gathered share a call.
func TestApplyCalls(t *testing.T) {
	index := uint64(1)
	task := func(sizes ...int) *applyTask {
		t := &applyTask{}
		for _, n := range sizes {
			index++
			t.entries = append(t.entries, Committed{Index: index, Data: make([]byte, n)})
		}
		return t
	}
	var applied atomic.Uint64
	state := &recorder{}
	inbox := newMailbox(0, nil)
	a := applyLoop{to: state, inbox: inbox, applied: &applied}
	tasks := []*applyTask{task(600 << 10), task(600<<10, 600<<10), task(1, 2), task(3), task(2<<20, 1)}
	held, err := a.apply(tasks)
	require.NoError(t, err)
	require.Zero(t, held, "somebody steps")
	require.Equal(t, []int{1, 1, 4, 1, 1}, state.calls)
	require.Equal(t, tasks, inbox.rest().applied)
	require.Equal(t, index, applied.Load())

	state.calls = nil
	_, err = a.apply([]*applyTask{task(1), task(1), task(1)})
	require.NoError(t, err)
	require.Equal(t, []int{3}, state.calls)
	state.calls = nil
	_, err = a.apply([]*applyTask{task(make([]int, 2*maxApplyEntries+1)...)})
	require.NoError(t, err)
	require.Equal(t, []int{maxApplyEntries, maxApplyEntries, 1}, state.calls)
}

// What a failing step has claimed is answered, though nobody will apply it.
func TestFailedStepAnswersWhatItClaimed(t *testing.T) {
	log := newMemLog(1)
	c := Config{ID: 1, Log: log, Applied: 1, Applier: noApplier{}, Logger: quiet()}.withDefaults()
	r, err := newReplica(&c)
	require.NoError(t, err)
	lead(t, r, log)
	p := NewProposal([]byte("fine"), never)
	out, err := r.step(time.Now(), &inputs{proposals: []*Proposal{p}})
	require.NoError(t, err)
	first := out.appends[0]
	require.NoError(t, r.rn.Propose([]byte("no entry of ours")))
	out, err = r.step(time.Now(), &inputs{})
	require.NoError(t, err)
	second := out.appends[0]
	for _, a := range []*appendTask{first, second} {
		require.NoError(t, log.Append(a.hard, a.entries, a.sync))
	}
	_, err = r.step(time.Now(), &inputs{appended: []*appendTask{first, second}})
	require.ErrorContains(t, err, "entry 4: ")
	_, err = p.Wait(t.Context())
	require.ErrorIs(t, err, core.Stopped)
}

// Whoever comes while the consensus goroutine is busy, and stopped before it
// looks again, is answered too.
func TestStopAnswersTheMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		log := newMemLog(1)
		d := start(t, Config{ID: 1, Log: log, Applier: &recorder{}, Now: func() time.Time {
			once.Do(func() {
				close(busy)
				<-goOn
			})
			return time.Now()
		}})
		<-busy
		proposed := propose(t, d, "x", never)
		read := make(chan error, 1)
		go func() {
			_, err := d.ReadIndex(context.Background())
			read <- err
		}()
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- d.Stop() }()
		synctest.Wait()
		close(goOn)
		require.NoError(t, <-stopped)
		require.Equal(t, core.Stopped, (<-proposed).err)
		require.Equal(t, core.Stopped, <-read)
	})
}

// Messages of peers that nobody takes in are bounded, and the bound is on what
// waits, not on what has come.
func TestMailboxBoundsMessages(t *testing.T) {
	m := newMailbox(0, nil)
	message := &Message{Type: raftpb.MsgApp.Enum()}
	var in inputs
	for range 3 {
		for range 5 {
			m.receive(message, maxPendingMessages/4)
		}
		require.True(t, m.take(&in))
		require.Len(t, in.messages, 4)
		in.reset()
	}
	m.receive(message, 2*maxPendingMessages)
	require.True(t, m.take(&in))
	require.Len(t, in.messages, 1, "an empty mailbox takes anything")
}

// Proposals take the token of stepping out only if there is use for them.
func TestMailboxWakes(t *testing.T) {
	calls := 0
	m := newMailbox(1<<20, func() { calls++ })
	var in inputs
	require.False(t, m.settle(0, appetite{proposals: false}))
	require.NoError(t, m.propose(NewProposal(nil, never)))
	require.Zero(t, calls, "it is not hungry")
	require.True(t, m.appended(&appendTask{}))
	require.False(t, m.appended(&appendTask{}), "somebody has the token already")
	require.True(t, m.take(&in))
	require.Len(t, in.appended, 2)
	require.Empty(t, in.proposals, "they stay where they are")
	in.reset()

	require.True(t, m.settle(0, appetite{proposals: true}))
	require.True(t, m.take(&in))
	require.Len(t, in.proposals, 1)
	in.reset()
	require.False(t, m.settle(0, appetite{proposals: true}))
	require.NoError(t, m.propose(NewProposal(nil, never)))
	require.Equal(t, 1, calls)
	require.NoError(t, m.propose(NewProposal(nil, never)))
	require.Equal(t, 1, calls, "it is awake already")

	require.False(t, m.settle(0, appetite{proposals: false}), "no use for them")
	m.tick()
	m.tick()
	require.Equal(t, 2, calls)
	require.True(t, m.take(&in), "a tick takes everything")
	require.Len(t, in.proposals, 2)
	require.Equal(t, 1, in.ticks, "however long nobody looked")
}
