package lease

import (
	"bytes"
	"encoding/hex"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// memRows is rows in a map.
type memRows map[string][]byte

func (m memRows) GetRow(key []byte) ([]byte, error) { return m[string(key)], nil }
func (m memRows) SetRow(key, value []byte)          { m[string(key)] = bytes.Clone(value) }
func (m memRows) DeleteRow(key []byte)              { delete(m, string(key)) }

func (m memRows) ScanRows(lower, upper []byte, fn func(key, value []byte) bool) error {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if key >= string(lower) && key < string(upper) && !fn([]byte(key), m[key]) {
			break
		}
	}
	return nil
}

func TestSessionsOfATable(t *testing.T) {
	rows := memRows{}
	table, err := Load(rows)
	require.NoError(t, err)
	secret := core.SecretHash{1}
	require.NoError(t, table.Grant(1, Lease{TTL: time.Second, Granted: 5}))
	require.NoError(t, table.Grant(2, Lease{TTL: time.Second, Granted: 6, Epoch: 1, Secret: secret}))
	require.Equal(t, core.LeaseExists, table.Grant(2, Lease{TTL: time.Second}))
	_, err = table.AttachSession(2, Lease{TTL: time.Minute, Granted: 7})
	require.Equal(t, core.SessionExpired, err)
	_, err = table.AttachSession(1, Lease{TTL: time.Minute, Granted: 7})
	require.Equal(t, core.SessionExpired, err)
	require.True(t, table.ExistedAt(2, 6))
	epoch, err := table.AttachSession(2, Lease{TTL: time.Minute, Granted: 8, Secret: secret})
	require.NoError(t, err)
	require.EqualValues(t, 2, epoch)

	check := func(table *Table) {
		require.False(t, table.IsSession(1))
		require.True(t, table.IsSession(2))
		require.False(t, table.IsSession(3))
		require.EqualValues(t, 1, table.Sessions())
		require.False(t, table.ExistedAt(2, 7), "to attach counts as a grant")
		require.True(t, table.ExistedAt(2, 8))
		for ref, want := range map[core.SessionRef]error{
			{ID: 1}:           core.SessionExpired,
			{ID: 1, Epoch: 1}: core.SessionExpired,
			{ID: 2}:           core.SessionMoved,
			{ID: 2, Epoch: 1}: core.SessionMoved,
			{ID: 2, Epoch: 2}: nil,
			{ID: 2, Epoch: 3}: core.SessionMoved,
			{ID: 3, Epoch: 1}: core.SessionExpired,
		} {
			require.Equal(t, want, table.CheckSession(ref), "%+v", ref)
		}
	}
	check(table)
	again, err := Load(rows)
	require.NoError(t, err)
	check(again)

	table.Remove(2)
	table.Remove(1)
	require.Zero(t, table.Sessions())
	require.Equal(t, core.SessionExpired, table.CheckSession(core.SessionRef{ID: 2, Epoch: 2}))
	require.Empty(t, rows)
}

// A store of the first version is read as it is.
func TestLoadFormat1(t *testing.T) {
	row, err := hex.DecodeString("01e0d40307")
	require.NoError(t, err)
	rows := memRows{string(keys.AppendLease(nil, 4)): row}
	table, err := Load(rows)
	require.NoError(t, err)
	require.True(t, table.ExistedAt(4, 7))
	require.False(t, table.IsSession(4))
}

func TestLoadRefusesNonsense(t *testing.T) {
	_, err := Load(memRows{string(keys.AppendLease(nil, 4)): []byte("nonsense")})
	require.ErrorContains(t, err, "is no lease")
}
