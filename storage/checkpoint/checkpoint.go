// Package checkpoint copies the state to a directory of its own, at one moment,
// while the store goes on: what a snapshot for a lagging member and a backup
// begin with.
//
// It owns nothing: a checkpoint belongs to the caller, who removes it.
package checkpoint

import (
	"errors"
	"fmt"

	"github.com/triglot/triglot/storage"
)

// Create writes a checkpoint of db to dir, which must not exist, and returns the
// index that the copy itself says it has applied. index reads that from a state;
// it is a function because the layout of the row is the caller's.
//
// Batches that were committed before the call are in the copy, for it flushes
// first; of those committed during it, a prefix. That is why the index must come
// from the copy and not from the running store. If Create fails, it removes what
// it has written.
func Create(db *storage.DB, dir string, index func(storage.Reader) (uint64, error)) (uint64, error) {
	if err := db.Flush(); err != nil {
		return 0, err
	}
	if err := db.Checkpoint(dir); err != nil {
		return 0, err
	}
	applied, err := readIndex(db.FS(), dir, index)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("checkpoint: %s: %w", dir, err), db.FS().RemoveAll(dir))
	}
	return applied, nil
}

// readIndex opens the copy, which also proves that it can be opened.
func readIndex(fs storage.FS, dir string, index func(storage.Reader) (uint64, error)) (uint64, error) {
	db, err := storage.Open(dir, storage.Options{FS: fs, ReadOnly: true, CacheBytes: 1 << 20})
	if err != nil {
		return 0, err
	}
	applied, err := index(db)
	return applied, errors.Join(err, db.Close())
}
