package backup

import (
	"errors"
	"fmt"
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/storage/mvcc"
)

// orderer puts the versions of each revision in the order in which they were
// written, and gives them to emit. The records come by revision, those of one in key
// order, the changes in the right order but without values. Most often the two agree,
// and nothing is held. Of the revisions below the compacted one nobody can ask for
// the order any more: they stay in key order.
type orderer struct {
	view    *state.View
	from    core.Rev // the first revision whose order is known
	changes *mvcc.Changes
	emit    func(*record) error

	// limit bounds the bytes of a revision that are held.
	limit int
}

// order runs through all records.
func order(v *state.View, m *merge, limit int, emit func(*record) error) (err error) {
	o := orderer{view: v, from: max(v.CompactRev(), 1), emit: emit, limit: limit}
	if o.changes, err = v.Changes(o.from); err != nil {
		return err
	}
	err = o.run(m)
	return errors.Join(err, o.changes.Close())
}

func (o *orderer) run(m *merge) error {
	ok, err := m.next()
	for ok && err == nil {
		if o.follows(&m.record) {
			if err = o.emit(&m.record); err == nil {
				ok, err = m.next()
			}
			continue
		}
		ok, err = o.revision(m)
	}
	return err
}

// follows reports whether r is what comes next, and takes its change, if so.
func (o *orderer) follows(r *record) bool {
	switch {
	case r.ModRev < o.from:
		return true
	case !o.changes.Valid() || o.changes.Rev != r.ModRev || string(o.changes.Key) != string(r.Key):
		return false
	}
	o.changes.Next()
	return true
}

// revision does the rest of the revision that m stands in, whose records are in
// another order than its changes.
func (o *orderer) revision(m *merge) (ok bool, err error) {
	rev := m.record.ModRev
	held, size, count := map[string]*record{}, 0, 0
	ok = true
	for ok && m.record.ModRev == rev {
		count++
		if size += len(m.record.Key) + len(m.record.Value) + recordOverhead; size <= o.limit {
			r := m.record
			r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
			held[string(r.Key)] = &r
		}
		if ok, err = m.next(); err != nil {
			return false, err
		}
	}
	for ; o.changes.Valid() && o.changes.Rev == rev; o.changes.Next() {
		r := held[string(o.changes.Key)]
		if r == nil {
			// Too much to hold: a transaction that deletes a great many keys, and does
			// something else besides.
			if r, err = o.read(o.changes.Key, rev); err != nil {
				return false, err
			}
		}
		count--
		if err := o.emit(r); err != nil {
			return false, err
		}
	}
	if count != 0 {
		return false, fmt.Errorf("the history of revision %d is damaged: %d versions have no change", rev, count)
	}
	return ok, nil
}

// recordOverhead is about what a record takes besides its bytes.
const recordOverhead = 200

// read reads what gather would have made of a version: so large a revision is an etcd
// transaction, which writes no key twice.
func (o *orderer) read(key []byte, rev core.Rev) (*record, error) {
	kv, err := o.view.VersionOf(key, rev)
	if err != nil {
		return nil, err
	}
	return &record{KV: *kv}, nil
}
