package mvcc

import (
	"context"
	"errors"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// Scan is Reader.Scan with the batch's own writes. fn may read from the Writer, and must
// not write to it.
func (w *Writer) Scan(iv core.Interval, at core.Rev, keysOnly bool, fn func(*core.KV) bool) error {
	if iv.Single() {
		kv, err := w.Get(iv.Key, at)
		if kv != nil {
			if keysOnly {
				kv = withoutValue(kv)
			}
			fn(kv)
		}
		return err
	}
	var s slab
	return w.walk(iv, at, func(c *cursor, kv *core.KV) bool {
		switch {
		case kv == nil:
			return fn(s.keyValue(&c.row, c.key, c.rev, keysOnly))
		case keysOnly:
			return fn(withoutValue(kv))
		default:
			return fn(kv)
		}
	})
}

// Visit is Scan: little is read here.
func (w *Writer) Visit(iv core.Interval, at core.Rev, keysOnly bool, fn func(*core.KV) bool) error {
	return w.Scan(iv, at, keysOnly, fn)
}

// Count is Reader.Count with the batch's own writes.
func (w *Writer) Count(ctx context.Context, iv core.Interval, at core.Rev) (int64, error) {
	if iv.Single() {
		kv, err := w.Get(iv.Key, at)
		if kv == nil {
			return 0, err
		}
		return 1, err
	}
	var n int64
	err := w.walk(iv, at, func(*cursor, *core.KV) bool {
		n++
		return n%checkEvery != 0 || ctx.Err() == nil
	})
	return n, orEnded(ctx, err)
}

// walk calls fn at each live key of iv, with the overlay's version, or with nil
// if the cursor's holds.
func (w *Writer) walk(iv core.Interval, at core.Rev, fn func(*cursor, *core.KV) bool) error {
	if at <= 0 {
		at = newestRev
	}
	c, err := newCursor(w.db, iv, at)
	if err != nil || c == nil {
		return err
	}
	own := w.versions.from(string(iv.Key))
	inEngine := c.first()
	for inEngine || len(own) > 0 {
		// The overlay's versions are newer than the engine's: at a key of both, its
		// own holds if it is not too new.
		var kv *core.KV
		atEngine := inEngine
		if len(own) > 0 && (!inEngine || own[0] <= stringOf(c.key)) {
			key := own[0]
			if own = own[1:]; !contains(iv, key) {
				own = nil
				continue
			}
			atEngine = inEngine && key == stringOf(c.key)
			if kv = w.versions.at(hashOf(bytesOf(key)), bytesOf(key), at); kv == nil && !atEngine {
				continue
			}
		}
		exists := kv != nil && !kv.Deleted() || kv == nil && !c.row.deleted()
		if exists && !fn(c, kv) {
			break
		}
		if atEngine {
			inEngine = c.next()
		}
	}
	return c.close()
}

// contains reports whether key, which is not before iv, is in it.
func contains(iv core.Interval, key string) bool {
	return iv.Unbounded() || key < string(iv.End)
}

// ScanRows calls fn for each row of other tables in [lower, upper), keys of
// package keys, in order, the batch's own writes included, until fn returns
// false. The slices are valid during the call. fn may read from the Writer, and must not
// write to it.
func (w *Writer) ScanRows(lower, upper []byte, fn func(key, value []byte) bool) error {
	it, err := w.db.NewIter(lower, upper)
	if err != nil {
		return err
	}
	return errors.Join(w.scanRows(it, lower, upper, fn), it.Close())
}

func (w *Writer) scanRows(it *storage.Iter, lower, upper []byte, fn func(key, value []byte) bool) error {
	own := w.rows.from(string(lower))
	inEngine := it.First()
	for inEngine || len(own) > 0 {
		var s rowState
		atEngine := inEngine
		if len(own) > 0 && (!inEngine || own[0] <= stringOf(it.Key())) {
			key := own[0]
			if own = own[1:]; key >= string(upper) {
				own = nil
				continue
			}
			atEngine = inEngine && key == stringOf(it.Key())
			if s = w.rows.get(hashOf(bytesOf(key)), bytesOf(key)); !s.set && !atEngine {
				continue
			}
		}
		switch {
		case s.deleted:
		case s.set:
			if !fn(s.key, s.value) {
				return nil
			}
		default:
			value, err := it.Value()
			if err != nil {
				return err
			}
			if !fn(it.Key(), value) {
				return nil
			}
		}
		if atEngine {
			inEngine = it.Next()
		}
	}
	return nil
}
