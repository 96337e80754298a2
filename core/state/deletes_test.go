package state

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/kv"
)

// fillKeys puts n keys with values of so many bytes.
func (r *rig) fillKeys(n, value int) {
	const each = 10_000
	for from := 0; from < n; from += each {
		t := &core.Txn{}
		for i := from; i < min(n, from+each); i++ {
			t.Then = append(t.Then, core.Op{Put: &core.Put{Key: fmt.Appendf(nil, "keys/of/the/store/%08d", i), Value: make([]byte, value)}})
		}
		for i := range t.Then {
			t.Then[i].Put.Value = append([]byte("value"), t.Then[i].Put.Value...)
		}
		require.NoError(r.t, r.apply(t)[0].Err)
		r.commit()
	}
}

// A delete of more than is kept in memory is a revision like any other: its changes
// lack only the values of the earlier versions, which the history has, and the store
// reckons its size as ever.
func TestLargeDelete(t *testing.T) {
	const n, value = 20_000, 1 << 10
	r := newSizedRig(t, 64<<20)
	t.Cleanup(r.close)
	r.fillKeys(n, value)
	written := r.view.Written()
	all := core.Interval{Key: []byte("k"), End: []byte("l")}
	reply := r.apply(&core.DeleteRange{Interval: all})[0]
	require.NoError(t, reply.Err)
	require.Equal(t, core.DeleteOutcome{Deleted: n}, reply.Outcome)
	rev := r.commit().Revisions[0]
	require.True(t, rev.NoPrevValues)
	require.Len(t, rev.Changes, n)
	require.Len(t, rev.Changes[7].Prev.Value, value+5)
	require.Less(t, r.view.Written()-written, int64(n*200), "tombstones are small")

	revs, next, err := r.view.Revisions(context.Background(), rev.Rev, all, true, 1)
	require.NoError(t, err)
	require.Equal(t, rev.Rev+1, next)
	require.Len(t, revs[0].Changes, n)
	require.True(t, revs[0].NoPrevValues)
	require.Empty(t, revs[0].Changes[7].Prev.Value)
	require.NoError(t, r.view.LoadPrev(context.Background(), revs[0]))
	require.False(t, revs[0].NoPrevValues)
	require.Len(t, revs[0].Changes[7].Prev.Value, value+5)
	require.Equal(t, "value", string(revs[0].Changes[7].Prev.Value[:5]))

	require.NoError(t, r.apply(&core.Compact{Rev: rev.Rev})[0].Err)
	r.commit()
	require.NoError(t, r.view.LoadPrev(context.Background(), revs[0]))
	require.Nil(t, revs[0].Changes[7].Prev, "compacted meanwhile")

	res, err := r.view.Range(context.Background(), &core.Range{Interval: all, CountOnly: true})
	require.NoError(t, err)
	require.Zero(t, res.Count)

	r.fillKeys(10, 10)
	require.NoError(t, r.apply(&core.DeleteRange{Interval: all})[0].Err)
	small := r.commit().Revisions[0]
	require.False(t, small.NoPrevValues)
	require.Equal(t, "value", string(small.Changes[7].Prev.Value[:5]))
}

// What a lease deletes is bounded in memory as what a delete does: its keys, whatever
// their values.
func TestLargeRevocation(t *testing.T) {
	const n, value = 20, 1 << 20
	r := newSizedRig(t, 64<<20)
	t.Cleanup(r.close)
	require.NoError(t, r.apply(&core.LeaseGrant{ID: 1, TTL: time.Second})[0].Err)
	for i := range n {
		require.NoError(t, r.apply(&core.Put{Key: fmt.Appendf(nil, "k%d", i), Value: make([]byte, value), Lease: 1})[0].Err)
		r.commit()
	}
	require.NoError(t, r.apply(&core.LeaseRevoke{ID: 1})[0].Err)
	revs := r.commit().Revisions
	require.Len(t, revs, 1)
	require.True(t, revs[0].NoPrevValues)
	require.Len(t, revs[0].Changes, n)
	require.Same(t, &revs[0].Changes[0].Prev.Value[0], &revs[0].Changes[n-1].Prev.Value[0], "hollow values share their memory")
	require.Zero(t, r.view.Keys())
}

