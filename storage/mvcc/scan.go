package mvcc

import (
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
	return r.walk(iv, at, wholeRows, func(c *cursor) bool {
		return fn(s.keyValue(&c.row, c.key, c.rev, keysOnly))
	})
}

// Visit is Scan for an fn that keeps nothing: the KV that it gets, its key and its value
// are the next one's when it returns. It must not change them.
func (r *Reader) Visit(iv core.Interval, at core.Rev, keysOnly bool, fn func(*core.KV) bool) error {
	if iv.Single() {
		return r.Scan(iv, at, keysOnly, fn)
	}
	var kv core.KV
	return r.walk(iv, at, wholeRows, func(c *cursor) bool {
		c.row.show(&kv, c.key, c.row.value, c.rev)
		if keysOnly {
			kv.Value = nil
		}
		return fn(&kv)
	})
}

// walk calls fn at each live key of iv.
func (r *Reader) walk(iv core.Interval, at core.Rev, decode decoding, fn func(*cursor) bool) error {
	if at <= 0 {
		at = r.rev
	}
	c, err := newCursor(r.source, iv, at)
	if err != nil || c == nil {
		return err
	}
	c.decode = decode
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

// decoding makes a row of its bytes.
type decoding func(b []byte, rev core.Rev) (row, error)

// How much of a row is wanted: all, or whether it is a version.
var (
	wholeRows decoding = decodeRow
	bareRows  decoding = decodeBare
)

// turnRows is how many keys a cursor passes before it gives up its place in the engine
// and takes it again: an iterator keeps the engine from freeing memory and files that
// it has replaced.
const turnRows = 1 << 14

// cursor walks the keys of an interval in the engine, at each the newest row as
// of one revision: a version or a tombstone.
type cursor struct {
	source storage.Reader
	upper  []byte
	it     *storage.Iter
	at     core.Rev
	decode decoding
	// passed counts the keys of the present turn.
	passed  int
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
	return &cursor{source: source, upper: upper, it: it, at: at, decode: wholeRows}, nil
}

func (c *cursor) first() bool { return c.settle(c.it.First()) }

func (c *cursor) next() bool {
	if c.passed++; c.passed == turnRows {
		return c.turn()
	}
	return c.settle(c.it.NextPrefix())
}

// turn goes on with an iterator of its own behind the present key.
func (c *cursor) turn() bool {
	lower := keys.AppendVersions(nil, append(append([]byte(nil), c.key...), 0))
	c.passed = 0
	if err := c.it.Close(); err != nil {
		c.it, c.err = nil, err
		return false
	}
	if c.it, c.err = c.source.NewIter(lower, c.upper); c.err != nil {
		c.it = nil
		return false
	}
	return c.settle(c.it.First())
}

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
			c.row, err = c.decode(value, rev)
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

func (c *cursor) close() error {
	if c.it == nil { // a turn failed
		return c.err
	}
	return errors.Join(c.err, c.it.Close())
}
