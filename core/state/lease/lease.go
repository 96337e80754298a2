// Package lease is the replicated part of leases: which exist, how long they
// live without a keepalive, which of them are sessions and who owns those, and
// which keys are attached to them.
//
// The table of leases is kept in memory beside its rows, for a put must know at
// once whether its lease exists, and a session's write whether it still owns the
// session; the keys attached live in rows alone. When a lease runs out is not
// decided here: deadlines live on the leader (core/expiry).
package lease

import (
	"crypto/subtle"
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
	// GetRow returns a row, nil if there is none.
	GetRow(key []byte) ([]byte, error)
	SetRow(key, value []byte)
	DeleteRow(key []byte)
}

// Table is the leases of a store. It belongs to the goroutine that applies
// commands.
type Table struct {
	rows   Rows
	leases map[core.LeaseID]entry
	// sessions counts those of leases that are sessions.
	sessions int64
}

// entry is what is asked of a lease at every turn.
type entry struct {
	// granted is the index of the entry that granted it.
	granted uint64
	// epoch is the session's, zero if it is none.
	epoch uint64
}

// Load reads the table from its rows.
func Load(rows Rows) (*Table, error) {
	t := &Table{rows: rows, leases: map[core.LeaseID]entry{}}
	err := Each(rows, t.note)
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
			bad = fmt.Errorf("lease row %x is no lease", key)
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

// Exists reports whether there is such a lease.
func (t *Table) Exists(id core.LeaseID) bool {
	_, ok := t.leases[id]
	return ok
}

// ExistedAt reports whether there is such a lease that was granted at an index or
// before.
func (t *Table) ExistedAt(id core.LeaseID, index uint64) bool {
	e, ok := t.leases[id]
	return ok && e.granted <= index
}

// IsSession reports whether there is such a lease and it is a session.
func (t *Table) IsSession(id core.LeaseID) bool { return t.Epoch(id) != 0 }

// CheckSession fails with SessionExpired if ref names no session, and with
// SessionMoved if another connection owns it.
func (t *Table) CheckSession(ref core.SessionRef) error {
	switch t.Epoch(ref.ID) {
	case 0:
		return core.SessionExpired
	case ref.Epoch:
		return nil
	default:
		return core.SessionMoved
	}
}

// Grant makes a lease, or a session. It fails with LeaseExists.
func (t *Table) Grant(id core.LeaseID, l Lease) error {
	if id == 0 {
		return core.LeaseNotFound
	}
	if t.Exists(id) {
		return core.LeaseExists
	}
	t.set(id, l)
	return nil
}

// Epoch is the epoch of a session; zero if there is no such session.
func (t *Table) Epoch(id core.LeaseID) uint64 { return t.leases[id].epoch }

// RowBytes is about what the rows of leases take, those of their keys aside
// (etcd T-72: 64 a lease).
func (t *Table) RowBytes() int64 { return 64 * int64(len(t.leases)) }

// Sessions is the number of sessions.
func (t *Table) Sessions() int64 { return t.sessions }

// AttachSession begins a new epoch of a session, with the timeout and the index of
// l, and returns the epoch. It fails with SessionExpired if there is no such
// session or l's secret is not its own.
func (t *Table) AttachSession(id core.LeaseID, l Lease) (uint64, error) {
	if !t.IsSession(id) {
		return 0, core.SessionExpired
	}
	b, err := t.rows.GetRow(keys.AppendLease(nil, id))
	if err != nil {
		return 0, err
	}
	old, err := DecodeRow(b)
	if err != nil {
		return 0, err
	}
	if subtle.ConstantTimeCompare(old.Secret[:], l.Secret[:]) == 0 {
		return 0, core.SessionExpired
	}
	l.Epoch = old.Epoch + 1
	t.set(id, l)
	return l.Epoch, nil
}

// MoveSession begins a new epoch of a session, which exists, with the timeout and the
// index of l, and with the secret that it has. It returns the epoch.
func (t *Table) MoveSession(id core.LeaseID, l Lease) (uint64, error) {
	b, err := t.rows.GetRow(keys.AppendLease(nil, id))
	if err != nil {
		return 0, err
	}
	old, err := DecodeRow(b)
	if err != nil {
		return 0, err
	}
	l.Epoch, l.Secret = old.Epoch+1, old.Secret
	t.set(id, l)
	return l.Epoch, nil
}

// Checkpoint writes down what a lease has left of its time, and returns what it wrote:
// zero for all of it. A session's is not written down, nor that of a lease that is
// gone: known is false.
func (t *Table) Checkpoint(id core.LeaseID, left time.Duration) (written time.Duration, known bool, err error) {
	if !t.Exists(id) || t.IsSession(id) {
		return 0, false, nil
	}
	b, err := t.rows.GetRow(keys.AppendLease(nil, id))
	if err != nil {
		return 0, false, err
	}
	l, err := DecodeRow(b)
	if err != nil {
		return 0, false, err
	}
	if l.Remaining = left; left < 0 || left >= l.TTL {
		l.Remaining = 0
	}
	t.set(id, l)
	return l.Remaining, true, nil
}

func (t *Table) set(id core.LeaseID, l Lease) {
	t.note(id, l)
	t.rows.SetRow(keys.AppendLease(nil, id), l.row())
}

func (t *Table) note(id core.LeaseID, l Lease) {
	t.forget(id)
	t.leases[id] = l.entry()
	if l.Session() {
		t.sessions++
	}
}

func (t *Table) forget(id core.LeaseID) {
	if t.IsSession(id) {
		t.sessions--
	}
	delete(t.leases, id)
}

// Remove forgets a lease. Its keys must have been deleted, which detaches them.
func (t *Table) Remove(id core.LeaseID) {
	t.forget(id)
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
