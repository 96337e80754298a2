package znode

import (
	"encoding/binary"
	"fmt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// counters are numbers over all znodes.
type counters struct {
	core.ZnodeCounts
	// rowBytes is the size of their rows, restricted the number of those whose ACL is
	// not open, ZooKeeper's configuration aside, quotas that of the znodes with the
	// limits of a quota.
	rowBytes, restricted, quotas int64
}

// The lengths of the row of the counters: of early stores, which do not say what came
// later, and of this version.
const (
	countsWithoutRows  = 3 * 8
	countsWithoutIndex = 4 * 8
	countsLen          = 6 * 8
)

// unknown is a number that an early store does not say.
const unknown = -1

func appendCounts(dst []byte, c counters) []byte {
	for _, v := range [...]int64{c.Znodes, c.Ephemerals, c.Bytes, c.rowBytes, c.restricted, c.quotas} {
		dst = binary.BigEndian.AppendUint64(dst, uint64(v))
	}
	return dst
}

func decodeCounts(b []byte) (counters, error) {
	switch len(b) {
	case countsWithoutRows, countsWithoutIndex, countsLen:
	default:
		return counters{}, fmt.Errorf("malformed row of the numbers of znodes %x", b)
	}
	at := func(i int) int64 {
		if 8*i >= len(b) {
			return unknown
		}
		return int64(binary.BigEndian.Uint64(b[8*i:]))
	}
	return counters{
		ZnodeCounts: core.ZnodeCounts{Znodes: at(0), Ephemerals: at(1), Bytes: at(2)},
		rowBytes:    at(3), restricted: at(4), quotas: at(5),
	}, nil
}

// complete finds out what an early store does not say, and makes the index that it
// does not have. The next Save, and the next commit of its caller, write it.
func (t *Tree) complete() error {
	if t.saved.quotas != unknown {
		return nil
	}
	t.counts.rowBytes, t.counts.restricted, t.counts.quotas = 0, 0, 0
	type indexed struct {
		path string
		node
	}
	var some []indexed // of which an early store has few, if any
	var bad error
	lower, upper := keys.ZnodeBounds()
	err := t.store.ScanRows(lower, upper, func(key, value []byte) bool {
		path, ok := keys.DecodeZnode(key)
		if !ok {
			return true
		}
		t.counts.rowBytes += rowSize(string(path))
		if isLimits(string(path)) {
			t.counts.quotas++
		}
		n, err := decodeNode(value)
		if bad = err; n.isIndexed(string(path)) {
			some = append(some, indexed{string(path), n})
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	for i := range some {
		t.reindex(some[i].path, nil, &some[i].node)
	}
	return err
}

// rowSize is what the row of a znode is reckoned to take: its key, and about what
// there is in it and what the engine needs. A znode need not have a key of its own, and
// a long path has as many rows as names.
func rowSize(path string) int64 { return int64(len(path)) + 64 }

// Counts are the numbers of znodes; that of sessions is not among them.
func (t *Tree) Counts() core.ZnodeCounts { return t.counts.ZnodeCounts }

// Restricted is the number of znodes, and of opaque keys, whose ACL is not open;
// ZooKeeper's configuration aside.
func (t *Tree) Restricted() int64 { return t.counts.restricted }

// RowBytes is about what the rows of znodes take: the keys and the data of znodes are
// counted where keys are.
func (t *Tree) RowBytes() int64 { return t.counts.rowBytes }

// Save writes the counters if they have changed since the last call.
func (t *Tree) Save() {
	if t.counts != t.saved {
		t.value = appendCounts(t.value[:0], t.counts)
		t.store.SetRow(keys.AppendMeta(t.row[:0], keys.MetaZnodes), t.value)
		t.saved = t.counts
	}
}
