// Package lease is the replicated part of leases: which exist, how long they
// live without a keepalive, and which keys are attached to them.
//
// The table of leases is kept in memory beside its rows, for a put must know at
// once whether its lease exists; the keys attached live in rows alone. When a
// lease runs out is not decided here: deadlines live on the leader
// (core/expiry).
package lease

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// Rows is the part of the store that holds leases.
type Rows interface {
	SetRow(key, value []byte)
	DeleteRow(key []byte)
	// ScanRows calls fn for the rows in [lower, upper), in order, until it
	// returns false. The slices are valid during the call only.
	ScanRows(lower, upper []byte, fn func(key, value []byte) bool) error
}

// Table is the leases of a store. It belongs to the goroutine that applies
// commands.
type Table struct {
	rows Rows
	ttl  map[core.LeaseID]time.Duration
}

// Load reads the table from its rows.
func Load(rows Rows) (*Table, error) {
	t := &Table{rows: rows, ttl: map[core.LeaseID]time.Duration{}}
	err := Each(rows, func(id core.LeaseID, ttl time.Duration) { t.ttl[id] = ttl })
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Scanner is the reading half of Rows.
type Scanner interface {
	ScanRows(lower, upper []byte, fn func(key, value []byte) bool) error
}

// Each calls fn for every lease, by id.
func Each(rows Scanner, fn func(core.LeaseID, time.Duration)) error {
	var bad error
	lower, upper := keys.LeaseBounds()
	err := rows.ScanRows(lower, upper, func(key, value []byte) bool {
		id, ok := keys.DecodeLease(key)
		ttl, err := decodeTTL(value)
		if !ok || err != nil {
			bad = fmt.Errorf("lease row %x: %x is no lease", key, value)
			return false
		}
		fn(id, ttl)
		return true
	})
	if err == nil {
		err = bad
	}
	return err
}

// rowVersion is the first byte of a lease row: its format.
const rowVersion = 1

func encodeTTL(ttl time.Duration) []byte {
	return binary.AppendUvarint([]byte{rowVersion}, uint64(ttl.Milliseconds()))
}

func decodeTTL(row []byte) (time.Duration, error) {
	if len(row) < 2 || row[0] != rowVersion {
		return 0, fmt.Errorf("lease row of an unknown format: %x", row)
	}
	ms, n := binary.Uvarint(row[1:])
	if n != len(row)-1 {
		return 0, fmt.Errorf("malformed lease row: %x", row)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// DecodeTTL reads the time to live from a lease's row.
func DecodeTTL(row []byte) (time.Duration, error) { return decodeTTL(row) }

// Exists reports whether there is such a lease.
func (t *Table) Exists(id core.LeaseID) bool {
	_, ok := t.ttl[id]
	return ok
}

// Grant makes a lease. It fails with LeaseExists.
func (t *Table) Grant(id core.LeaseID, ttl time.Duration) error {
	if id == 0 {
		return core.LeaseNotFound
	}
	if t.Exists(id) {
		return core.LeaseExists
	}
	t.ttl[id] = ttl
	t.rows.SetRow(keys.AppendLease(nil, id), encodeTTL(ttl))
	return nil
}

// Remove forgets a lease. Its keys must have been deleted, which detaches them.
func (t *Table) Remove(id core.LeaseID) {
	delete(t.ttl, id)
	t.rows.DeleteRow(keys.AppendLease(nil, id))
}

// Attach notes that key belongs to a lease, Detach that it no longer does.
func (t *Table) Attach(id core.LeaseID, key []byte) {
	t.rows.SetRow(keys.AppendAttachment(nil, id, key), nil)
}

// Detach notes that key no longer belongs to a lease.
func (t *Table) Detach(id core.LeaseID, key []byte) {
	t.rows.DeleteRow(keys.AppendAttachment(nil, id, key))
}

// Keys returns the keys attached to a lease, in key order. The caller owns them.
func (t *Table) Keys(id core.LeaseID) ([][]byte, error) { return Keys(t.rows, id) }

// Keys returns the keys attached to a lease, in key order. The caller owns them.
func Keys(rows Scanner, id core.LeaseID) ([][]byte, error) {
	var out [][]byte
	var bad error
	lower, upper := keys.AttachmentBounds(id)
	err := rows.ScanRows(lower, upper, func(row, _ []byte) bool {
		_, key, ok := keys.DecodeAttachment(row)
		if !ok {
			bad = fmt.Errorf("row %x is no key of a lease", row)
			return false
		}
		out = append(out, append([]byte(nil), key...))
		return true
	})
	if err == nil {
		err = bad
	}
	return out, err
}
