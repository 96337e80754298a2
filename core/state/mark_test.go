package state

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// TestHashSeesEveryRow flips one bit of each row of a store that has all kinds of them:
// the hash that members compare is another then, and again the same when the bit is back.
func TestHashSeesEveryRow(t *testing.T) {
	r := newRig(t)
	r.who = core.Principal{Member: true}
	acl := core.PackACL(core.ACLEntry{Perms: core.PermRead, Scheme: core.SchemeWorld, ID: core.WorldAnyone},
		core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: "u:x"})
	session := core.SessionRef{ID: 6, Epoch: 1}
	for _, c := range []core.Command{
		&core.LeaseGrant{ID: 5, TTL: time.Minute},
		&core.Put{Key: []byte("k"), Value: []byte("v"), Lease: 5},
		&core.Put{Key: []byte("k"), Value: []byte("v2"), Lease: 5},
		&core.Put{Key: []byte("gone"), Value: []byte("v")},
		&core.DeleteRange{Interval: core.Interval{Key: []byte("gone")}},
		&core.SessionOpen{ID: 6, Timeout: time.Second, Secret: core.SecretHash{1}},
		&core.ZnodeWrite{Session: session, Ops: []core.ZnodeOp{
			{Path: "/a", Data: []byte("d"), ACL: acl},
			{Path: "/c", Kind: core.ZnodeContainer, OpenACL: true},
			{Path: "/e", Kind: core.ZnodeEphemeral, OpenACL: true},
		}},
		&core.UserAdd{Name: "root", Hash: []byte("h")},
		&core.RoleAdd{Name: "r"},
		&core.UserGrantRole{User: "root", Role: "root"},
		&core.AuthEnable{},
		&core.SetAlarm{Alarm: core.Alarm{Member: 1, Type: core.AlarmNoSpace}, On: true},
	} {
		for _, reply := range r.apply(c) {
			require.NoError(t, reply.Err, "%T", c)
		}
	}
	r.commit()
	hash := func() uint64 {
		v := r.machine.view()
		defer v.Close()
		sum, err := v.Hash(func() error { return nil })
		require.NoError(t, err)
		return sum
	}
	set := func(key, value []byte) {
		b := r.db.NewBatch()
		b.Set(key, value)
		require.NoError(t, b.Commit())
		require.NoError(t, b.Close())
	}
	sound := hash()
	tables := keys.SharedTables()
	var versions keys.Bounds
	versions.Lower, versions.Upper = keys.VersionBounds()
	seen := map[byte]int{}
	for _, table := range append(tables, versions) {
		for _, row := range rowsIn(t, r, table) {
			if name, ok := keys.DecodeMeta(row[0]); ok && slices.Contains(ownFacts, name) {
				continue
			}
			seen[row[0][0]]++
			changed := append(bytes.Clone(row[1]), 0)[:max(1, len(row[1]))]
			changed[len(changed)-1] ^= 4
			set(row[0], changed)
			require.NotEqual(t, sound, hash(), "row %q", row[0])
			set(row[0], row[1])
			require.Equal(t, sound, hash())
		}
	}
	for _, table := range append(tables, versions) {
		require.Positive(t, seen[table.Lower[0]], "no row of table %q", table.Lower[0])
	}
}

// rowsIn are the rows of a table, each its key and value.
func rowsIn(t *testing.T, r *rig, table keys.Bounds) (rows [][2][]byte) {
	it, err := r.db.NewIter(table.Lower, table.Upper)
	require.NoError(t, err)
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		require.NoError(t, err)
		rows = append(rows, [2][]byte{bytes.Clone(it.Key()), bytes.Clone(value)})
	}
	require.NoError(t, it.Close())
	return rows
}

// TestMarks: a mark changes nothing but the position, and is told of with the commit that
// ends with its entry.
func TestMarks(t *testing.T) {
	r := newRig(t)
	r.apply(&core.Put{Key: []byte("k")})
	require.False(t, r.machine.Marked())
	replies := r.apply(&core.HashMark{ID: 7}, &core.Put{Key: []byte("l")}, &core.HashMark{ID: 8})
	require.NoError(t, replies[0].Err)
	require.True(t, r.machine.Marked())
	require.Equal(t, []uint64{7, 8}, r.commit().Marks)
	require.False(t, r.machine.Marked())
	require.Empty(t, r.commit().Marks)
}
