package raftlog

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// logState is what a log holds, truncated entries included. It is immutable.
type logState struct {
	base    position
	entries []*raftpb.Entry // base.index+1 and on
	state   hardState
}

func (s logState) last() uint64 { return s.base.index + uint64(len(s.entries)) }

// model does to raft.MemoryStorage, and to its own list of states, what the test
// does to the log.
type model struct {
	fs    *vfs.MemFS
	log   *Log
	cache int64

	memory *raft.MemoryStorage
	// states are what a crash may leave: the one that is durable, and those of
	// the batches written since.
	states []logState
	// unwritten is the newest HardState, which a batch has yet to take along.
	unwritten hardState

	// mu guards the rest: the keeper's operations on files crash too.
	mu sync.Mutex
	// crashIn counts the operations on files until one has a crash before it;
	// crashed is what that left.
	crashIn int64
	crashed *vfs.MemFS
	rng     *rand.Rand
}

func (m *model) now() logState { return m.states[len(m.states)-1] }

// MaybeError implements errorfs.Injector: it only looks on.
func (m *model) MaybeError(errorfs.Op) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crashIn--; m.crashIn == 0 {
		m.crashed = m.cloneLocked(m.rng.IntN(101))
	}
	return nil
}

func (m *model) String() string { return "crash" }

func (m *model) cloneLocked(percent int) *vfs.MemFS {
	return m.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: m.rng})
}

func (m *model) open(t *rapid.T) {
	l, err := Open("log", Options{FS: errorfs.Wrap(m.fs, m), SegmentBytes: testSegmentBytes, CacheBytes: m.cache})
	require.NoError(t, err)
	m.log = l
}

// contents reads all that the log holds.
func contents(t require.TestingT, l *Log) logState {
	first, err := l.FirstIndex()
	require.NoError(t, err)
	last, err := l.LastIndex()
	require.NoError(t, err)
	s := logState{state: l.state, base: position{index: first - 1}}
	s.base.term, err = l.Term(first - 1)
	require.NoError(t, err)
	if last >= first {
		s.entries, err = l.Entries(first, last+1, math.MaxUint64)
		require.NoError(t, err)
		require.Len(t, s.entries, int(last+1-first))
	}
	return s
}

// requireOneOf checks that the log holds one of the states, and returns it.
func requireOneOf(t require.TestingT, l *Log, states []logState) logState {
	got := contents(t, l)
	for _, want := range states {
		if want.holds(got) {
			return want
		}
	}
	require.Fail(t, "wrong contents", "the log holds\n%v\nbut may only hold one of\n%v", got, states)
	return logState{}
}

// adopt takes what the reopened log holds for the truth, if it is one of the
// states that may be there.
func (m *model) adopt(t *rapid.T, states []logState) {
	want := requireOneOf(t, m.log, states)
	got := contents(t, m.log)
	m.states = []logState{want}
	m.unwritten = want.state
	m.memory = raft.NewMemoryStorage()
	m.memory.ApplySnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: &got.base.index, Term: &got.base.term}})
	require.NoError(t, m.memory.Append(got.entries))
}

// holds says whether got is s, perhaps truncated.
func (s logState) holds(got logState) bool {
	if got.state != s.state || got.last() != s.last() || got.base.index < s.base.index {
		return false
	}
	cut := got.base.index - s.base.index
	term := s.base.term
	if cut > 0 {
		term = s.entries[cut-1].GetTerm()
	}
	return term == got.base.term && slices.EqualFunc(s.entries[cut:], got.entries, func(a, b *raftpb.Entry) bool {
		return proto.Equal(a, b)
	})
}

func (s logState) String() string {
	text := fmt.Sprintf("%+v after %+v:", s.state, s.base)
	for _, e := range s.entries {
		text += fmt.Sprintf(" %d/%d:%d", e.GetIndex(), e.GetTerm(), len(e.GetData()))
	}
	return text + "\n"
}

// wrote notes a batch, and checks the crash that happened during it, if any.
func (m *model) wrote(t *rapid.T, s logState, synced bool) {
	m.states = append(m.states, s)
	m.checkCrashed(t)
	if synced {
		m.states = m.states[len(m.states)-1:]
	}
}

