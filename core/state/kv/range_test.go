package kv_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/kv"
)

// keyList is a Reader of keys in order, all as of one revision.
type keyList []*core.KV

func (l keyList) Get(key []byte, _ core.Rev) (*core.KV, error) {
	for _, kv := range l {
		if string(kv.Key) == string(key) {
			return kv, nil
		}
	}
	return nil, nil
}

func (l keyList) Scan(in core.Interval, _ core.Rev, keysOnly bool, fn func(*core.KV) bool) error {
	for _, kv := range l {
		if !in.Contains(kv.Key) {
			continue
		}
		if keysOnly {
			bare := *kv
			bare.Value, kv = nil, &bare
		}
		if !fn(kv) {
			break
		}
	}
	return nil
}

// Visit passes copies, which it takes back.
func (l keyList) Visit(in core.Interval, at core.Rev, keysOnly bool, fn func(*core.KV) bool) error {
	var kv core.KV
	return l.Scan(in, at, keysOnly, func(next *core.KV) bool {
		key, value := append([]byte(nil), next.Key...), append([]byte(nil), next.Value...)
		kv = *next
		kv.Key, kv.Value = key, value
		ok := fn(&kv)
		clear(key)
		clear(value)
		return ok
	})
}

func (l keyList) Count(ctx context.Context, in core.Interval, _ core.Rev) (n int64, err error) {
	for _, kv := range l {
		if in.Contains(kv.Key) {
			n++
		}
	}
	return n, ctx.Err()
}

// manyKeys are n keys with values of so many bytes.
func manyKeys(n, value int) keyList {
	l := make(keyList, n)
	for i := range l {
		l[i] = &core.KV{Key: fmt.Appendf(nil, "k%06d", i), Value: make([]byte, value), CreateRev: 2, ModRev: 2, Version: 1, Lease: 7}
	}
	return l
}

var everyKey = core.Interval{Key: []byte{0}, End: core.FromKey}

func TestPages(t *testing.T) {
	keys := manyKeys(10, 1000)
	one := keys[0].Size()
	for _, tt := range []struct {
		name        string
		limit       int64
		bytes, want int
		more        bool
	}{
		{"all fit", 0, 100 * one, 10, false},
		{"just all fit", 0, 10 * one, 10, false},
		{"the bytes end it", 0, 3 * one, 3, true},
		{"a key more than fits", 0, 3*one - 1, 3, true},
		{"always one", 0, 1, 1, true},
		{"the limit ends it", 4, 100 * one, 4, true},
		{"the limit is all", 10, 100 * one, 10, false},
		{"the bytes before the limit", 4, 2 * one, 2, true},
		{"no limit", -1, 100 * one, 10, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, err := kv.Range(t.Context(), keys, kv.Bounds{Rev: 2}, &core.Range{Interval: everyKey, Limit: tt.limit, PageBytes: tt.bytes})
			require.NoError(t, err)
			require.Len(t, res.KVs, tt.want)
			require.EqualValues(t, tt.want, res.Count)
			require.Equal(t, tt.more, res.More)
			require.Equal(t, "k000000", string(res.KVs[0].Key))
		})
	}
	t.Run("keys only", func(t *testing.T) {
		res, err := kv.Range(t.Context(), keys, kv.Bounds{Rev: 2}, &core.Range{Interval: everyKey, PageBytes: 1 << 20, KeysOnly: true})
		require.NoError(t, err)
		require.Len(t, res.KVs, 10)
		require.Nil(t, res.KVs[0].Value)
		require.Zero(t, res.KVs[0].Lease)
	})
}

// Whatever the form of a range, its memory is asked for as it grows, and a refusal
// ends it.
func TestRangesAskForMemory(t *testing.T) {
	keys := manyKeys(100, 64<<10)
	full := errors.New("full")
	for name, q := range map[string]core.Range{
		"in key order": {},
		"limited":      {Limit: 90},
		"sorted":       {SortTarget: core.SortByModRev, SortOrder: core.SortDescend},
		"filtered":     {MinModRev: 1},
		"a page":       {PageBytes: 1 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			q.Interval = everyKey
			q.Grow = func(n int) error { asked += n; return nil }
			_, err := kv.Range(t.Context(), keys, kv.Bounds{Rev: 2}, &q)
			require.NoError(t, err)
			require.Greater(t, asked, 85*64<<10)

			asked = 0
			q.Grow = func(n int) error {
				if asked += n; asked > 1<<20 {
					return full
				}
				return nil
			}
			_, err = kv.Range(t.Context(), keys, kv.Bounds{Rev: 2}, &q)
			require.Equal(t, full, err)
			require.Less(t, asked, 2<<20, "it ended at once")
		})
	}
	q := core.Range{Interval: everyKey, KeysOnly: true, Grow: func(int) error { return full }}
	_, err := kv.Range(t.Context(), keys, kv.Bounds{Rev: 2}, &q)
	require.NoError(t, err, "keys alone are small")
}
