package kv

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/triglot/triglot/core"
)

// ctxCheckInterval is how many keys a scan passes between looks at its context.
const ctxCheckInterval = 1024

// Range answers a range query. It fails with FutureRev or Compacted, with the
// context's error, or with the reader's.
func Range(ctx context.Context, r Reader, b Bounds, q *core.Range) (core.RangeResult, error) {
	if err := b.check(q.Rev); err != nil {
		return core.RangeResult{}, err
	}
	switch {
	case q.CountOnly:
		n, err := r.Count(ctx, q.Interval, q.Rev)
		return core.RangeResult{Count: n}, err
	case q.Single():
		return single(r, q)
	case q.PageBytes > 0:
		return page(ctx, r, q)
	case wholeRangeNeeded(q):
		return sorted(ctx, r, q)
	default:
		return inKeyOrder(ctx, r, b, q)
	}
}

func single(r Reader, q *core.Range) (core.RangeResult, error) {
	kv, err := r.Get(q.Key, q.Rev)
	if err != nil || kv == nil {
		return core.RangeResult{}, err
	}
	res := core.RangeResult{Count: 1}
	if passes(kv, q) {
		res.KVs = []*core.KV{project(kv, q)}
	}
	return res, nil
}

// inKeyOrder serves what needs no more than the first Limit keys and one: that
// there is one more is an answer too.
func inKeyOrder(ctx context.Context, r Reader, b Bounds, q *core.Range) (core.RangeResult, error) {
	var res core.RangeResult
	err := scan(ctx, r, q, q.KeysOnly && q.SortTarget == core.SortByKey, func(kv *core.KV) bool {
		res.KVs = append(res.KVs, kv)
		return q.Limit <= 0 || int64(len(res.KVs)) <= q.Limit
	})
	if err != nil {
		return core.RangeResult{}, err
	}
	res.Count = int64(len(res.KVs))
	if q.Limit > 0 && res.Count > q.Limit {
		if res.Count, err = countPage(ctx, r, b, q, res.KVs[q.Limit-1].Key); err != nil {
			return core.RangeResult{}, err
		}
	}
	if q.SortTarget != core.SortByKey {
		// Without an order, what the limit let through is sorted, the one key too
		// many included (etcd T-13).
		order(res.KVs, q.SortTarget, core.SortAscend)
	}
	cut(&res, q)
	projectAll(res.KVs, q)
	return res, nil
}

// page serves what a stream asks for: as many keys as fit, in key order.
func page(ctx context.Context, r Reader, q *core.Range) (core.RangeResult, error) {
	var res core.RangeResult
	size := 0
	err := scan(ctx, r, q, q.KeysOnly, func(kv *core.KV) bool {
		if size >= q.PageBytes || (q.Limit > 0 && res.Count == q.Limit) {
			res.More = true
			return false
		}
		res.KVs = append(res.KVs, kv)
		res.Count++
		size += kv.Size()
		return true
	})
	if err != nil {
		return core.RangeResult{}, err
	}
	projectAll(res.KVs, q)
	return res, nil
}

// countPage counts the interval of a page whose last key is last, and notes how
// many keys the next page has to count.
func countPage(ctx context.Context, r Reader, b Bounds, q *core.Range, last []byte) (int64, error) {
	rev := q.Rev
	if rev <= 0 {
		rev = b.Rev
	}
	n, ok := b.Counts.Known(q.Interval, rev)
	if !ok {
		var err error
		if n, err = r.Count(ctx, q.Interval, q.Rev); err != nil {
			return 0, err
		}
	}
	b.Counts.leave(q.Interval, last, rev, n-q.Limit)
	return n, nil
}

// cut applies the limit.
func cut(res *core.RangeResult, q *core.Range) {
	if q.Limit > 0 && int64(len(res.KVs)) > q.Limit {
		res.KVs = slices.Clip(res.KVs[:q.Limit])
		res.More = true
	}
}

