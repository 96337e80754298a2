package mvcc

import (
	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// Reader reads one view. It is safe for concurrent use, holds nothing that must
// be released, unless it has been told to KeepLookups, and must not be used after its
// snapshot has been closed.
//
// A revision at which it is asked to read must lie within what the view can
// show, [compacted, reached]; it does not check. Zero or less is the revision
// reached.
type Reader struct {
	source storage.Reader
	caches Caches
	index  uint64
	rev    core.Rev
	// compactRev is the revision that history is compacted to as of the view.
	compactRev core.Rev
	// total is how many keys there are at rev, less than zero if that is not known.
	total int64

	lookups lookups
}

// NewReader makes a reader of the view with that applied index, revision reached
// and revision compacted to. Source is the engine at just that moment.
func NewReader(source storage.Reader, caches Caches, index uint64, rev, compactRev core.Rev) *Reader {
	return &Reader{source: source, caches: caches, index: index, rev: rev, compactRev: compactRev, total: -1}
}

// WithTotal tells r, before it is shared, how many keys there are at the revision
// reached, so that it need not count them, and returns it.
func (r *Reader) WithTotal(keys int64) *Reader {
	r.total = keys
	return r
}

// Get returns the version of key as of revision at, nil if it does not exist
// there.
func (r *Reader) Get(key []byte, at core.Rev) (*core.KV, error) {
	if at <= 0 {
		at = r.rev
	}
	hash := hashOf(key)
	if kv := r.caches.Versions.get(hash, key, at); kv != nil {
		return live(kv), nil
	}
	kv, err := r.lookUp(key, at)
	if err != nil {
		return nil, err
	}
	if at == r.rev {
		if kv == nil {
			kv = absence(key, at)
		}
		r.caches.Versions.fill(hash, kv, r.index)
	}
	return live(kv), nil
}

// live is kv if it is a version, nil if it is a tombstone or nil.
func live(kv *core.KV) *core.KV {
	if kv == nil || kv.Deleted() {
		return nil
	}
	return kv
}

// absence is a tombstone for a key of which there is no row as of rev.
func absence(key []byte, rev core.Rev) *core.KV {
	kv := core.NewKV(key, nil)
	kv.Value, kv.ModRev = nil, rev
	return kv
}

// lookUp reads the version, or the tombstone, of key as of revision at from the engine;
// nil if there is no row.
func (r *Reader) lookUp(key []byte, at core.Rev) (*core.KV, error) {
	l, err := r.lookups.take(r.source)
	if err != nil {
		return nil, err
	}
	kv, err := lookUpIn(l.it, &l.scratch, key, at)
	return kv, r.lookups.give(l, err)
}

// lookUpIn is lookUp with an iterator for lookups and a buffer.
func lookUpIn(it *storage.Iter, scratch *[]byte, key []byte, at core.Rev) (*core.KV, error) {
	*scratch = keys.AppendVersion((*scratch)[:0], key, at)
	if !it.SeekPrefixGE(*scratch) {
		return nil, it.Err() // what cannot be read must not pass for what is not there
	}
	_, rev, ok := keys.DecodeVersion(it.Key())
	if !ok {
		return nil, rowError("d", it.Key(), errRow)
	}
	value, err := it.Value()
	if err != nil {
		return nil, err
	}
	r, err := decodeRow(value, rev)
	if err != nil {
		return nil, rowError("d", it.Key(), err)
	}
	return r.kv(key, rev), nil
}