func (m *model) checkCrashed(t *rapid.T) {
	m.mu.Lock()
	fs := m.crashed
	m.crashed = nil
	m.mu.Unlock()
	if fs == nil {
		return
	}
	l := mustOpen(t, fs)
	requireOneOf(t, l, m.states)
	require.NoError(t, l.Close())
}

func (m *model) append(t *rapid.T) {
	s, hs := m.now(), (*raftpb.HardState)(nil)
	if rapid.Bool().Draw(t, "hs") {
		m.unwritten = hardState{
			term:   m.unwritten.term + rapid.Uint64Range(0, 1).Draw(t, "term"),
			vote:   rapid.Uint64Range(0, 3).Draw(t, "vote"),
			commit: rapid.Uint64Range(1, 1000).Draw(t, "commit"),
		}
		hs = hard(m.unwritten.term, m.unwritten.vote, m.unwritten.commit)
	}
	n := rapid.IntRange(0, 5).Draw(t, "entries")
	first := s.last() + 1
	if memFirst, _ := m.memory.FirstIndex(); n > 0 && rapid.IntRange(0, 3).Draw(t, "overwrite") == 0 {
		first = rapid.Uint64Range(memFirst, first).Draw(t, "first")
	}
	var added []*raftpb.Entry
	for i := range n {
		added = append(added, drawEntry(t, first+uint64(i)))
	}
	sync := rapid.IntRange(0, 2).Draw(t, "sync") > 0
	require.NoError(t, m.log.Append(hs, added, sync))
	require.NoError(t, m.memory.Append(added))
	if n == 0 && !sync {
		m.checkCrashed(t)
		return
	}
	s.entries = append(slices.Clip(s.entries[:first-s.base.index-1]), added...)
	s.state = m.unwritten
	m.wrote(t, s, sync)
}

func drawEntry(t *rapid.T, index uint64) *raftpb.Entry {
	e := &raftpb.Entry{Index: &index, Term: proto.Uint64(rapid.Uint64Range(1, 3).Draw(t, "term"))}
	if rapid.Bool().Draw(t, "typed") {
		e.Type = raftpb.EntryType(rapid.IntRange(0, 2).Draw(t, "type")).Enum()
	}
	size := rapid.SampledFrom([]int{-1, 0, 1, 7, 8, 300, 4000, 9000, 40000}).Draw(t, "bytes")
	if size >= 0 {
		e.Data = make([]byte, size)
		for i := range e.Data {
			e.Data[i] = byte(index) + byte(i)
		}
	}
	require.Equal(t, proto.Size(e), int(raftSize(e)))
	return e
}

func (m *model) truncate(t *rapid.T) {
	first, _ := m.memory.FirstIndex()
	last := m.now().last()
	index := rapid.Uint64Range(first-1, last).Draw(t, "index")
	require.NoError(t, m.log.Truncate(index))
	if index >= first {
		require.NoError(t, m.memory.Compact(index))
	}
	require.Error(t, m.log.Truncate(last+1))
	m.checkCrashed(t)
}

func (m *model) reset(t *rapid.T) {
	p := position{rapid.Uint64Range(1, 50).Draw(t, "index"), rapid.Uint64Range(1, 3).Draw(t, "term")}
	require.NoError(t, m.log.Reset(p.index, p.term))
	state := m.unwritten
	if state.term < p.term {
		state.term, state.vote = p.term, 0
	}
	state.commit = max(state.commit, p.index)
	m.unwritten = state
	m.memory = raft.NewMemoryStorage()
	m.memory.ApplySnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: &p.index, Term: &p.term}})
	m.wrote(t, logState{base: p, state: state}, true)
}

// reopen closes the log and opens it again: nothing is lost.
func (m *model) reopen(t *rapid.T) {
	s := m.now()
	s.state = m.unwritten
	require.NoError(t, m.log.Close())
	m.wrote(t, s, true)
	m.open(t)
	m.adopt(t, m.states)
	m.checkCrashed(t)
}

// crash goes on with what a crash leaves.
func (m *model) crash(t *rapid.T) {
	percent := rapid.SampledFrom([]int{0, 20, 50, 80, 100}).Draw(t, "unsynced")
	m.mu.Lock()
	clone := m.cloneLocked(percent)
	m.mu.Unlock()
	require.NoError(t, m.log.abandon())
	m.mu.Lock()
	m.crashIn, m.crashed, m.fs = 0, nil, clone
	m.mu.Unlock()
	m.open(t)
	states := m.states
	if percent == 100 {
		states = states[len(states)-1:]
	}
	m.adopt(t, states)
	m.checkCrashed(t)
}

