package kv

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// A delete keeps what it deletes until that is too much, and then only the lengths,
// in memory of its own.
func TestVictims(t *testing.T) {
	const each = 64 << 10
	n := 2 * KeptPrevBytes / each
	kvs := make([]*core.KV, n)
	for i := range kvs {
		kvs[i] = &core.KV{Key: fmt.Appendf(nil, "key%06d", i), Value: make([]byte, each+i), CreateRev: 2, ModRev: 3, Version: 2, Lease: 7}
		kvs[i].Value[0] = 'v'
	}
	for _, wantPrev := range []bool{false, true} {
		tx := &Tx{}
		v := tx.victims(wantPrev)
		for i, kv := range kvs {
			v.add(kv)
			if i == n/4 {
				require.False(t, v.hollow)
				require.Same(t, kvs[0], v.kvs[0])
			}
		}
		require.Equal(t, !wantPrev, v.hollow)
		require.Len(t, v.kvs, n)
		for i, kv := range v.kvs {
			require.Len(t, kv.Value, each+i, "sizes are reckoned by it")
			require.Equal(t, kvs[i].Key, kv.Key)
			require.Equal(t, kvs[i].Lease, kv.Lease)
			require.EqualValues(t, 'v', kvs[i].Value[0], "what others see is left alone")
			if v.hollow {
				require.NotSame(t, &kvs[i].Key[0], &kv.Key[0])
				require.Zero(t, kv.Value[0])
			}
		}
	}
}

func TestLimitsOfDeletes(t *testing.T) {
	room := int64(3 * (victimOverhead + 2))
	tx := &Tx{bounds: Bounds{Room: &room}}
	v := tx.victims(false)
	for range 3 {
		v.add(&core.KV{Key: []byte("k")})
		require.True(t, v.fits())
	}
	v.add(&core.KV{Key: []byte("k")})
	require.False(t, v.fits())

	v = tx.victims(true)
	v.add(&core.KV{Key: []byte("k"), Value: make([]byte, 1000)})
	require.False(t, v.fits(), "what is given back counts, too")
	v = (&Tx{}).victims(false)
	v.cost = MaxDeleteBytes
	require.True(t, v.fits())
}
