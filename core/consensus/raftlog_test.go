package consensus

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/raftlog"
)

// openRaftLog opens a lone member's log, which must be closed after its driver.
func openRaftLog(t testing.TB, dir string, fs storage.FS) *raftlog.Log {
	t.Helper()
	log, err := raftlog.Open(dir, raftlog.Options{FS: fs, SegmentBytes: 64 << 10})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, log.Close()) })
	log.SetMembers([]core.MemberID{1}, nil)
	if last, err := log.LastIndex(); last == 0 {
		require.NoError(t, err)
		require.NoError(t, log.Reset(1, 1))
	}
	return log
}

// TestAcknowledgedSurvivesPowerLoss takes the disk away at any moment: what had
// been acknowledged by then is in the log that is left.
func TestAcknowledgedSurvivesPowerLoss(t *testing.T) {
	fs := storage.NewCrashableMemFS()
	d := start(t, Config{ID: 1, Log: openRaftLog(t, "log", fs), Applier: &recorder{}})
	ctx, cancel := context.WithCancel(t.Context())
	acknowledged := make(chan string, 1<<16) // so that clients go on while the disk is copied
	var clients sync.WaitGroup
	for client := range 8 {
		clients.Go(func() {
			for i := client; ctx.Err() == nil; i += 8 {
				p := NewProposal([]byte(numbered(i)), never)
				if err := d.Propose(p); err != nil {
					t.Error(err)
					return
				}
				if _, err := p.Wait(context.Background()); err != nil {
					t.Error(err)
					return
				}
				acknowledged <- numbered(i)
			}
		})
	}
	type crash struct {
		disk  *storage.MemFS
		known []string
	}
	var crashes []crash
	var known []string
	for len(crashes) < 10 {
		known = append(known, <-acknowledged)
		if len(known) == 1+20*len(crashes) {
			crashes = append(crashes, crash{storage.CrashClone(fs, 50, uint64(len(crashes))), known[:len(known):len(known)]})
		}
	}
	cancel()
	clients.Wait()
	require.NoError(t, d.Stop())

	for _, c := range crashes {
		state := &recorder{}
		again := start(t, Config{ID: 1, Log: openRaftLog(t, "log", c.disk), Applier: state})
		require.Eventually(t, again.SoleLeader, 10*time.Second, time.Millisecond)
		require.Subset(t, state.commands(), c.known)
		require.NoError(t, again.Stop())
	}
}

// A restarted member serves at once, not after an election timeout, and goes on
// where its state machine ends.
func TestRestart(t *testing.T) {
	fs := storage.NewMemFS()
	var want []string
	applied := uint64(1)
	for restart := range 5 {
		log, err := raftlog.Open("log", raftlog.Options{FS: fs})
		require.NoError(t, err)
		log.SetMembers([]core.MemberID{1}, nil)
		if restart == 0 {
			require.NoError(t, log.Reset(1, 1))
		}
		require.NoError(t, log.RaiseCommit(applied))
		state := &recorder{}
		d, err := Start(Config{
			ID: 1, Log: log, Applied: applied, Applier: state, Logger: quiet(),
			TickInterval: time.Minute, ElectionTimeout: time.Hour,
		})
		require.NoError(t, err)
		for range 10 {
			want = append(want, numbered(len(want)))
			require.NoError(t, (<-propose(t, d, want[len(want)-1], never)).err)
		}
		require.NoError(t, d.Stop())
		require.NoError(t, log.Close())
		require.Equal(t, want[len(want)-10:], state.commands(), "what was applied before is not applied again")
		_, term, _, now := d.Status()
		require.EqualValues(t, restart+2, term)
		applied = now
	}
}