// sorted serves what needs every key of the interval before it can cut.
func sorted(ctx context.Context, r Reader, q *core.Range) (core.RangeResult, error) {
	var res core.RangeResult
	err := scan(ctx, r, q, q.KeysOnly && q.SortTarget != core.SortByValue, func(kv *core.KV) bool {
		res.Count++
		if passes(kv, q) {
			res.KVs = append(res.KVs, kv)
		}
		return true
	})
	if err != nil {
		return core.RangeResult{}, err
	}
	direction := q.SortOrder
	if direction == core.SortNone && q.SortTarget != core.SortByKey {
		direction = core.SortAscend
	}
	if direction != core.SortNone {
		order(res.KVs, q.SortTarget, direction)
	}
	cut(&res, q)
	projectAll(res.KVs, q)
	return res, nil
}

// growStep is the memory that an answer may take before it asks for more.
const growStep = 256 << 10

// scan is Reader.Scan that ends when ctx does, or q.Grow refuses the memory of what
// is passed to fn.
func scan(ctx context.Context, r Reader, q *core.Range, keysOnly bool, fn func(*core.KV) bool) error {
	seen, grown, ended := 0, 0, error(nil)
	err := r.Scan(q.Interval, q.Rev, keysOnly, func(kv *core.KV) bool {
		if seen++; seen%ctxCheckInterval == 0 && ctx.Err() != nil {
			ended = core.ContextError(ctx.Err())
			return false
		}
		if grown += kv.Size(); grown >= growStep && q.Grow != nil {
			if ended = q.Grow(grown); ended != nil {
				return false
			}
			grown = 0
		}
		return fn(kv)
	})
	if err == nil {
		err = ended
	}
	return err
}

// wholeRangeNeeded reports whether the limit must wait for a filter or a sort
// (etcd T-12).
func wholeRangeNeeded(q *core.Range) bool {
	keyOrder := q.SortOrder == core.SortNone || (q.SortTarget == core.SortByKey && q.SortOrder == core.SortAscend)
	return !keyOrder || q.MinModRev != 0 || q.MaxModRev != 0 || q.MinCreateRev != 0 || q.MaxCreateRev != 0
}

func passes(kv *core.KV, q *core.Range) bool {
	return (q.MaxModRev == 0 || kv.ModRev <= q.MaxModRev) &&
		(q.MinModRev == 0 || kv.ModRev >= q.MinModRev) &&
		(q.MaxCreateRev == 0 || kv.CreateRev <= q.MaxCreateRev) &&
		(q.MinCreateRev == 0 || kv.CreateRev >= q.MinCreateRev)
}

// project is the form in which a query's answer shows a key. Without values it
// has no lease either, unless the values had to be sorted by: etcd 3.7 serves
// the first from its index, which knows of no lease (etcd T-14).
func project(kv *core.KV, q *core.Range) *core.KV {
	if !q.KeysOnly {
		return kv
	}
	bare := *kv
	bare.Value = nil
	if q.SortTarget != core.SortByValue {
		bare.Lease = 0
	}
	return &bare
}

func projectAll(kvs []*core.KV, q *core.Range) {
	if !q.KeysOnly {
		return
	}
	for i := range kvs {
		kvs[i] = project(kvs[i], q)
	}
}

// order sorts stably, so that ties stay in key order.
func order(kvs []*core.KV, by core.SortTarget, direction core.SortOrder) {
	slices.SortStableFunc(kvs, func(a, b *core.KV) int {
		if direction == core.SortDescend {
			a, b = b, a
		}
		switch by {
		case core.SortByVersion:
			return cmp.Compare(a.Version, b.Version)
		case core.SortByCreateRev:
			return cmp.Compare(a.CreateRev, b.CreateRev)
		case core.SortByModRev:
			return cmp.Compare(a.ModRev, b.ModRev)
		case core.SortByValue:
			return bytes.Compare(a.Value, b.Value)
		default:
			return bytes.Compare(a.Key, b.Key)
		}
	})
}
