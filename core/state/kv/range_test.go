package kv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

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

// modelRange is what a range is to answer: all keys gathered, filtered, sorted and cut.
func modelRange(keys keyList, q *core.Range) (res core.RangeResult) {
	inRange := func(kv *core.KV) bool {
		return kv.ModRev >= q.MinModRev && (q.MaxModRev == 0 || kv.ModRev <= q.MaxModRev) &&
			kv.CreateRev >= q.MinCreateRev && (q.MaxCreateRev == 0 || kv.CreateRev <= q.MaxCreateRev)
	}
	for _, kv := range keys {
		if !q.Contains(kv.Key) {
			continue
		}
		if res.Count++; !q.CountOnly && inRange(kv) {
			bare := *kv
			if q.KeysOnly {
				bare.Value = nil
				if q.SortTarget != core.SortByValue || q.Single() {
					bare.Lease = 0
				}
			}
			res.KVs = append(res.KVs, &bare)
		}
	}
	limit := len(res.KVs)
	if q.Limit > 0 {
		limit = min(limit, int(q.Limit))
	}
	filters := q.MinModRev != 0 || q.MaxModRev != 0 || q.MinCreateRev != 0 || q.MaxCreateRev != 0
	more := limit < len(res.KVs)
	if q.SortOrder == core.SortNone && !filters && more { // T-13
		res.KVs = res.KVs[:limit+1]
	}
	slices.SortStableFunc(res.KVs, func(a, b *core.KV) int {
		n := int(a.ModRev - b.ModRev)
		if q.SortTarget == core.SortByKey {
			n = slices.Compare(a.Key, b.Key)
		}
		if q.SortOrder == core.SortDescend {
			n = -n
		}
		return n
	})
	res.KVs, res.More = res.KVs[:limit], more
	return res
}

// Whatever is asked for, the keys are the same whether they are gathered or given one by
// one, and they are those of the model.
func TestRangesAgreeWithAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := manyKeys(rapid.IntRange(0, 12).Draw(t, "keys"), 10)
		for _, kv := range keys {
			kv.CreateRev = core.Rev(rapid.IntRange(2, 6).Draw(t, "create"))
			kv.ModRev = kv.CreateRev + core.Rev(rapid.IntRange(0, 4).Draw(t, "age"))
		}
		bound := func(label string) []byte {
			return []byte(rapid.SampledFrom([]string{"\x00", "k000002", "k000005", "k000009", "z"}).Draw(t, label))
		}
		rev := func(label string) core.Rev {
			return core.Rev(rapid.SampledFrom([]int{0, 0, 0, 3, 5, 7}).Draw(t, label))
		}
		q := core.Range{
			Interval:   core.Interval{Key: bound("key"), End: bound("end")},
			Limit:      int64(rapid.IntRange(-1, 13).Draw(t, "limit")),
			SortTarget: rapid.SampledFrom([]core.SortTarget{core.SortByKey, core.SortByModRev}).Draw(t, "target"),
			SortOrder:  core.SortOrder(rapid.IntRange(0, 2).Draw(t, "order")),
			KeysOnly:   rapid.Bool().Draw(t, "keys only"),
			CountOnly:  rapid.IntRange(0, 5).Draw(t, "count only") == 0,
			MinModRev:  rev("min mod"), MaxModRev: rev("max mod"),
			MinCreateRev: rev("min create"), MaxCreateRev: rev("max create"),
		}
		if rapid.IntRange(0, 3).Draw(t, "single") == 0 {
			q.End = nil
		}
		want := modelRange(keys, &q)
		bounds := kv.Bounds{Rev: 20, Counts: new(kv.Counts)}
		for range 2 { // the second finds what the first counted
			got, err := kv.Range(t.Context(), keys, bounds, &q)
			require.NoError(t, err)
			requireResult(t, want, got.KVs, got)
		}
		var given []*core.KV
		q.Each = func(kv *core.KV) error {
			lasting := *kv
			lasting.Key, lasting.Value = slices.Clone(kv.Key), slices.Clone(kv.Value)
			given = append(given, &lasting)
			return nil
		}
		got, err := kv.Range(t.Context(), keys, bounds, &q)
		require.NoError(t, err)
		require.Empty(t, got.KVs)
		requireResult(t, want, given, got)

		stop := errors.New("enough")
		n := 0
		q.Each = func(*core.KV) error { n++; return stop }
		_, err = kv.Range(t.Context(), keys, bounds, &q)
		if len(given) == 0 {
			require.NoError(t, err)
			return
		}
		require.Equal(t, stop, err)
		require.Equal(t, 1, n)
	})
}

