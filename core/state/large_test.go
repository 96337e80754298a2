package state

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// twice is a transaction that changes each of n keys twice: it puts them all, and
// then puts the even ones again and deletes the odd ones.
func twice(n int) *core.Txn {
	t := &core.Txn{Then: make([]core.Op, 0, 2*n)}
	key := func(i int) []byte { return fmt.Appendf(nil, "key-%06d", i) }
	for i := range n {
		t.Then = append(t.Then, core.Op{Put: &core.Put{Key: key(i), Value: []byte("first")}})
	}
	for i := range n {
		if i%2 == 0 {
			t.Then = append(t.Then, core.Op{Put: &core.Put{Key: key(i), Value: []byte("second")}})
		} else {
			t.Then = append(t.Then, core.Op{Delete: &core.DeleteRange{Interval: core.Interval{Key: key(i)}}})
		}
	}
	return t
}

// A key that a command changes twice has one place in the revision, the first, and
// as Prev the version before the revision, however many changes there are.
func TestKeysChangedTwice(t *testing.T) {
	for _, n := range []int{1, 16, 32, 33, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := newRig(t)
			r.apply(&core.Put{Key: []byte("key-000000"), Value: []byte("old")})
			require.NoError(t, r.apply(twice(n))[0].Err)
			revs := r.commit().Revisions
			require.Len(t, revs, 2)
			require.Len(t, revs[1].Changes, n)
			for i, c := range revs[1].Changes {
				require.Equal(t, fmt.Sprintf("key-%06d", i), string(c.KV.Key))
				require.Equal(t, i%2 == 1, c.KV.Deleted())
				require.EqualValues(t, 3, c.KV.ModRev)
				require.Equal(t, i == 0, c.Prev != nil)
				if i%2 == 0 {
					require.Equal(t, "second", string(c.KV.Value))
				}
			}
			require.Equal(t, "old", string(revs[1].Changes[0].Prev.Value))
			require.EqualValues(t, 3, revs[1].Changes[0].KV.Version)
		})
	}
}

// BenchmarkLargeTxn is what apply costs each operation of one transaction, which
// must not depend on their number.
func BenchmarkLargeTxn(b *testing.B) {
	for _, ops := range []int{100, 1000, 50_000} {
		b.Run(fmt.Sprint(ops), func(b *testing.B) {
			r := newSizedRig(b, 64<<20)
			b.Cleanup(r.close)
			txn := twice(ops / 2)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += ops {
				require.NoError(b, r.apply(txn)[0].Err)
				r.commit()
			}
		})
	}
}

// BenchmarkLargeMulti is BenchmarkLargeTxn for a multi of ZooKeeper's, which makes
// znodes and then changes or deletes each.
func BenchmarkLargeMulti(b *testing.B) {
	for _, ops := range []int{100, 1000, 50_000} {
		b.Run(fmt.Sprint(ops), func(b *testing.B) {
			r := newSizedRig(b, 64<<20)
			b.Cleanup(r.close)
			open := r.apply(&core.SessionOpen{ID: 7, Timeout: time.Minute})[0]
			require.NoError(b, open.Err)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += ops {
				multi := &core.ZnodeWrite{Session: core.SessionRef{ID: 7, Epoch: 1}, Multi: true}
				path := func(n int) string { return fmt.Sprintf("/m%d-%06d", i, n) }
				for n := range ops / 2 {
					multi.Ops = append(multi.Ops, core.ZnodeOp{Type: core.ZnodeCreate, Path: path(n), OpenACL: true})
				}
				for n := range ops / 2 {
					op := core.ZnodeOp{Type: core.ZnodeSetData, Path: path(n), Version: core.AnyVersion}
					if n%2 == 1 {
						op.Type = core.ZnodeDelete
					}
					multi.Ops = append(multi.Ops, op)
				}
				reply := r.apply(multi)[0]
				require.NoError(b, reply.Err)
				require.Equal(b, core.Internal, reply.Outcome.(*core.ZnodeOutcome).Err)
				r.commit()
			}
		})
	}
}
