package consensus

import (
	"math/rand/v2"
	"sync"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// memLog is a raft log in memory that knows what a crash would leave of it: all
// that was appended up to the last sync, and of the rest whatever chance decides.
type memLog struct {
	mu      sync.Mutex
	conf    *raftpb.ConfState
	now     memLogState
	durable memLogState
	appends []memAppend // since the last sync

	writes, syncs int
	beforeAppend  func(entries []*raftpb.Entry, sync bool) error // nil: none
}

// memLogState is a log's content. Its slice is never written in place.
type memLogState struct {
	hard           *raftpb.HardState
	base, baseTerm uint64 // of the entry before the first
	entries        []*raftpb.Entry
}

type memAppend struct {
	hard    *raftpb.HardState
	entries []*raftpb.Entry
}

// newMemLog is the log of a new cluster: it starts after index 1, term 1, which
// count as committed.
func newMemLog(voters ...uint64) *memLog {
	s := memLogState{
		hard: &raftpb.HardState{Term: new(uint64(1)), Vote: new(uint64(0)), Commit: new(uint64(1))},
		base: 1, baseTerm: 1,
	}
	return &memLog{conf: &raftpb.ConfState{Voters: voters}, now: s, durable: s}
}

func (s *memLogState) last() uint64 { return s.base + uint64(len(s.entries)) }

// with returns the state after an append.
func (s memLogState) with(a memAppend) memLogState {
	if a.hard != nil {
		s.hard = a.hard
	}
	if len(a.entries) > 0 {
		keep := int(a.entries[0].GetIndex() - s.base - 1)
		if keep < len(s.entries) {
			s.entries = s.entries[:keep:keep]
		}
		s.entries = append(s.entries, a.entries...)
	}
	return s
}

func (l *memLog) Append(hs *raftpb.HardState, entries []*raftpb.Entry, sync bool) error {
	if l.beforeAppend != nil {
		if err := l.beforeAppend(entries, sync); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := memAppend{hs, entries}
	l.now = l.now.with(a)
	l.writes++
	if sync {
		l.syncs++
		l.durable, l.appends = l.now, l.appends[:0]
		return nil
	}
	l.appends = append(l.appends, a)
	return nil
}

// crash loses what chance takes of the appends that were not synced: they are
// written in order, entries before the hard state, and cut off anywhere.
func (l *memLog) crash(rng *rand.Rand) {
	s := l.durable
	whole := rng.IntN(len(l.appends) + 1)
	for _, a := range l.appends[:whole] {
		s = s.with(a)
	}
	if whole < len(l.appends) {
		torn := l.appends[whole].entries
		s = s.with(memAppend{entries: torn[:rng.IntN(len(torn)+1)]})
	}
	l.now, l.durable, l.appends = s, s, nil
}

// raiseCommit makes the commit index at least index.
func (l *memLog) raiseCommit(applied uint64) {
	if h := l.now.hard; h.GetCommit() < applied {
		l.now.hard = &raftpb.HardState{Term: h.Term, Vote: h.Vote, Commit: new(applied)}
		l.durable = l.now
	}
}

// align is what the owner of a log does before a start: the log begins behind a state
// whose last entry it does not hold, and knows that what is applied is committed.
func (l *memLog) align(applied, term uint64) {
	if t, err := l.Term(applied); err != nil || t != term {
		_ = l.Reset(applied, term) // it never fails
	}
	l.raiseCommit(applied)
}

// truncate forgets the entries up to index, which are durable.
func (l *memLog) truncate(index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now, l.durable = l.now.after(index), l.durable.after(index)
}

// after returns the state without the entries up to index.
func (s memLogState) after(index uint64) memLogState {
	if n := index - s.base; index > s.base {
		s.baseTerm = s.entries[n-1].GetTerm()
		s.entries = append([]*raftpb.Entry(nil), s.entries[n:]...)
		s.base = index
	}
	return s
}

func (l *memLog) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return l.now.hard, raftpb.EnsureConfState(l.conf), nil
}

func (l *memLog) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lo <= l.now.base {
		return nil, raft.ErrCompacted
	}
	if hi > l.now.last()+1 {
		return nil, raft.ErrUnavailable
	}
	entries := l.now.entries[lo-l.now.base-1 : hi-l.now.base-1]
	var size uint64
	for i, e := range entries {
		size += uint64(len(e.GetData())) + 32
		if i > 0 && size > maxSize {
			return entries[:i:i], nil
		}
	}
	return entries[:len(entries):len(entries)], nil
}

func (l *memLog) Term(i uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case i < l.now.base:
		return 0, raft.ErrCompacted
	case i == l.now.base:
		return l.now.baseTerm, nil
	case i > l.now.last():
		return 0, raft.ErrUnavailable
	}
	return l.now.entries[i-l.now.base-1].GetTerm(), nil
}

func (l *memLog) FirstIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now.base + 1, nil
}

func (l *memLog) LastIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now.last(), nil
}

func (l *memLog) Snapshot() (*raftpb.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		ConfState: raftpb.EnsureConfState(l.conf), Index: new(l.now.base), Term: new(l.now.baseTerm),
	}}, nil
}

func (l *memLog) Reset(index, term uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.now.hard
	hard := &raftpb.HardState{Term: new(h.GetTerm()), Vote: new(h.GetVote()), Commit: new(max(h.GetCommit(), index))}
	if h.GetTerm() < term {
		hard.Term, hard.Vote = new(term), new(uint64(0))
	}
	l.now = memLogState{hard: hard, base: index, baseTerm: term}
	l.durable, l.appends = l.now, nil
	return nil
}
