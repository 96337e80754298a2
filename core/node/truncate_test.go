package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core/consensus"
)

// evenLog is a log of entries of one size, from first to last.
type evenLog struct {
	first, last uint64
	size        int64
}

func (l evenLog) FirstIndex() (uint64, error) { return l.first, nil }
func (l evenLog) LastIndex() (uint64, error)  { return l.last, nil }
func (l evenLog) BytesAfter(i uint64) int64   { return int64(l.last-i) * l.size }

// TestRetention: what is kept of a log of 1 to 100 000 entries of a KiB, or of a MiB.
func TestRetention(t *testing.T) {
	small := evenLog{first: 1, last: 100_000, size: 1 << 10}
	large := evenLog{first: 1, last: 100_000, size: 1 << 20}
	const all, last, mib = uint64(1 << 62), 100_000, 1 << 10
	for name, c := range map[string]struct {
		log  evenLog
		r    retention
		want uint64
	}{
		"a lone member keeps nothing":      {small, retention{durable: 99_000, members: all, transfers: 99_000}, 99_000},
		"but what is not durable":          {small, retention{durable: 10, members: all, transfers: all}, 10},
		"the default, of small entries":    {small, retention{durable: last, entries: 5000, bytes: logKept, members: all, transfers: all}, last - 64*mib},
		"the default, of large ones":       {large, retention{durable: last, entries: 5000, bytes: logKept, members: all, transfers: all}, last - 256},
		"entries that were asked for":      {small, retention{durable: last, entries: 10, members: all, transfers: all}, last - 10},
		"more of them than the log has":    {evenLog{first: 1, last: 20, size: 1}, retention{durable: 20, entries: 5000, members: all, transfers: all}, 0},
		"a follower that is behind":        {small, retention{durable: last, entries: 10, members: 50_000, transfers: all}, 50_000},
		"one that is too far behind":       {large, retention{durable: last, entries: 10, members: 50_000, transfers: all}, last - 256},
		"one that is being sent the state": {large, retention{durable: last, entries: 10, members: all, transfers: last - 500}, last - 500},
		"one that is sent it for too long": {large, retention{durable: last, entries: 10, members: all, transfers: 7}, last - 1024},
		"a log that was truncated already": {evenLog{first: 99_990, last: last, size: 1 << 10}, retention{durable: last, entries: 5000, members: all, transfers: all}, 99_989},
		"an empty log":                     {evenLog{first: 8, last: 7, size: 1}, retention{durable: 7, entries: 5000, members: all, transfers: all}, 7},
		// As after an installation, before the log is reset: beyond its end it must not be cut.
		"a state ahead of the log":                {evenLog{first: 1, last: 50, size: 1}, retention{durable: 200, members: 200, transfers: 200}, 50},
		"one that is sent on":                     {evenLog{first: 1, last: 50, size: 1}, retention{durable: 200, entries: 10, members: all, transfers: 150}, 40},
		"one ahead of a long log":                 {large, retention{durable: 2 * last, entries: 5000, members: all, transfers: all}, last - 256},
		"one ahead of an empty log":               {evenLog{first: 8, last: 7, size: 1}, retention{durable: 200, entries: 5, members: 200, transfers: 200}, 7},
		"the state's, though a follower has more": {small, retention{durable: 60_000, entries: 10, members: 70_000, transfers: all}, 60_000},
	} {
		got, err := c.r.truncateAt(c.log)
		require.NoError(t, err)
		require.Equal(t, c.want, got, name)
	}
}

// TestLowestMatch: members that are not heard of hold up nothing, nor does one that is
// being sent the state.
func TestLowestMatch(t *testing.T) {
	require.EqualValues(t, 20, lowestMatch([]consensus.Progress{
		{ID: 1, Match: 1, Active: true}, // this member
		{ID: 2, Match: 30, Active: true},
		{ID: 3, Match: 20, Active: true, Learner: true},
		{ID: 4, Match: 10},
		{ID: 5, Match: 5, Active: true, Installing: true},
	}, 1))
}
