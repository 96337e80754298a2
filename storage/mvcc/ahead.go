package mvcc

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// Need is something that the Writer is about to be asked for: the newest version of a
// key, or a row of the n or the A table.
type Need struct {
	key  []byte
	hash uint64
	row  bool
}

// Missing appends to needs that of a key, or of a row by its key from package keys, unless
// the caches have it. It copies key.
func (r *Reader) Missing(needs []Need, key []byte, row bool) []Need {
	n := Need{key: key, hash: hashOf(key), row: row}
	if r.caches.has(&n) {
		return needs
	}
	n.key = bytes.Clone(key)
	return append(needs, n)
}

func (c *Caches) has(n *Need) bool {
	if n.row {
		return c.Rows.has(n.hash, n.key)
	}
	return c.Versions.has(n.hash, n.key)
}

// SortNeeds puts needs in the order in which the engine has them, each once.
func SortNeeds(needs []Need) []Need {
	slices.SortFunc(needs, func(a, b Need) int {
		if a.row != b.row {
			if b.row {
				return -1
			}
			return 1
		}
		return bytes.Compare(a.key, b.key)
	})
	return slices.CompactFunc(needs, func(a, b Need) bool { return a.row == b.row && bytes.Equal(a.key, b.key) })
}

// Warm reads what is needed into the caches, until ctx ends, and returns how much they
// took. What there is not is not worth an entry: most often it is written next.
func (r *Reader) Warm(ctx context.Context, needs []Need) (found int, err error) {
	it, err := r.source.NewLookup(storage.ProbablyAbsent)
	if err != nil {
		return 0, err
	}
	var scratch []byte
	for i := 0; i < len(needs) && err == nil && ctx.Err() == nil; i++ {
		n := &needs[i]
		if r.caches.has(n) { // by now
			continue
		}
		var kv *core.KV
		cache := r.caches.Versions
		if n.row {
			cache = r.caches.Rows
			kv, err = rowIn(it, n.key, r.index)
		} else {
			kv, err = lookUpIn(it, &scratch, n.key, r.rev)
		}
		// What is too big to keep is read once more, and counted then.
		if err == nil && live(kv) != nil && cache.fill(n.hash, kv, r.index) {
			found++
		}
	}
	return found, errors.Join(err, it.Close())
}
