package consensus

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
)

// TestFetchedStateLapses: a state that was fetched waits for a leader, but not for ever:
// who has fetched it removes it some time, and a state that is gone must not be installed.
func TestFetchedStateLapses(t *testing.T) {
	for name, c := range map[string]struct {
		after     time.Duration
		installed bool
	}{
		"in time":  {FetchedLasts - time.Second, true},
		"too late": {FetchedLasts, false},
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{ID: 1, Log: newMemLog(1, 2, 3), Applied: 1, Applier: noApplier{}, Logger: quiet()}.withDefaults()
			r, err := newReplica(&config)
			require.NoError(t, err)
			began := time.UnixMilli(0)
			state := Installed{From: 2, Index: 100, Term: 2, Voters: []core.MemberID{1, 2, 3}}
			_, err = r.step(began, &inputs{events: []event{fetched{state: state}}})
			require.NoError(t, err)

			heartbeat := &Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2))}
			out, err := r.step(began.Add(c.after), &inputs{messages: []*Message{heartbeat}})
			require.NoError(t, err)
			require.Equal(t, core.MemberID(2), out.status.leader)
			installs := 0
			for _, task := range out.applies {
				if task.install != nil {
					installs++
				}
			}
			require.Equal(t, c.installed, installs == 1)
			require.Nil(t, r.catchUp.waiting)
		})
	}
}

// TestFetchedStateWaitsForTheApplier: a change of the members that is being applied would
// else be made to the members that the state names.
func TestFetchedStateWaitsForTheApplier(t *testing.T) {
	now := time.UnixMilli(0)
	log := newMemLog(1, 2, 3)
	config := Config{ID: 1, Log: log, Applied: 1, Applier: noApplier{}, Logger: quiet()}.withDefaults()
	r, err := newReplica(&config)
	require.NoError(t, err)
	installs := func(in *inputs) (out outputs, n int) {
		out, err := r.step(now, in)
		require.NoError(t, err)
		for _, a := range out.appends {
			if a.install == nil {
				require.NoError(t, log.Append(a.hard, a.entries, a.sync))
			}
		}
		for _, task := range out.applies {
			if task.install != nil {
				n++
			}
		}
		return out, n
	}
	message := func(kind raftpb.MessageType) *Message {
		return &Message{Type: kind.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2))}
	}
	entry := message(raftpb.MsgApp)
	entry.Index, entry.LogTerm = new(uint64(1)), new(uint64(1))
	entry.Entries = []*raftpb.Entry{{Type: raftpb.EntryNormal.Enum(), Term: new(uint64(2)), Index: new(uint64(2))}}
	out, _ := installs(&inputs{messages: []*Message{entry}})
	appended := append([]*appendTask(nil), out.appends...)
	committed := message(raftpb.MsgHeartbeat)
	committed.Commit = new(uint64(2))
	out, _ = installs(&inputs{appended: appended, messages: []*Message{committed}})
	require.Len(t, out.applies, 1)
	applying := append([]*applyTask(nil), out.applies...)

	state := Installed{From: 2, Index: 100, Term: 2, Voters: []core.MemberID{1, 2, 3}}
	_, n := installs(&inputs{events: []event{fetched{state: state}}})
	require.Zero(t, n)
	_, n = installs(&inputs{applied: applying})
	require.Equal(t, 1, n)
}

// TestChangesOfMembersEndTheirCall: whether the state machine has refused one is read of
// the last entry of a call.
func TestChangesOfMembersEndTheirCall(t *testing.T) {
	change := MemberChange{Kind: AddLearner, ID: 4}
	machine := &recorder{refuse: func(c *Committed) bool { return c.Index == 3 }}
	a := applyLoop{to: machine, inbox: newMailbox(1, nil), applied: new(atomic.Uint64)}
	task := &applyTask{entries: []Committed{{Index: 2}, {Index: 3, Change: change}, {Index: 4}, {Index: 5, Change: change}, {Index: 6}}}
	_, err := a.apply([]*applyTask{task})
	require.NoError(t, err)
	require.Equal(t, []int{2, 2, 1}, machine.calls)
	require.True(t, task.entries[1].Refused)
	require.False(t, task.entries[3].Refused)
}
