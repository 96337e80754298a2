package raftlog

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
)

// The functions of this file serve who opens a member and must not know raft's
// types.

// SetMembers sets what InitialState says of the members: which of them vote, and which
// learn.
func (l *Log) SetMembers(voters, learners []core.MemberID) {
	cs := &raftpb.ConfState{}
	for _, id := range voters {
		cs.Voters = append(cs.Voters, uint64(id))
	}
	for _, id := range learners {
		cs.Learners = append(cs.Learners, uint64(id))
	}
	l.SetConfState(cs)
}

// RaiseCommit makes the commit index at least index, durably: what a state has
// applied is committed, even if the log had not heard of it before a crash. raft
// refuses to start otherwise.
func (l *Log) RaiseCommit(index uint64) error {
	hs := l.HardState()
	if hs.GetCommit() >= index {
		return nil
	}
	return l.Append(&raftpb.HardState{
		Term:   new(hs.GetTerm()),
		Vote:   new(hs.GetVote()),
		Commit: new(index),
	}, nil, true)
}
