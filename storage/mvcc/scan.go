package mvcc

import (
	"context"
	"errors"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// Scan calls fn for each key of iv that exists as of revision at, in key order,
// until fn returns false. With keysOnly the KVs have no value. fn gets KVs that
// it may keep, and must be quick: the engine's iterator is open meanwhile.
func (r *Reader) Scan(iv core.Interval, at core.Rev, keysOnly bool, fn func(*core.KV) bool) error {
	if iv.Single() {
		kv, err := r.Get(iv.Key, at)
		if kv != nil {
			if keysOnly {
				kv = withoutValue(kv)
			}
			fn(kv)
		}
		return err
	}
	var s slab
	return r.walk(iv, at, func(c *cursor) bool {
		return fn(s.keyValue(&c.row, c.key, c.rev, keysOnly))
	})
}

// Count counts the keys of iv that exist as of revision at. It fails with the
// kind of ctx's error once that has ended.
func (r *Reader) Count(ctx context.Context, iv core.Interval, at core.Rev) (int64, error) {
	if iv.Single() {
		kv, err := r.Get(iv.Key, at)
		if kv == nil {
			return 0, err
		}
		return 1, err
	}
	var n int64
	err := r.walk(iv, at, func(*cursor) bool {
		n++
		return n%checkEvery != 0 || ctx.Err() == nil
	})
	return n, orEnded(ctx, err)
}

// orEnded is err, or else why ctx has ended, if it has.
func orEnded(ctx context.Context, err error) error {
	if err == nil && ctx.Err() != nil {
		return core.ContextError(ctx.Err())
	}
	return err
}

// walk calls fn at each live key of iv.
func (r *Reader) walk(iv core.Interval, at core.Rev, fn func(*cursor) bool) error {
	if at <= 0 {
		at = r.rev
	}
	c, err := newCursor(r.source, iv, at)
	if err != nil || c == nil {
		return err
	}
	for ok := c.first(); ok; ok = c.next() {
		if !c.row.deleted() && !fn(c) {
			break
		}
	}
	return c.close()
}

func withoutValue(kv *core.KV) *core.KV {
	c := *kv
	c.Value = nil
	return &c
}

// cursor walks the keys of an interval in the engine, at each the newest row as
// of one revision: a version or a tombstone.
type cursor struct {
	it      *storage.Iter
	at      core.Rev
	scratch []byte
	err     error

	// The present row; key and row.value are valid until the cursor moves.
	key []byte
	rev core.Rev
	row row
}

// newCursor returns nil if iv holds no key at all.
func newCursor(source storage.Reader, iv core.Interval, at core.Rev) (*cursor, error) {
	if !iv.Single() && !iv.Unbounded() && string(iv.Key) >= string(iv.End) {
		return nil, nil
	}
	lower, upper := keys.IntervalBounds(iv)
	it, err := source.NewIter(lower, upper)
	if err != nil {
		return nil, err
	}
	return &cursor{it: it, at: at}, nil
}

func (c *cursor) first() bool { return c.settle(c.it.First()) }
func (c *cursor) next() bool  { return c.settle(c.it.NextPrefix()) }

// settle goes on from a key's newest row to the one that the cursor shows.
func (c *cursor) settle(valid bool) bool {
	for valid {
		key, rev, ok := keys.DecodeVersion(c.it.Key())
		if !ok {
			c.err = rowError("d", c.it.Key(), errRow)
			return false
		}
		if rev > c.at {
			// Only a read of the past comes here. The seek may end at the next key,
			// whose newest row may again be too new.
			c.scratch = keys.AppendVersion(c.scratch[:0], key, c.at)
			valid = c.it.SeekGE(c.scratch)
			continue
		}
		value, err := c.it.Value()
		if err == nil {
			c.row, err = decodeRow(value, rev)
		}
		if err != nil {
			c.err = rowError("d", c.it.Key(), err)
			return false
		}
		c.key, c.rev = key, rev
		return true
	}
	return false
}

func (c *cursor) close() error { return errors.Join(c.err, c.it.Close()) }
