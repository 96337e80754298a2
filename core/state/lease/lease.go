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

// Scanner reads rows.
type Scanner interface {
	// ScanRows calls fn for the rows in [lower, upper), in order, until it
	// returns false. The slices are valid during the call only.
	ScanRows(lower, upper []byte, fn func(key, value []byte) bool) error
}

// Rows is the part of the store that holds leases.
type Rows interface {
	Scanner
	SetRow(key, value []byte)
	DeleteRow(key []byte)
}

// Table is the leases of a store. It belongs to the goroutine that applies
// commands.
type Table struct {
	rows Rows
	// granted is the index of the entry that granted each lease.
	granted map[core.LeaseID]uint64
}

// Load reads the table from its rows.
func Load(rows Rows) (*Table, error) {
	t := &Table{rows: rows, granted: map[core.LeaseID]uint64{}}
	err := Each(rows, func(id core.LeaseID, l Lease) { t.granted[id] = l.Granted })
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Each calls fn for every lease, by id.
func Each(rows Scanner, fn func(core.LeaseID, Lease)) error {
	var bad error
	lower, upper := keys.LeaseBounds()
	err := rows.ScanRows(lower, upper, func(key, value []byte) bool {
		id, ok := keys.DecodeLease(key)
		l, err := DecodeRow(value)
		if !ok || err != nil {
			bad = fmt.Errorf("lease row %x: %x is no lease", key, value)
			return false
		}
		fn(id, l)
		return true
	})
	if err == nil {
		err = bad
	}
	return err
}

// Lease is what the row of a lease holds.
type Lease struct {
	// TTL is the time it lives without a keepalive.
	TTL time.Duration
	// Granted is the index of the entry that granted it.
	Granted uint64
}

// rowVersion is the first byte of a lease row: its format.
const rowVersion = 1

func (l Lease) row() []byte {
	b := binary.AppendUvarint([]byte{rowVersion}, uint64(l.TTL.Milliseconds()))
	return binary.AppendUvarint(b, l.Granted)
}

// DecodeRow reads the row of a lease.
func DecodeRow(row []byte) (Lease, error) {
	if len(row) == 0 || row[0] != rowVersion {
		return Lease{}, fmt.Errorf("lease row of an unknown format: %x", row)
	}
	ms, n := binary.Uvarint(row[1:])
	if n <= 0 {
		return Lease{}, fmt.Errorf("malformed lease row: %x", row)
	}
	granted, m := binary.Uvarint(row[1+n:])
	if m <= 0 || 1+n+m != len(row) {
		return Lease{}, fmt.Errorf("malformed lease row: %x", row)
	}
	return Lease{TTL: time.Duration(ms) * time.Millisecond, Granted: granted}, nil
}

// Exists reports whether there is such a lease.
func (t *Table) Exists(id core.LeaseID) bool {
	_, ok := t.granted[id]
	return ok
}

// ExistedAt reports whether there is such a lease that was granted at an index or
// before.
func (t *Table) ExistedAt(id core.LeaseID, index uint64) bool {
	granted, ok := t.granted[id]
	return ok && granted <= index
}

// Grant makes a lease. It fails with LeaseExists.
func (t *Table) Grant(id core.LeaseID, l Lease) error {
	if id == 0 {
		return core.LeaseNotFound
	}
	if t.Exists(id) {
		return core.LeaseExists
	}
	t.granted[id] = l.Granted
	t.rows.SetRow(keys.AppendLease(nil, id), l.row())
	return nil
}

// Remove forgets a lease. Its keys must have been deleted, which detaches them.
func (t *Table) Remove(id core.LeaseID) {
	delete(t.granted, id)
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
