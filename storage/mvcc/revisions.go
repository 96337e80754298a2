package mvcc

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// Revisions returns what the revisions from from on did to the keys of want, in
// order: whole revisions, those that did nothing there left out, until their
// changes take about maxBytes; at least one if there is one. next is the first
// revision not covered: one beyond the view's own when nothing is left. With
// withPrev the changes carry what they superseded, unless that has been
// compacted.
//
// It fails with Compacted if from lies below the view's compacted revision.
func (r *Reader) Revisions(ctx context.Context, from core.Rev, want core.Interval, withPrev bool, maxBytes int) (revs []*core.Revision, next core.Rev, err error) {
	if from < r.compactRev {
		return nil, 0, core.Compacted
	}
	if from > r.rev {
		return nil, r.rev + 1, nil
	}
	l := loader{reader: r, want: want, withPrev: withPrev, maxBytes: maxBytes}
	if next, err = l.list(ctx, from); err != nil {
		return nil, 0, err
	}
	if err := l.load(ctx); err != nil {
		return nil, 0, err
	}
	return l.revs, next, nil
}

// loader gathers the revisions of one call of Revisions: first the changes from
// r, then their versions from d, in key order.
type loader struct {
	reader   *Reader
	want     core.Interval
	withPrev bool
	maxBytes int

	bytes   int
	keys    slab
	pending []wanted
	revs    []*core.Revision
	// ends[i] is where the changes of revs[i] end in pending.
	ends []int
}

// wanted is a change whose versions have yet to be read.
type wanted struct {
	key           []byte
	rev, prevRev  core.Rev
	deleted       bool
	place         int
	version, prev *core.KV
}

// checkEvery is how many r rows are passed over between looks at the context.
const checkEvery = 1024

// list walks r and notes the changes of whole revisions; it returns the first
// revision that it left out.
func (l *loader) list(ctx context.Context, from core.Rev) (core.Rev, error) {
	it, err := l.reader.source.NewIter(keys.ChangeBounds(from, l.reader.rev+1))
	if err != nil {
		return 0, err
	}
	next := l.reader.rev + 1
	rows := 0
	for ok := it.First(); ok; ok = it.Next() {
		if rows++; rows%checkEvery == 0 && ctx.Err() != nil {
			err = context.Cause(ctx)
			break
		}
		rev, c, e := readChange(it)
		if e != nil {
			err = e
			break
		}
		if !l.want.Contains(c.key) {
			continue
		}
		if n := len(l.revs); n == 0 || l.revs[n-1].Rev != rev {
			if n > 0 && l.bytes >= l.maxBytes {
				next = rev
				break
			}
			l.revs = append(l.revs, &core.Revision{Rev: rev})
			l.ends = append(l.ends, len(l.pending))
		}
		l.add(rev, &c)
	}
	return next, errors.Join(err, it.Close())
}

// readChange decodes the r row that it stands on.
func readChange(it *storage.Iter) (core.Rev, change, error) {
	rev, _, ok := keys.DecodeChange(it.Key())
	if !ok {
		return 0, change{}, rowError("r", it.Key(), errRow)
	}
	value, err := it.Value()
	if err != nil {
		return 0, change{}, err
	}
	c, err := decodeChange(value, rev)
	if err != nil {
		return 0, change{}, rowError("r", it.Key(), err)
	}
	return rev, c, nil
}

func (l *loader) add(rev core.Rev, c *change) {
	key := l.keys.alloc(len(c.key))
	copy(key, c.key)
	w := wanted{key: key, rev: rev, deleted: c.deleted, place: len(l.pending)}
	l.bytes += int(logicalSize(len(c.key), c.len))
	// What the compacted revision itself superseded may or may not be there any
	// more; it is compacted for everyone.
	if l.withPrev && c.prevRev != 0 && rev > l.reader.compactRev {
		w.prevRev = c.prevRev
		l.bytes += int(logicalSize(len(c.key), c.prevLen))
	}
	l.pending = append(l.pending, w)
	l.ends[len(l.ends)-1] = len(l.pending)
}

// load reads the versions of all pending changes and puts the revisions
// together.
func (l *loader) load(ctx context.Context) error {
	if len(l.pending) == 0 {
		return nil
	}
	it, err := l.reader.source.NewIter(keys.VersionBounds())
	if err != nil {
		return err
	}
	if err := errors.Join(l.read(ctx, it), it.Close()); err != nil {
		return err
	}
	slices.SortFunc(l.pending, func(a, b wanted) int { return a.place - b.place })
	changes := make([]core.Change, len(l.pending))
	for i := range l.pending {
		changes[i] = core.Change{KV: l.pending[i].version, Prev: l.pending[i].prev}
	}
	start := 0
	for i, end := range l.ends {
		l.revs[i].Changes = changes[start:end:end]
		start = end
	}
	return nil
}

func (l *loader) read(ctx context.Context, it *storage.Iter) error {
	slices.SortFunc(l.pending, func(a, b wanted) int {
		if c := slices.Compare(a.key, b.key); c != 0 {
			return c
		}
		return int(b.rev - a.rev) // newest first, as in d
	})
	var scratch []byte
	for i := range l.pending {
		if i%checkEvery == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		w := &l.pending[i]
		var err error
		if w.deleted {
			w.version = &core.KV{Key: w.key, ModRev: w.rev}
		} else if w.version, err = l.version(it, &scratch, w.key, w.rev); err != nil {
			return err
		}
		if w.prevRev != 0 {
			if w.prev, err = l.version(it, &scratch, w.key, w.prevRev); err != nil {
				return err
			}
		}
	}
	return nil
}

// version reads the version of key written in revision rev, which must be there.
func (l *loader) version(it *storage.Iter, scratch *[]byte, key []byte, rev core.Rev) (*core.KV, error) {
	if kv := l.reader.caches.Versions.get(key, rev); kv != nil && kv.ModRev == rev {
		return kv, nil
	}
	*scratch = keys.AppendVersion((*scratch)[:0], key, rev)
	if !it.SeekGE(*scratch) || string(it.Key()) != string(*scratch) {
		return nil, fmt.Errorf("mvcc: revision %d wrote key %q, but there is no such version", rev, key)
	}
	value, err := it.Value()
	if err != nil {
		return nil, err
	}
	row, err := decodeRow(value, rev)
	if err != nil {
		return nil, rowError("d", it.Key(), err)
	}
	return row.kv(key, rev), nil
}
