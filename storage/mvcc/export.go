package mvcc

import (
	"errors"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// Pace is called now and then by what goes over a whole table, between two rows: it
// may rest, and its error ends the work.
type Pace func() error

// pacedRows is how many rows are between two calls of a Pace: some tenths of a millisecond.
const pacedRows = 128

// Versions calls fn for every version and tombstone that a compaction to the view's
// compacted revision leaves: in key order, of each key the newest first. How far the
// collector has come does not matter. A tombstone of exactly the compacted revision
// is among them, because a watch may still begin there.
//
// kv and its bytes are valid during the call only.
func (r *Reader) Versions(pace Pace, fn func(kv *core.KV) error) error {
	it, err := r.source.NewIter(keys.VersionBounds())
	if err != nil {
		return err
	}
	w := versionWalk{rev: r.rev, compactRev: r.compactRev}
	rows := 0
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		if rows++; rows%pacedRows == 0 {
			if err = pace(); err != nil {
				break
			}
		}
		err = w.visit(it, fn)
	}
	return errors.Join(err, it.Close())
}

// versionWalk is a walk over the rows of d.
type versionWalk struct {
	rev, compactRev core.Rev
	base            []byte // the last key whose newest version up to compactRev was seen
	hasBase         bool
	kv              core.KV // reused
}

// visit calls fn for the row that it stands on, unless that has been given up.
func (w *versionWalk) visit(it *storage.Iter, fn func(*core.KV) error) error {
	key, rev, ok := keys.DecodeVersion(it.Key())
	if !ok {
		return rowError("d", it.Key(), errRow)
	}
	if rev > w.rev {
		return nil
	}
	if rev <= w.compactRev {
		if w.hasBase && string(w.base) == string(key) {
			return nil
		}
		w.base, w.hasBase = append(w.base[:0], key...), true
	}
	value, err := it.Value()
	if err != nil {
		return err
	}
	row, err := decodeRow(value, rev)
	if err != nil {
		return rowError("d", it.Key(), err)
	}
	if row.deleted() && rev < w.compactRev {
		return nil
	}
	w.kv = core.KV{
		Key: key, Value: row.value,
		CreateRev: row.createRev, ModRev: rev,
		Version: row.version, Lease: row.lease, Time: row.time, ACL: row.acl,
	}
	return fn(&w.kv)
}

// Changes walks the changes of a view in the order in which they were made. It is
// for one goroutine.
type Changes struct {
	it  *storage.Iter
	ok  bool
	err error

	// Rev is the revision of the present change, Key its key, valid until Next.
	Rev core.Rev
	Key []byte
}

// Changes returns a walk that stands on the first change of revision from or a later
// one; from must not be below the view's compacted revision, of which the changes
// are still there. The caller must close it.
func (r *Reader) Changes(from core.Rev) (*Changes, error) {
	it, err := r.source.NewIter(keys.ChangeBounds(from, r.rev+1))
	if err != nil {
		return nil, err
	}
	c := &Changes{it: it}
	c.settle(it.First())
	return c, nil
}

// Valid reports whether the walk stands on a change.
func (c *Changes) Valid() bool { return c.ok }

// Next goes to the next change.
func (c *Changes) Next() { c.settle(c.it.Next()) }

func (c *Changes) settle(valid bool) {
	if c.ok = valid; !valid {
		return
	}
	rev, ch, err := readChange(c.it)
	if err != nil {
		c.ok, c.err = false, err
		return
	}
	c.Rev, c.Key = rev, ch.key
}

// Close ends the walk and returns the error that it met.
func (c *Changes) Close() error { return errors.Join(c.err, c.it.Close()) }

// VersionOf reads the version, or the tombstone, that revision rev wrote of key.
// It fails if there is none.
func (r *Reader) VersionOf(key []byte, rev core.Rev) (*core.KV, error) {
	kv, err := r.lookUp(key, rev)
	if err != nil {
		return nil, err
	}
	if kv == nil || kv.ModRev != rev {
		return nil, rowError("d", key, errMissing)
	}
	return kv, nil
}

// errMissing is the cause of a row that another one tells of, and is not there.
var errMissing = errors.New("the version that a change tells of is not there")
