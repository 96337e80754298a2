package consensus

import (
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// TimedLog is a Log that knows since when its write is under way: a disk that hangs
// returns nothing. Make one with NewTimedLog.
type TimedLog struct {
	Log
	start time.Time // the zero of began
	// began is when the write under way began, in nanoseconds from 1; zero if there is
	// none. last is the last entry that the log was given.
	began atomic.Int64
	last  atomic.Uint64
}

// NewTimedLog makes one of a log, which it keeps.
func NewTimedLog(log Log) *TimedLog { return &TimedLog{Log: log, start: time.Now()} }

// Append implements Log.
func (l *TimedLog) Append(hs *raftpb.HardState, entries []*raftpb.Entry, sync bool) error {
	if n := len(entries); n > 0 {
		l.last.Store(entries[n-1].GetIndex())
	}
	l.began.Store(int64(time.Since(l.start)) + 1)
	defer l.began.Store(0)
	return l.Log.Append(hs, entries, sync)
}

// UnderWay is how long the write under way has taken, zero if there is none, and the
// index of the last entry that the log was given. It is safe for concurrent use.
func (l *TimedLog) UnderWay() (took time.Duration, last uint64) {
	began := l.began.Load()
	if began == 0 {
		return 0, l.last.Load()
	}
	return time.Since(l.start) - time.Duration(began), l.last.Load()
}
