package core_test

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// A KV has what it was made of, in memory of its own, whatever the lengths are; neither of
// its slices can grow into the other.
func TestNewKV(t *testing.T) {
	for _, keyLen := range []int{0, 1, 7, 31, 32, 33, 416, 500} {
		for valueLen := range 520 {
			key, value := bytes.Repeat([]byte{'k'}, keyLen), bytes.Repeat([]byte{'v'}, valueLen)
			kv := core.NewKV(key, value)
			clear(key)
			clear(value)
			require.Equal(t, bytes.Repeat([]byte{'k'}, keyLen), append([]byte{}, kv.Key...))
			require.Equal(t, bytes.Repeat([]byte{'v'}, valueLen), kv.Value)
			require.NotNil(t, kv.Value)
			require.Equal(t, keyLen, cap(kv.Key))
			require.Equal(t, valueLen, cap(kv.Value))
			require.Zero(t, kv.ModRev)
		}
	}
}

// What a cache holds most of is one object each.
func TestNewKVIsOneObject(t *testing.T) {
	require.EqualValues(t, 96, unsafe.Sizeof(core.KV{}), "the steps of NewKV are chosen for that")
	key := make([]byte, 16)
	var sink *core.KV
	for n, objects := range map[int]float64{0: 1, 256: 1, 400: 1, 401: 2, 4096: 2} {
		value := make([]byte, n)
		require.Equal(t, objects, testing.AllocsPerRun(100, func() { sink = core.NewKV(key, value) }), "value of %d bytes", n)
	}
	require.Len(t, sink.Key, 16)
}

// A revision of one change is one object, one of more has them all.
func TestNewRevision(t *testing.T) {
	var sink *core.Revision
	one := func(changes int) func() {
		return func() {
			sink = core.NewRevision()
			for range changes {
				sink.Changes = append(sink.Changes, core.Change{})
			}
		}
	}
	require.EqualValues(t, 1, testing.AllocsPerRun(100, one(1)))
	one(3)()
	require.Len(t, sink.Changes, 3)
	require.Empty(t, core.NewRevision().Changes)
}

func BenchmarkNewKV(b *testing.B) {
	key, value := make([]byte, 16), make([]byte, 256)
	b.ReportAllocs()
	var sink *core.KV
	for b.Loop() {
		sink = core.NewKV(key, value)
	}
	_ = sink
}
