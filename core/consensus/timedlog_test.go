package consensus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
)

// slowLog takes a time for a write.
type slowLog struct {
	Log
	takes time.Duration
}

func (l slowLog) Append(*raftpb.HardState, []*raftpb.Entry, bool) error {
	<-time.After(l.takes)
	return nil
}

func TestTimedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewTimedLog(slowLog{takes: 3 * time.Second})
		at := func(took time.Duration, last uint64) {
			t.Helper()
			gotTook, gotLast := l.UnderWay()
			require.InDelta(t, took, gotTook, 1) // it counts from 1
			require.Equal(t, last, gotLast)
		}
		at(0, 0)
		index := uint64(10)
		done := make(chan error)
		go func() { done <- l.Append(nil, []*raftpb.Entry{{Index: &index}}, true) }()
		synctest.Wait()
		at(0, 10)
		<-time.After(2 * time.Second)
		at(2*time.Second, 10)
		require.NoError(t, <-done)
		at(0, 10)
	})
}
