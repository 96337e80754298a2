package mvcc

import (
	"math"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// newRow is a row of the n or the A table as an entry of Caches.Rows. They have no
// versions: the row's ModRev is an applied index at which it was the one, the
// earliest that is known. So the rules of Cache hold if a view asks with its index.
// It is the index and not the revision because a batch may change rows without a
// revision of its own. It copies both.
func newRow(key, value []byte, index uint64) *core.KV {
	kv := core.NewKV(key, value)
	kv.ModRev, kv.Version = core.Rev(index), 1
	return kv
}

// rowValue is the value of an entry, nil if it is an absence.
func rowValue(kv *core.KV) []byte {
	if kv.Deleted() {
		return nil
	}
	return kv.Value
}

// Row returns a row of the n or the A table, by its key from package keys, nil if there is
// none. The slice is shared and must not be written to. Two views get the same one only if
// the row was not written between them, be it with the same bytes.
func (r *Reader) Row(key []byte) ([]byte, error) {
	hash := hashOf(key)
	if kv := r.caches.Rows.get(hash, key, core.Rev(r.index)); kv != nil {
		return rowValue(kv), nil
	}
	l, err := r.lookups.take(r.source)
	if err != nil {
		return nil, err
	}
	kv, err := rowIn(l.it, key, r.index)
	if err := r.lookups.give(l, err); err != nil {
		return nil, err
	}
	r.caches.Rows.fill(hash, kv, r.index)
	return rowValue(kv), nil
}

// rowIn reads a row, or its absence, with an iterator for lookups of the state at
// index.
func rowIn(it *storage.Iter, key []byte, index uint64) (*core.KV, error) {
	if !it.SeekPrefixGE(key) || string(it.Key()) != string(key) {
		if err := it.Err(); err != nil {
			return nil, err
		}
		return absence(key, core.Rev(index)), nil
	}
	value, err := it.Value()
	if err != nil {
		return nil, err
	}
	return newRow(key, value, index), nil
}

// cachedRow is GetRow of a row of the n or the A table that the batch has not written.
func (w *Writer) cachedRow(hash uint64, key []byte) ([]byte, error) {
	if kv := w.caches.Rows.get(hash, key, newestRev); kv != nil {
		if !kv.Deleted() {
			w.looked.add(hash)
		}
		return rowValue(kv), nil
	}
	if err := w.openLookup(); err != nil {
		return nil, err
	}
	kv, err := rowIn(w.lookup, key, w.committed)
	if err != nil || kv.Deleted() {
		return nil, err
	}
	w.reads++
	w.looked.add(hash)
	// Before the first Commit it is not known from which view on the row holds, and a state
	// that replaces another shares the caches with that one's views.
	if w.committed > 0 {
		w.caches.Rows.fill(hash, kv, math.MaxUint64) // not an absence, see Get
	}
	return kv.Value, nil
}

// commitRows brings the cache of rows up to date with the batch of index.
func (w *Writer) commitRows(index uint64) {
	for i := range w.rows.states {
		switch s := &w.rows.states[i]; {
		case !s.set || !keys.IsCached(s.key):
		case s.deleted:
			w.caches.Rows.write(s.hash, absence(s.key, core.Rev(index)), nil, index)
		default:
			w.caches.Rows.write(s.hash, newRow(s.key, s.value, index), nil, index)
		}
	}
}