func requireResult(t require.TestingT, want core.RangeResult, kvs []*core.KV, got core.RangeResult) {
	require.Equal(t, want.Count, got.Count, "count")
	require.Equal(t, want.More, got.More, "more")
	require.Len(t, kvs, len(want.KVs))
	for i, kv := range kvs {
		require.Equal(t, *want.KVs[i], *kv)
	}
}

// countedList is a keyList that counts what it is asked to count.
type countedList struct {
	keyList
	asked, counted int64
}

func (l *countedList) Count(ctx context.Context, in core.Interval, at core.Rev) (int64, error) {
	n, err := l.keyList.Count(ctx, in, at)
	l.asked++
	l.counted += n
	return n, err
}

// A list is counted once, however many pages it has, however often its first page is read,
// and wherever others begin, until a key is made or deleted.
func TestListsAreCountedOnce(t *testing.T) {
	keys := &countedList{keyList: manyKeys(100, 10)}
	counts := new(kv.Counts)
	read := func(rev, same core.Rev, from int, each func(*core.KV) error) {
		q := core.Range{Interval: core.Interval{Key: fmt.Appendf(nil, "k%06d", from), End: core.FromKey}, Limit: 9, Each: each}
		for left := 100 - from; ; left -= 9 {
			res, err := kv.Range(t.Context(), keys, kv.Bounds{Rev: rev, Keys: same, Counts: counts}, &q)
			require.NoError(t, err)
			require.EqualValues(t, left, res.Count)
			if !res.More {
				break
			}
			q.Key, q.Rev = fmt.Appendf(nil, "k%06d\x00", 100-left+8), rev
		}
	}
	read(2, 2, 0, nil)
	read(2, 2, 0, func(*core.KV) error { return nil })
	read(3, 2, 0, nil)
	require.EqualValues(t, 1, keys.asked)
	read(3, 2, 5, nil)
	require.LessOrEqual(t, keys.counted, int64(91+9*11), "up to where others have been")
	keys.asked = 0
	read(4, 4, 0, nil)
	require.EqualValues(t, 1, keys.asked)
	// The keys change while somebody reads on at a revision of before.
	q := core.Range{Interval: core.Interval{Key: []byte("k"), End: core.FromKey}, Limit: 9}
	_, err := kv.Range(t.Context(), keys, kv.Bounds{Rev: 7, Keys: 6, Counts: counts}, &q)
	require.NoError(t, err)
	keys.asked = 0
	q.Key, q.Rev = []byte("k000008\x00"), 7
	res, err := kv.Range(t.Context(), keys, kv.Bounds{Rev: 9, Keys: 9, Counts: counts}, &q)
	require.NoError(t, err)
	require.EqualValues(t, 91, res.Count)
	require.Zero(t, keys.asked)
}

// However many lists are read, what is remembered of them is bounded.
func TestCountsAreBounded(t *testing.T) {
	keys := manyKeys(30, 10)
	counts := new(kv.Counts)
	for rev := range core.Rev(3000) {
		q := core.Range{Interval: everyKey, Limit: 1 + int64(rev)%7}
		res, err := kv.Range(t.Context(), keys, kv.Bounds{Rev: rev + 2, Keys: rev/3 + 1, Counts: counts}, &q)
		require.NoError(t, err)
		require.EqualValues(t, 30, res.Count)
		require.LessOrEqual(t, counts.Len(), 1024)
	}
	require.Equal(t, 1024, counts.Len())
	counts = new(kv.Counts)
	long := core.Range{Interval: core.Interval{Key: make([]byte, 5000), End: core.FromKey}, Limit: 1}
	_, err := kv.Range(t.Context(), keys, kv.Bounds{Rev: 2, Counts: counts}, &long)
	require.NoError(t, err)
	require.Equal(t, 1, counts.Len(), "what is left behind the first key, and not what the long one begins")
}
