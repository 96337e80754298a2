package consensus

import (
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
