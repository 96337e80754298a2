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
		n, err := count(ctx, r, b, q)
		return core.RangeResult{Count: n}, err
	case q.Single():
		return single(r, q)
	case streams(q):
		return inKeyOrder(ctx, r, b, q)
	default:
		return sorted(ctx, r, b, q)
	}
}

func single(r Reader, q *core.Range) (core.RangeResult, error) {
	kv, err := r.Get(q.Key, q.Rev)
	if err != nil || kv == nil {
		return core.RangeResult{}, err
	}
	res := core.RangeResult{Count: 1}
	if !passes(kv, q) {
		return res, nil
	}
	if kv = project(kv, q); q.Each != nil {
		return res, q.Each(kv)
	}
	res.KVs = []*core.KV{kv}
	return res, nil
}

// streams reports whether an answer is in key order, so that nothing of it has to wait
// for what follows.
func streams(q *core.Range) bool {
	return q.SortTarget == core.SortByKey && q.SortOrder != core.SortDescend
}

// filtered reports whether a query leaves out keys by their revisions. The limit is then
// one of those that are left (etcd T-12).
func filtered(q *core.Range) bool {
	return q.MinModRev != 0 || q.MaxModRev != 0 || q.MinCreateRev != 0 || q.MaxCreateRev != 0
}

func passes(kv *core.KV, q *core.Range) bool {
	return (q.MaxModRev == 0 || kv.ModRev <= q.MaxModRev) &&
		(q.MinModRev == 0 || kv.ModRev >= q.MinModRev) &&
		(q.MaxCreateRev == 0 || kv.CreateRev <= q.MaxCreateRev) &&
		(q.MinCreateRev == 0 || kv.CreateRev >= q.MinCreateRev)
}

// inOrder is an answer in key order in the making.
type inOrder struct {
	q        *core.Range
	filtered bool
	res      core.RangeResult
	// given is how many keys the answer has, size what they take.
	given int64
	size  int
	// last is the last key that the limit lets through.
	last []byte
	bare core.KV // what Each is given of a key without its value
	err  error
}

// inKeyOrder serves what can be given out as it is read. It reads the key behind the
// limit too: that there is one more is an answer.
func inKeyOrder(ctx context.Context, r Reader, b Bounds, q *core.Range) (core.RangeResult, error) {
	o := inOrder{q: q, filtered: filtered(q)}
	err := scan(ctx, r, q, q.KeysOnly, o.take)
	if err == nil {
		err = o.err
	}
	// The rest of a filtered range has been counted; of a page nobody asks for it.
	if err == nil && o.res.More && !o.filtered && q.PageBytes <= 0 {
		o.res.Count, err = countPage(ctx, r, b, q, o.last)
	}
	if err != nil {
		return core.RangeResult{}, err
	}
	return o.res, nil
}

// take takes the next key of the interval. It reports false if that is enough.
func (o *inOrder) take(kv *core.KV) bool {
	q := o.q
	if o.filtered && !passes(kv, q) {
		o.res.Count++
		return true
	}
	if q.Limit > 0 && o.given == q.Limit || q.PageBytes > 0 && o.size >= q.PageBytes {
		o.res.More = true
		if o.filtered {
			o.res.Count++
		}
		return o.filtered
	}
	o.res.Count++
	o.size += kv.Size()
	if o.given++; o.given == q.Limit {
		o.last = append([]byte(nil), kv.Key...)
	}
	if q.Each == nil {
		o.res.KVs = append(o.res.KVs, project(kv, q))
		return true
	}
	if q.KeysOnly {
		o.bare = *kv
		o.bare.Value, o.bare.Lease = nil, 0 // see project
		kv = &o.bare
	}
	o.err = q.Each(kv)
	return o.err == nil
}

// count counts the interval, and notes that for who asks again.
func count(ctx context.Context, r Reader, b Bounds, q *core.Range) (int64, error) {
	switch {
	case q.Single():
		return r.Count(ctx, q.Interval, q.Rev)
	case !q.Unbounded() && string(q.Key) >= string(q.End):
		return 0, nil
	}
	rev := b.at(q)
	n, err := countBehind(ctx, r, b, q, string(q.Key), rev)
	if err == nil {
		b.Counts.note(string(q.Key), q.End, b.sameKeys(rev), n)
	}
	return n, err
}

