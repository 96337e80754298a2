package raftlog

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
)

// faults fails the operations on files from one on, or that one alone, and
// watches that no sync that has failed is tried again. The writer alone calls
// SyncData, the keeper Sync; after a failure of its own neither may sync anything
// (a path does not tell a file: segments are opened under another name).
type faults struct {
	err  error
	only bool // one

	mu      sync.Mutex
	next    int // operation
	at      int
	failed  map[errorfs.OpKind]bool // kinds of sync
	retried string
}

func (f *faults) String() string { return fmt.Sprintf("fault at %d", f.at) }

func (f *faults) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead || op.Kind == errorfs.OpFileClose || op.Kind == errorfs.OpFilePreallocate {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	syncs := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
	if syncs && f.failed[op.Kind] {
		f.retried = op.Path
	}
	f.next++
	if f.next < f.at || f.next > f.at && f.only {
		return nil
	}
	if syncs {
		f.failed[op.Kind] = true
	}
	return f.err
}

func (f *faults) hit() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next >= f.at
}

// workload does a little of everything, and notes the states that may be found
// after a crash: the first is the one that is durable for certain.
type workload struct {
	states []logState
	failed error
}

func (w *workload) did(err error, s logState, synced bool) {
	if w.failed != nil {
		return
	}
	w.states = append(w.states, s)
	switch {
	case err != nil:
		w.failed = err
	case synced:
		w.states = w.states[len(w.states)-1:]
	}
}

func (w *workload) run(t *testing.T, l *Log) {
	s := logState{base: position{1, 1}, state: hardState{term: 1, commit: 1}}
	w.did(l.Reset(1, 1), s, true)
	for i := uint64(2); i < 14; i++ {
		e := entry(i, 1, strings.Repeat("f", 1500*int(i%3)))
		s.entries = append(s.entries[:len(s.entries):len(s.entries)], e)
		s.state.commit = i
		synced := i%4 > 0
		before := w.failed
		err := l.Append(hard(1, 0, i), []*raftpb.Entry{e}, synced)
		if before != nil {
			require.Error(t, err, "entry %d was appended after %v", i, before)
		}
		w.did(err, s, synced)
		if i == 9 && w.failed == nil {
			// A failure in the background may come between.
			_ = l.Truncate(i - 2)
			l.waitIdle()
		}
	}
}

// TestFaults fails each operation that changes something, alone and with all
// that come after it. What was acknowledged is there after a crash, nothing is
// acknowledged after a failure, and no failed sync is tried again.
func TestFaults(t *testing.T) {
	for _, only := range []bool{true, false} {
		t.Run(fmt.Sprintf("only=%v", only), func(t *testing.T) {
			for at := 1; ; at++ {
				if !runFault(t, at, only) {
					require.Greater(t, at, 40, "the workload has become too small")
					return
				}
			}
		})
	}
}

// runFault reports false if there are fewer operations.
func runFault(t *testing.T, at int, only bool) bool {
	f := &faults{err: syscall.ENOSPC, only: only, at: at, failed: map[errorfs.OpKind]bool{}}
	mem := vfs.NewCrashableMem()
	fs := errorfs.Wrap(mem, f)
	w := &workload{states: []logState{{}}}
	l, err := Open("log", testOptions(fs))
	if err == nil {
		w.run(t, l)
		clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: at % 101, RNG: rand.New(rand.NewPCG(1, uint64(at)))})
		err = l.Close()
		checkFault(t, mem, w.states, "operation %d, closed", at)
		mem = clone
	}
	checkFault(t, mem, w.states, "operation %d", at)
	if !f.hit() {
		require.NoError(t, err)
		require.NoError(t, w.failed)
		return false
	}
	if w.failed != nil {
		require.ErrorIs(t, w.failed, syscall.ENOSPC)
		require.Contains(t, w.failed.Error(), "raft log log")
	}
	require.Empty(t, f.retried, "a failed sync was tried again")
	return true
}

func checkFault(t *testing.T, fs vfs.FS, states []logState, format string, args ...any) {
	l, err := Open("log", testOptions(fs))
	require.NoError(t, err, fmt.Sprintf(format, args...))
	requireOneOf(t, l, states)
	require.NoError(t, l.Append(nil, []*raftpb.Entry{entry(contents(t, l).last()+1, 9, "x")}, true))
	require.NoError(t, l.Close())
}

