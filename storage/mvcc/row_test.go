package mvcc

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

func TestRowRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rev := rapid.Int64Range(1, math.MaxInt64).Draw(t, "rev")
		kv := &core.KV{
			Key:       rapid.SliceOf(rapid.Byte()).Draw(t, "key"),
			Value:     rapid.SliceOf(rapid.Byte()).Draw(t, "value"),
			CreateRev: core.Rev(rapid.Int64Range(1, rev).Draw(t, "create")),
			ModRev:    core.Rev(rev),
			Version:   rapid.Int64Range(1, math.MaxInt64).Draw(t, "version"),
			Lease:     core.LeaseID(rapid.Int64().Draw(t, "lease")),
			Time:      rapid.Int64Min(0).Draw(t, "time"),
			ACL:       core.ZnodeACL(rapid.Uint32().Draw(t, "acl")),
		}
		if rapid.Bool().Draw(t, "tombstone") {
			kv = &core.KV{Key: kv.Key, ModRev: kv.ModRev, ACL: kv.ACL}
		}
		b := appendRow(nil, kv)
		require.Len(t, b, rowLen(kv))
		r, err := decodeRow(b, kv.ModRev)
		require.NoError(t, err)
		require.Equal(t, kv.Deleted(), r.deleted())
		equalKV(t, kv, r.kv(kv.Key, kv.ModRev), false)
		var s slab
		equalKV(t, kv, s.keyValue(&r, kv.Key, kv.ModRev, true), true)
	})
}

func TestChangeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rev := core.Rev(rapid.Int64Range(1, math.MaxInt64).Draw(t, "rev"))
		c := change{
			deleted: rapid.Bool().Draw(t, "deleted"),
			prevRev: core.Rev(rapid.Int64Range(0, int64(rev)-1).Draw(t, "prev")),
			len:     rapid.IntRange(1, 1<<30).Draw(t, "len"),
			key:     rapid.SliceOf(rapid.Byte()).Draw(t, "key"),
		}
		if c.prevRev != 0 {
			c.prevLen = rapid.IntRange(1, 1<<30).Draw(t, "prev len")
		}
		b := c.append(nil)
		require.Len(t, b, c.encodedLen())
		got, err := decodeChange(b, rev)
		require.NoError(t, err)
		require.Equal(t, string(c.key), string(got.key))
		c.key, got.key = nil, nil
		require.Equal(t, c, got)
	})
}

// Decoding what the disk holds never panics, and what it takes for a row is one.
func FuzzRows(f *testing.F) {
	f.Add(appendRow(nil, &core.KV{Key: []byte("k"), Value: []byte("v"), CreateRev: 3, ModRev: 9, Version: 4, Lease: 7, Time: 1}), int64(9))
	f.Add(appendRow(nil, &core.KV{Key: []byte("k"), ModRev: 9}), int64(9))
	f.Add((&change{key: []byte("k"), prevRev: 5, prevLen: 3, len: 8}).append(nil), int64(9))
	f.Add(appendRow(nil, &core.KV{Key: []byte("k"), ModRev: 9, ACL: 300}), int64(9))
	f.Add([]byte{flagLease, 0, 1}, int64(1))
	f.Add([]byte{0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}, int64(1))
	f.Fuzz(func(t *testing.T, b []byte, n int64) {
		rev := core.Rev(n)
		if rev <= 0 {
			return // no key has such a revision, see keys.DecodeVersion
		}
		if r, err := decodeRow(b, rev); err == nil {
			kv := r.kv([]byte("key"), rev)
			require.True(t, kv.Deleted() || kv.CreateRev > 0 && kv.CreateRev <= rev)
			again, err := decodeRow(appendRow(nil, kv), rev)
			require.NoError(t, err)
			equalKV(t, kv, again.kv([]byte("key"), rev), false)
		}
		if c, err := decodeChange(b, rev); err == nil {
			require.Less(t, c.prevRev, rev)
			again, err := decodeChange(c.append(nil), rev)
			require.NoError(t, err)
			require.Equal(t, c, again)
		}
	})
}

func TestBrokenRowsAreErrors(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty":              {},
		"unknown flag":       {1 << 7, 0, 1},
		"fat tombstone":      {flagTombstone, 1},
		"fatter tombstone":   {flagTombstone | flagACL, 1, 1},
		"tombstone, no ACL":  {flagTombstone | flagACL},
		"ACL zero":           {flagACL, 0, 1, 0},
		"ACL beyond 32 bits": {flagACL, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x10},
		"tombstone, lease":   {flagTombstone | flagLease},
		"no version":         {0, 0},
		"version zero":       {0, 0, 0},
		"older than time":    {0, 9, 1},
		"short lease":        {flagLease, 0, 1, 1, 2},
		"lease zero":         {flagLease, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0},
		"unending age":       {0, 0x80},
		"age beyond 64 bits": {0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02, 1},
	} {
		_, err := decodeRow(b, 9)
		require.ErrorIs(t, err, errRow, name)
	}
	for name, b := range map[string][]byte{
		"empty":           {},
		"unknown kind":    {2, 0, 1},
		"no length":       {0, 0},
		"length zero":     {0, 0, 0, 'k'},
		"previous is now": {0, 9, 1, 1, 'k'},
	} {
		_, err := decodeChange(b, 9)
		require.ErrorIs(t, err, errRow, name)
	}
}