// However many leases expire together, what they delete is kept in memory up to a
// bound; of the others the history has it.
func TestExpiryOfMuchThatIsKept(t *testing.T) {
	const leases, value = 10, 12 << 20
	r := newSizedRig(t, 64<<20)
	t.Cleanup(r.close)
	expire := &core.LeaseExpire{Term: r.term}
	for id := core.LeaseID(1); id <= leases; id++ {
		require.NoError(t, r.apply(&core.LeaseGrant{ID: id, TTL: time.Second})[0].Err)
		require.NoError(t, r.apply(&core.Put{Key: fmt.Appendf(nil, "k%d", id), Value: make([]byte, value), Lease: id})[0].Err)
		r.commit()
		expire.IDs = append(expire.IDs, id)
	}
	expire.AsOf, _ = r.machine.Applied()
	require.NoError(t, r.apply(expire)[0].Err)
	kept := 0
	for _, rev := range r.commit().Revisions {
		require.Len(t, rev.Changes[0].Prev.Value, value)
		if !rev.NoPrevValues {
			kept += value
		}
	}
	require.Positive(t, kept)
	require.LessOrEqual(t, kept, kv.MaxKeptBytes)
	require.Zero(t, r.view.Keys())

	require.NoError(t, r.apply(&core.Put{Key: []byte("a"), Value: []byte("v")})[0].Err)
	require.NoError(t, r.apply(&core.DeleteRange{Interval: core.Interval{Key: []byte("a")}})[0].Err)
	require.False(t, r.commit().Revisions[1].NoPrevValues, "the next commit has all of the bound")
}

// However many keys overdue leases have, one entry deletes a bounded number of them, or
// those of one lease; the others are left for the next.
func TestExpiryOfVeryMuch(t *testing.T) {
	r := newSizedRig(t, 64<<20)
	t.Cleanup(r.close)
	const long = 128 << 10
	ids := []core.LeaseID{1, 2}
	for id, n := range map[core.LeaseID]int{1: maxExpireBytes / (2 * long), 2: 1} {
		require.NoError(t, r.apply(&core.LeaseGrant{ID: id, TTL: time.Second})[0].Err)
		for i := range n {
			key := append(make([]byte, long), fmt.Sprint(id, i)...)
			require.NoError(t, r.apply(&core.Put{Key: key, Lease: id})[0].Err)
		}
		r.commit()
	}
	for _, left := range []int64{1, 0} {
		index, _ := r.machine.Applied()
		require.NoError(t, r.apply(&core.LeaseExpire{IDs: ids, Term: r.term, AsOf: index})[0].Err)
		r.commit()
		require.Equal(t, left, r.view.Keys())
		require.Equal(t, left > 0, r.machine.leases.Exists(2))
	}
}

// BenchmarkDeleteMillion is what one delete of a million keys takes, in time and in
// memory at its end.
func BenchmarkDeleteMillion(b *testing.B) {
	for range b.N {
		b.StopTimer()
		r := newSizedRig(b, 64<<20)
		r.fillKeys(1_000_000, 100)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.StartTimer()
		require.NoError(b, r.apply(&core.DeleteRange{Interval: core.Interval{Key: []byte("k"), End: []byte("l")}})[0].Err)
		b.ReportMetric(float64(r.machine.w.Size()), "batch-B")
		runtime.GC()
		runtime.ReadMemStats(&after)
		delta := r.commit()
		b.StopTimer()
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc), "held-B")
		require.Len(b, delta.Revisions[0].Changes, 1_000_000)
		r.close()
	}
}

// A transaction that writes takes effect on every member alike, however much it reads;
// only the answer of the one that proposed it lacks what is too much.
func TestTxnThatReadsTooMuch(t *testing.T) {
	r := newSizedRig(t, 64<<20)
	t.Cleanup(r.close)
	r.fillKeys(8, 1<<20)
	all := core.Op{Range: &core.Range{Interval: core.Interval{Key: []byte("k"), End: []byte("l")}}}
	txn := &core.Txn{Then: []core.Op{{Put: &core.Put{Key: []byte("a"), Value: []byte("v")}}, all}}
	reply := r.apply(txn)[0]
	require.NoError(t, reply.Err)
	out := reply.Outcome.(core.TxnOutcome)
	require.False(t, out.TooLarge)
	require.Len(t, out.Ops[1].Outcome.(*core.RangeOutcome).KVs, 8)

	for range 40 { // 8 MiB each
		txn.Then = append(txn.Then, all)
	}
	reply = r.apply(txn)[0]
	require.NoError(t, reply.Err)
	out = reply.Outcome.(core.TxnOutcome)
	require.True(t, out.TooLarge)
	require.NotNil(t, out.Ops[1].Outcome)
	require.Nil(t, out.Ops[40].Outcome)
	delta := r.commit()
	require.Equal(t, "a", string(delta.Revisions[len(delta.Revisions)-1].Changes[0].KV.Key))
}