// arm lets the machine crash at one of the next operations.
func (m *model) arm(t *rapid.T) {
	operations := rapid.Int64Range(1, 30).Draw(t, "operations")
	m.mu.Lock()
	defer m.mu.Unlock()
	m.crashIn = operations
}

func (m *model) check(t *rapid.T) {
	wantFirst, err := m.memory.FirstIndex()
	require.NoError(t, err)
	first, err := m.log.FirstIndex()
	require.NoError(t, err)
	require.Equal(t, wantFirst, first)
	wantLast, err := m.memory.LastIndex()
	require.NoError(t, err)
	last, err := m.log.LastIndex()
	require.NoError(t, err)
	require.Equal(t, wantLast, last)
	require.Equal(t, m.unwritten, m.log.state)
	for i := max(first, 3) - 3; i <= last+2; i++ {
		want, wantErr := m.memory.Term(i)
		got, err := m.log.Term(i)
		require.Equal(t, wantErr, err)
		require.Equal(t, want, got, "term of %d", i)
	}
	require.GreaterOrEqual(t, m.log.ring.first(first), first, "truncated entries are kept in memory")
	require.True(t, m.log.ring.bytes <= m.cache || m.log.ring.count == 1, "%d bytes in memory", m.log.ring.bytes)
	m.checkEntries(t, first, last)
	m.checkBytes(t, first, last)
}

func (m *model) checkEntries(t *rapid.T, first, last uint64) {
	_, err := m.log.Entries(first-1, last+1, 1)
	require.Equal(t, raft.ErrCompacted, err)
	_, err = m.log.Entries(first, last+2, 1)
	require.Equal(t, raft.ErrUnavailable, err)
	if last < first {
		return
	}
	for range 5 {
		lo := rapid.Uint64Range(first, last).Draw(t, "lo")
		hi := rapid.Uint64Range(lo, last+1).Draw(t, "hi")
		size := rapid.SampledFrom([]uint64{0, 1, 20, 300, 5000, 100000, math.MaxUint64}).Draw(t, "max")
		want, err := m.memory.Entries(lo, hi, size)
		require.NoError(t, err)
		got, err := m.log.Entries(lo, hi, size)
		require.NoError(t, err)
		require.Len(t, got, len(want), "entries [%d, %d) of %d bytes", lo, hi, size)
		for i := range want {
			require.True(t, proto.Equal(want[i], got[i]), "entry %d: %v, not %v", lo+uint64(i), got[i], want[i])
		}
		_ = append(got, nil) // the slice is ours
	}
}

func (m *model) checkBytes(t *rapid.T, first, last uint64) {
	require.Zero(t, m.log.BytesAfter(last))
	require.Zero(t, m.log.BytesAfter(last+7))
	s := m.now()
	var bytes, largest int64
	for i := last; i >= first; i-- {
		size := recordBytes(len(s.entries[i-s.base.index-1].GetData()))
		bytes += size
		largest = max(largest, size)
		got := m.log.BytesAfter(i - 1)
		require.GreaterOrEqual(t, got, bytes, "after %d", i-1)
	}
	require.GreaterOrEqual(t, m.log.BytesAfter(0), bytes, "from before the first of them")
}

// TestModel compares the log with raft.MemoryStorage over random operations,
// reopenings and crashes: all that was synced is there, what was not is there in
// whole batches and in order, and nothing else is.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			fs:     vfs.NewCrashableMem(),
			cache:  rapid.SampledFrom([]int64{1, 1000, 100000}).Draw(t, "cache"),
			memory: raft.NewMemoryStorage(),
			states: []logState{{}},
			rng:    rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed"))),
		}
		m.arm(t)
		m.open(t)
		m.checkCrashed(t)
		defer func() { require.NoError(t, m.log.Close()) }()
		t.Repeat(map[string]func(*rapid.T){
			"append": m.append, "append2": m.append, "append3": m.append,
			"truncate": m.truncate, "reset": m.reset,
			"reopen": m.reopen, "crash": m.crash, "arm": m.arm,
			"": m.check,
		})
	})
}