// countPage counts the interval of a page whose last key is last, and notes what the
// next page, and others, have to count.
func countPage(ctx context.Context, r Reader, b Bounds, q *core.Range, last []byte) (int64, error) {
	rev := b.at(q)
	same := b.sameKeys(rev)
	behind := string(last) + "\x00"
	var left int64
	if all, ok := b.nearest(string(q.Key), q.End, rev); ok && all.key == string(q.Key) {
		left = all.n - q.Limit
	} else {
		var err error
		if left, err = countBehind(ctx, r, b, q, behind, rev); err != nil {
			return 0, err
		}
	}
	b.Counts.note(behind, q.End, same, left)
	if rev != same { // for the next page, which asks for this very revision
		b.Counts.note(behind, q.End, rev, left)
	}
	b.Counts.note(string(q.Key), q.End, same, q.Limit+left)
	return q.Limit + left, nil
}

// countBehind counts from a key of the interval on, up to where the count is known.
func countBehind(ctx context.Context, r Reader, b Bounds, q *core.Range, from string, rev core.Rev) (int64, error) {
	known, ok := b.nearest(from, q.End, rev)
	rest := core.Interval{Key: []byte(from), End: q.End}
	switch {
	case ok && known.key == from:
		return known.n, nil
	case ok:
		rest.End = []byte(known.key)
	}
	n, err := r.Count(ctx, rest, q.Rev)
	return n + known.n, err
}

// sorted serves what has to be gathered before it can be sorted and cut.
func sorted(ctx context.Context, r Reader, b Bounds, q *core.Range) (core.RangeResult, error) {
	// Without an order, the limit lets through what it would in key order, and the one
	// key too many is sorted with the others (etcd T-13).
	cutFirst := q.SortOrder == core.SortNone && !filtered(q) && q.Limit > 0
	var res core.RangeResult
	var last []byte
	gather := *q
	gather.Each = nil
	err := scan(ctx, r, &gather, q.KeysOnly && q.SortTarget != core.SortByValue, func(kv *core.KV) bool {
		res.Count++
		if passes(kv, q) {
			res.KVs = append(res.KVs, kv)
		}
		if res.Count == q.Limit {
			last = kv.Key
		}
		return !cutFirst || res.Count <= q.Limit
	})
	if err == nil && cutFirst && res.Count > q.Limit {
		res.Count, err = countPage(ctx, r, b, q, last)
	}
	if err != nil {
		return core.RangeResult{}, err
	}
	order(res.KVs, q.SortTarget, q.SortOrder)
	cut(&res, q)
	for i, kv := range res.KVs {
		res.KVs[i] = project(kv, q)
	}
	return give(&res, q)
}

// cut applies the limit.
func cut(res *core.RangeResult, q *core.Range) {
	if q.Limit > 0 && int64(len(res.KVs)) > q.Limit {
		res.KVs = slices.Clip(res.KVs[:q.Limit])
		res.More = true
	}
}

// give hands out what was gathered, if that was asked for.
func give(res *core.RangeResult, q *core.Range) (core.RangeResult, error) {
	if q.Each == nil {
		return *res, nil
	}
	for _, kv := range res.KVs {
		if err := q.Each(kv); err != nil {
			return core.RangeResult{}, err
		}
	}
	res.KVs = nil
	return *res, nil
}

// growStep is the memory that an answer may take before it asks for more.
const growStep = 256 << 10

// scan passes the keys of q to fn, until fn returns false, ctx ends, or q.Grow refuses
// the memory of what fn keeps. With q.Each that is nothing: it asks for what it needs.
func scan(ctx context.Context, r Reader, q *core.Range, keysOnly bool, fn func(*core.KV) bool) error {
	read := r.Scan
	grow := q.Grow
	if q.Each != nil {
		read, grow = r.Visit, nil
	}
	seen, grown, ended := 0, 0, error(nil)
	err := read(q.Interval, q.Rev, keysOnly, func(kv *core.KV) bool {
		if seen++; seen%ctxCheckInterval == 0 && ctx.Err() != nil {
			ended = core.ContextError(ctx.Err())
			return false
		}
		if grow == nil {
			return fn(kv)
		}
		if grown += kv.Size(); grown >= growStep {
			if ended = grow(grown); ended != nil {
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
