package mvcc

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// Hash sums up what of the keys can be read at the revisions from compactRev to
// at: the same on every member that has reached at and compacted to compactRev,
// whatever its files look like and however far its collection has come.
//
// It is the sum of a cryptographic hash of each such version: all of the
// revisions in (compactRev, at], and of each key the newest one up to compactRev
// unless that is a tombstone, which the collector may or may not have removed.
func Hash(source storage.Reader, pace Pace, at, compactRev core.Rev) (uint64, error) {
	it, err := source.NewIter(keys.VersionBounds())
	if err != nil {
		return 0, err
	}
	h := hasher{at: at, compactRev: compactRev}
	rows := 0
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		if err == nil {
			err = h.add(it.Key(), value)
		}
		if rows++; err == nil && rows%pacedRows == 0 {
			err = pace()
		}
		if err != nil {
			return 0, errors.Join(err, it.Close())
		}
	}
	return h.sum, it.Close()
}

type hasher struct {
	at, compactRev core.Rev
	// base is the last key of which the newest version up to compactRev has been
	// seen.
	base    []byte
	hasBase bool
	scratch []byte
	sum     uint64
}

func (h *hasher) add(rowKey, value []byte) error {
	key, rev, ok := keys.DecodeVersion(rowKey)
	if !ok || len(value) == 0 {
		return rowError("d", rowKey, errRow)
	}
	if rev > h.at {
		return nil
	}
	if rev <= h.compactRev {
		if h.hasBase && string(h.base) == string(key) {
			return nil
		}
		h.base, h.hasBase = append(h.base[:0], key...), true
		if value[0]&flagTombstone != 0 {
			return nil
		}
	}
	h.scratch = binary.AppendUvarint(h.scratch[:0], uint64(len(rowKey)))
	h.scratch = append(h.scratch, rowKey...)
	h.scratch = append(h.scratch, value...)
	digest := sha256.Sum256(h.scratch)
	h.sum += binary.BigEndian.Uint64(digest[:])
	return nil
}
