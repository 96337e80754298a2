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
// compacted: in a revision that superseded more than 16 MiB only its key and
// revision, and NoPrevValues says so. LoadPrev has the rest.
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

// maxPrevBytes is how much of what one revision superseded Revisions reads: deletes
// may have been of any size.
const maxPrevBytes = 16 << 20

// LoadPrev puts in what a revision of Revisions superseded, where that is
// NoPrevValues; it may come from an earlier view. What has been compacted since is
// gone, and so is Prev.
func (r *Reader) LoadPrev(ctx context.Context, rev *core.Revision) error {
	rev.NoPrevValues = false
	if rev.Rev <= r.compactRev {
		for i := range rev.Changes {
			rev.Changes[i].Prev = nil
		}
		return nil
	}
	it, err := r.source.NewIter(keys.VersionBounds())
	if err != nil {
		return err
	}
	l := loader{reader: r}
	var scratch []byte
	for i := range rev.Changes {
		if i%checkEvery == 0 && ctx.Err() != nil {
			err = context.Cause(ctx)
			break
		}
		c := &rev.Changes[i]
		if c.Prev == nil {
			continue
		}
		if c.Prev, err = l.version(it, &scratch, c.KV.Key, c.Prev.ModRev); err != nil {
			break
		}
	}
	return errors.Join(err, it.Close())
}

// loader gathers the revisions of one call of Revisions: first the changes from
// r, then their versions from d, in key order.
type loader struct {
	reader   *Reader
	want     core.Interval
	withPrev bool
	maxBytes int

	bytes int
	// prevBytes is what the revision at hand superseded.
	prevBytes int64
	keys      slab
	pending   []wanted
	revs      []*core.Revision
	// ends[i] is where the changes of revs[i] end in pending.
	ends []int
}

// wanted is a change whose versions have yet to be read.
type wanted struct {
	key           []byte
	rev, prevRev  core.Rev
	deleted       bool
	listed        bool // deleted, and the tombstone tells of an ACL
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
			l.prevBytes = 0
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
	w := wanted{key: key, rev: rev, deleted: c.deleted, listed: c.deleted && c.len > bareTombstone, place: len(l.pending)}
	l.bytes += int(logicalSize(len(c.key), c.len))
	// What the compacted revision itself superseded may or may not be there any
	// more; it is compacted for everyone.
	if l.withPrev && c.prevRev != 0 && rev > l.reader.compactRev {
		w.prevRev = c.prevRev
		size := logicalSize(len(c.key), c.prevLen)
		l.bytes += int(size)
		l.prevBytes += size
		if last := l.revs[len(l.revs)-1]; l.prevBytes > maxPrevBytes {
			last.NoPrevValues = true
		}
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
	l.hollow()
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

// hollow gives the changes of revisions that superseded too much what is known of
// that without reading it.
func (l *loader) hollow() {
	start := 0
	for i, end := range l.ends {
		for j := start; j < end && l.revs[i].NoPrevValues; j++ {
			if w := &l.pending[j]; w.prevRev != 0 {
				w.prev, w.prevRev = &core.KV{Key: w.key, ModRev: w.prevRev}, 0
			}
		}
		start = end
	}
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
		if w.deleted && !w.listed {
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
	if kv := l.reader.caches.Versions.get(hashOf(key), key, rev); kv != nil && kv.ModRev == rev {
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