// TestSyncFailure shows what an operator and the owner of the log see of a failed
// sync, and that what the page cache still has is written again by the next Open.
func TestSyncFailure(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var failing atomic.Bool
	watch := &watcher{describe: appends}
	fs := errorfs.Wrap(mem, errorfs.Any(watch, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && op.Kind == errorfs.OpFileSyncData {
			return syscall.EIO
		}
		return nil
	})))
	l := mustOpen(t, fs)
	require.NoError(t, l.Append(nil, []*raftpb.Entry{entry(1, 1, strings.Repeat("x", 5000))}, true))
	failing.Store(true)
	err := l.Append(nil, []*raftpb.Entry{entry(2, 1, "y")}, true)
	require.EqualError(t, err, "raft log log/000001.seg: sync failed: input/output error")
	failing.Store(false)
	require.EqualError(t, l.Append(nil, []*raftpb.Entry{entry(2, 1, "y")}, true),
		"nothing can be appended: raft log log/000001.seg: sync failed: input/output error")
	require.Error(t, l.Reset(5, 1))
	require.Error(t, l.Truncate(1))
	last, err := l.LastIndex()
	require.NoError(t, err)
	require.Equal(t, uint64(1), last, "what failed is not visible")
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Append(nil, nil, false), ErrClosed)
	_, err = l.Entries(1, 2, 0)
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, l.Close())

	watch.take()
	l = mustOpen(t, fs)
	last, err = l.LastIndex()
	require.NoError(t, err)
	require.Equal(t, uint64(2), last)
	require.Equal(t, []string{"write page 2", "sync", "write page 2", "sync"}, watch.take(), "the last batch, then the mark")
	require.NoError(t, l.Close())
}

// TestUnsyncedAreWrittenAgain shows that an Open does not trust the page cache
// with any batch that no later one proves durable.
func TestUnsyncedAreWrittenAgain(t *testing.T) {
	mem := vfs.NewCrashableMem()
	l := mustOpen(t, mem)
	page := strings.Repeat("x", pageBytes-recordHeaderBytes)
	require.NoError(t, l.Append(nil, []*raftpb.Entry{entry(1, 1, page)}, true))
	require.NoError(t, l.Append(nil, []*raftpb.Entry{entry(2, 1, page)}, false))
	require.NoError(t, l.Append(nil, []*raftpb.Entry{entry(3, 1, "y")}, false))
	require.NoError(t, l.abandon())
	watch := &watcher{describe: appends}
	l = mustOpen(t, errorfs.Wrap(mem, watch))
	require.Equal(t, []string{"write page 2", "sync", "write page 3", "sync"}, watch.take())
	require.NoError(t, l.Close())
}

// TestRemovalOrder shows that each removal of a segment is durable before the
// next, so that no crash leaves a gap.
func TestRemovalOrder(t *testing.T) {
	watch := &watcher{describe: func(op errorfs.Op) string {
		switch {
		case op.Kind == errorfs.OpRemove:
			return "remove " + op.Path
		case op.Kind == errorfs.OpFileSync && op.Path == "log":
			return "sync"
		}
		return ""
	}}
	l := mustOpen(t, errorfs.Wrap(vfs.NewCrashableMem(), watch))
	for i := uint64(1); i < 5; i++ {
		require.NoError(t, l.Append(nil, []*raftpb.Entry{entry(i, 1, strings.Repeat("x", 2*testSegmentBytes))}, true))
	}
	l.waitIdle()
	watch.take()
	require.NoError(t, l.Truncate(4))
	l.waitIdle()
	ops := watch.take()
	require.Equal(t, []string{"remove log/000002.seg", "sync", "remove log/000003.seg", "sync", "remove log/000004.seg", "sync"}, ops[len(ops)-6:])
	require.NoError(t, l.Close())
}

// TestReadFailure shows that an entry that cannot be read, or is damaged while
// the log is open, is an error that names the place.
func TestReadFailure(t *testing.T) {
	mem := vfs.NewCrashableMem()
	l := mustOpen(t, mem)
	for i := uint64(1); i < 10; i++ {
		require.NoError(t, l.Append(nil, []*raftpb.Entry{entry(i, 1, strings.Repeat("x", 500))}, true))
	}
	data, err := mem.UnsafeGetFileDataBuffer("log/000001.seg")
	require.NoError(t, err)
	data[firstRecord+500] ^= 1
	_, err = l.Entries(1, 3, 0)
	require.EqualError(t, err, "raft log log/000001.seg at offset 4240: checksum mismatch; restore this member from a peer or a backup")
	_, err = l.Entries(9, 10, 0)
	require.NoError(t, err, "it is in memory")
	data[firstRecord+500] ^= 1
	_, err = l.Entries(1, 3, 0)
	require.NoError(t, err)
	require.NoError(t, l.Close())
}
