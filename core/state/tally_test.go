package state

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

func TestTallyOfCommands(t *testing.T) {
	var tally Tally
	tally.count(&core.Put{}, core.PutOutcome{}, false)
	tally.count(&core.Put{}, nil, true)
	tally.count(&core.DeleteRange{}, core.DeleteOutcome{Deleted: 5}, false)
	// A put, a range that nobody wanted, and a nested delete.
	tally.count(&core.Txn{}, core.TxnOutcome{Ops: []core.OpOutcome{
		{Outcome: core.PutOutcome{}},
		{},
		{Outcome: core.TxnOutcome{Ops: []core.OpOutcome{{Outcome: core.DeleteOutcome{}}}}},
	}}, false)
	tally.count(&core.Txn{}, core.TxnOutcome{Ops: []core.OpOutcome{{Outcome: core.PutOutcome{}}}}, false)
	tally.count(&core.LeaseExpire{}, nil, false)
	tally.count(&core.UserAdd{}, nil, false)

	require.Equal(t, 3, tally.Puts)
	require.Equal(t, 2, tally.Deletes)
	require.Equal(t, 1, tally.Ranges)
	require.Equal(t, 1, tally.Txns, "one of them had a single operation")
	require.Equal(t, [OpCount]int{OpPut: 2, OpDeleteRange: 1, OpTxn: 2, OpLeaseRevoke: 1, OpAuth: 1}, tally.Commands)
	require.Equal(t, [OpCount]int{OpPut: 1}, tally.Failed)
}

func TestTallyOfChanges(t *testing.T) {
	live := &core.KV{Key: []byte("key"), Value: []byte("value"), Version: 1}
	gone := &core.KV{Key: []byte("key")}
	for _, tt := range []struct {
		name         string
		change       core.Change
		grown, bytes int64
		same         bool
	}{
		{"new", core.Change{KV: live}, 1, 8, false},
		{"again", core.Change{KV: live, Prev: live}, 0, 8, true},
		{"after a deletion", core.Change{KV: live, Prev: gone}, 1, 8, false},
		{"deleted", core.Change{KV: gone, Prev: live}, -1, 0, false},
		{"made and deleted", core.Change{KV: gone}, 0, 0, false},
	} {
		var tally Tally
		grown, same := tally.changed([]core.Change{tt.change})
		require.Equal(t, tt.grown, grown, tt.name)
		require.Equal(t, tt.same, same, tt.name)
		require.Equal(t, tt.bytes, tally.PutBytes, tt.name)
	}
}
