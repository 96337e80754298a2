package auth

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// The lists that every store has (core.ACLOpen, core.ACLReadOnly).
var (
	openACL     = core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: core.SchemeWorld, ID: core.WorldAnyone})
	readOnlyACL = core.PackACL(core.ACLEntry{Perms: core.PermRead, Scheme: core.SchemeWorld, ID: core.WorldAnyone})
)

// ACLRows is where the table of lists is kept.
type ACLRows interface {
	Rows
	Scanner
	// GetRow returns a row, nil if there is none. The slice must not be written to.
	GetRow(key []byte) ([]byte, error)
}

// ACLs is the table of interned lists, as the goroutine that applies commands changes
// it. All of it is in rows, so that what a command did to it is undone with its rows,
// and views read it where they read everything else (ReadACL).
//
// A list is kept while something holds it, and, for the sake of history that is still
// readable, until a compaction passes the revision in which the last hold was given up.
// Those that hold one are the rows of znodes, and the newest version of a key if it was
// written under another list than its znode has now.
type ACLs struct {
	rows ACLRows
	// lists is how many there are, unless changed says that this may be wrong.
	lists      int64
	changed    bool
	key, value []byte // buffers
}

// NewACLs is the table in rows.
func NewACLs(rows ACLRows) *ACLs { return &ACLs{rows: rows, changed: true} }

// Intern returns the number of a list, which gets one if it has none. Who interns one
// must Hold it in the same command, or have the command's rows undone.
func (t *ACLs) Intern(acl core.ACL) (core.ZnodeACL, error) {
	switch acl {
	case openACL:
		return core.ACLOpen, nil
	case readOnlyACL:
		return core.ACLReadOnly, nil
	}
	hashKey := keys.AppendACLHash(nil, sha256.Sum256([]byte(acl)))
	b, err := t.rows.GetRow(hashKey)
	if err != nil {
		return 0, err
	}
	if b != nil {
		return decodeACLID(b)
	}
	id, err := t.draw()
	if err != nil {
		return 0, err
	}
	t.rows.SetRow(hashKey, binary.BigEndian.AppendUint32(nil, uint32(id)))
	t.key = keys.AppendACL(t.key[:0], id)
	t.rows.SetRow(t.key, []byte(acl))
	return id, nil
}

// draw finds a number that is free.
func (t *ACLs) draw() (core.ZnodeACL, error) {
	s, err := t.summary()
	if err != nil {
		return 0, err
	}
	id := s.next
	for { // a number comes again after 2³² others, and may be in use
		t.key = keys.AppendACL(t.key[:0], id)
		b, err := t.rows.GetRow(t.key)
		if err != nil {
			return 0, err
		}
		if b == nil {
			break
		}
		id = nextID(id)
	}
	s.next = nextID(id)
	t.setSummary(s)
	if s.behind != 0 {
		err = t.free(s.behind, freedByOne)
	}
	return id, err
}

func nextID(id core.ZnodeACL) core.ZnodeACL { return max(id+1, core.FirstACL) }

// summary is what is known of the whole table: the number that the next list gets, if
// it is free, how many there are that are held or kept, and, if it is not zero, that
// lists to which nothing refers since a revision before behind are still to be given up.
type summary struct {
	next   core.ZnodeACL
	lists  uint64
	behind core.Rev
}

func (t *ACLs) summary() (summary, error) {
	t.key = keys.AppendACLSummary(t.key[:0])
	b, err := t.rows.GetRow(t.key)
	if err != nil || b == nil {
		return summary{next: core.FirstACL}, err
	}
	d := decoder{rest: b}
	s := summary{next: core.ZnodeACL(d.uvarint()), lists: d.uvarint()}
	if len(d.rest) > 0 {
		s.behind = core.Rev(d.uvarint())
	}
	if d.bad || len(d.rest) != 0 {
		return summary{}, fmt.Errorf("malformed row of the ACLs %x", b)
	}
	return s, nil
}

func (t *ACLs) setSummary(s summary) {
	t.key = keys.AppendACLSummary(t.key[:0])
	t.value = binary.AppendUvarint(t.value[:0], uint64(s.next))
	t.value = binary.AppendUvarint(t.value, s.lists)
	if s.behind != 0 {
		t.value = binary.AppendUvarint(t.value, uint64(s.behind))
	}
	t.rows.SetRow(t.key, t.value)
}

// addLists counts one list more, or less.
func (t *ACLs) addLists(n int) error {
	s, err := t.summary()
	if err != nil {
		return err
	}
	s.lists += uint64(n)
	t.changed = true
	t.setSummary(s)
	return nil
}

// Lists is how many lists besides the open one znodes have, or had in history that is
// kept: where there are none, nothing is forbidden to anyone, or ever was. It is not for
// the midst of a command, whose rows may be undone.
func (t *ACLs) Lists() (int64, error) {
	if t.changed {
		s, err := t.summary()
		if err != nil {
			return 0, err
		}
		t.lists, t.changed = int64(s.lists), false
	}
	return t.lists, nil
}

func decodeACLID(b []byte) (core.ZnodeACL, error) {
	if len(b) != 4 {
		return 0, fmt.Errorf("malformed row of the number of an ACL %x", b)
	}
	return core.ZnodeACL(binary.BigEndian.Uint32(b)), nil
}

// count is how much refers to a list, and if that is nothing, since which revision;
// zero if nothing ever did.
type count struct {
	holds uint64
	since core.Rev
}

// count reads the row of a list's holds. Without one the list was never held.
func (t *ACLs) count(id core.ZnodeACL) (count, error) {
	t.key = keys.AppendACLCount(t.key[:0], id)
	b, err := t.rows.GetRow(t.key)
	if err != nil || b == nil {
		return count{}, err
	}
	d := decoder{rest: b}
	c := count{holds: d.uvarint(), since: core.Rev(d.uvarint())}
	if d.bad || len(d.rest) != 0 {
		return count{}, fmt.Errorf("malformed row of the holds on ACL %d: %x", id, b)
	}
	return c, nil
}

func (t *ACLs) setCount(id core.ZnodeACL, c count) {
	t.key = keys.AppendACLCount(t.key[:0], id)
	t.value = binary.AppendUvarint(t.value[:0], c.holds)
	t.value = binary.AppendUvarint(t.value, uint64(c.since))
	t.rows.SetRow(t.key, t.value)
}

// Hold notes that something more refers to a list.
func (t *ACLs) Hold(id core.ZnodeACL) error {
	if id == core.ACLOpen {
		return nil
	}
	c, err := t.count(id)
	if err != nil {
		return err
	}
	switch {
	case c.holds > 0:
	case c.since != 0:
		t.key = keys.AppendACLUnused(t.key[:0], c.since, id)
		t.rows.DeleteRow(t.key)
	default:
		if err := t.addLists(1); err != nil {
			return err
		}
	}
	t.setCount(id, count{holds: c.holds + 1})
	return nil
}

// Release notes that something that held a list does so no more, since revision rev.
func (t *ACLs) Release(id core.ZnodeACL, rev core.Rev) error {
	if id == core.ACLOpen {
		return nil
	}
	c, err := t.count(id)
	if err != nil {
		return err
	}
	if c.holds == 0 {
		return fmt.Errorf("nothing holds ACL %d", id)
	}
	c.holds--
	if c.holds == 0 {
		c.since = rev
		t.key = keys.AppendACLUnused(t.key[:0], rev, id)
		t.rows.SetRow(t.key, nil)
	}
	t.setCount(id, c)
	return nil
}

// Get returns a list. It fails if there is none of that number.
func (t *ACLs) Get(id core.ZnodeACL) (core.ACL, error) { return ReadACL(rowReader{t.rows}, id) }

type rowReader struct{ rows ACLRows }

func (r rowReader) Row(key []byte) ([]byte, error) { return r.rows.GetRow(key) }

// Allows is the function Allows of a list of the table. One that is not there allows
// nothing but to super.
func (t *ACLs) Allows(id core.ZnodeACL, ids core.Identities, need core.Perms) (bool, error) {
	return AllowsIn(rowReader{t.rows}, id, ids, need)
}

// The most lists that a compaction gives up, and that a new list does while there are
// others: a million at once would hold up all members for half a minute, and with every
// new one that takes two with it they are never many for long.
const (
	freedByCompaction = 4096
	freedByOne        = 2
)

// Compact gives up lists to which nothing refers since a revision before rev, up to
// which history is compacted: all, or some now and the others later. A tombstone of rev
// itself is still shown.
func (t *ACLs) Compact(rev core.Rev) error { return t.free(rev, freedByCompaction) }

// free gives up to so many lists up, and notes whether there are others.
func (t *ACLs) free(rev core.Rev, most int) error {
	gone, behind, err := t.unused(rev, most)
	if err != nil {
		return err
	}
	for _, key := range gone {
		_, id, _ := keys.DecodeACLUnused(key)
		t.rows.DeleteRow(key)
		if err := t.remove(id); err != nil {
			return err
		}
	}
	s, err := t.summary()
	if err != nil || len(gone) == 0 && behind == s.behind {
		return err
	}
	s.lists -= uint64(len(gone))
	s.behind = behind
	t.changed = true
	t.setSummary(s)
	return nil
}

// unused returns the keys of up to so many rows of lists to which nothing refers since a
// revision before rev; behind is rev if there are others.
func (t *ACLs) unused(rev core.Rev, most int) (gone [][]byte, behind core.Rev, err error) {
	var bad error
	lower, upper := keys.ACLUnusedBounds(rev)
	err = t.rows.ScanRows(lower, upper, func(key, _ []byte) bool {
		if _, _, ok := keys.DecodeACLUnused(key); !ok {
			bad = fmt.Errorf("row %x is none of an ACL", key)
			return false
		}
		if len(gone) == most {
			behind = rev
			return false
		}
		gone = append(gone, append([]byte(nil), key...))
		return true
	})
	if err == nil {
		err = bad
	}
	return gone, behind, err
}

// remove takes the rows of a list away.
func (t *ACLs) remove(id core.ZnodeACL) error {
	t.rows.DeleteRow(keys.AppendACLCount(nil, id))
	acl, ok, err := readACL(rowReader{t.rows}, id)
	if err != nil {
		return err
	}
	if ok && id >= core.FirstACL { // a list of a damaged backup may not be there
		t.rows.DeleteRow(keys.AppendACLHash(nil, sha256.Sum256([]byte(acl))))
		t.rows.DeleteRow(keys.AppendACL(nil, id))
	}
	return nil
}

// Restore gives a list, of a backup, the number that it had there. Holds may have been
// counted before. It fails if the row is none of a list.
func (t *ACLs) Restore(id core.ZnodeACL, acl core.ACL) error {
	if entries, err := acl.Entries(); err != nil || len(entries) == 0 || id < core.FirstACL {
		return fmt.Errorf("ACL %d is malformed: %x", id, acl)
	}
	s, err := t.summary()
	if err != nil {
		return err
	}
	s.next = max(s.next, nextID(id))
	t.setSummary(s)
	t.rows.SetRow(keys.AppendACL(nil, id), []byte(acl))
	t.rows.SetRow(keys.AppendACLHash(nil, sha256.Sum256([]byte(acl))), binary.BigEndian.AppendUint32(nil, uint32(id)))
	return nil
}

// CheckACLRow reports whether a row that comes from elsewhere, such as a backup, is one of
// the table, lists aside.
func CheckACLRow(key, value []byte) bool {
	rows := oneRow{key, value}
	t := NewACLs(rows)
	switch part, id := keys.DecodeACLPart(key); part {
	case keys.ACLCount:
		_, err := t.count(id)
		return err == nil
	case keys.ACLHash:
		_, err := decodeACLID(value)
		return err == nil
	case keys.ACLSummary:
		_, err := t.summary()
		return err == nil
	case keys.ACLUnused:
		return len(value) == 0
	case keys.ACLList: // is read on its own
	}
	return false
}

// oneRow is an ACLRows that holds one row.
type oneRow struct{ key, value []byte }

func (r oneRow) GetRow(key []byte) ([]byte, error) {
	if string(key) != string(r.key) {
		return nil, nil
	}
	return r.value, nil
}

func (oneRow) SetRow(_, _ []byte)                                         {}
func (oneRow) DeleteRow([]byte)                                           {}
func (oneRow) ScanRows(_, _ []byte, _ func(key, value []byte) bool) error { return nil }

// Sweep gives up the lists that were restored and that nothing holds, nor did.
func (t *ACLs) Sweep() error {
	var ids []core.ZnodeACL
	lower, upper := keys.ACLBounds()
	err := t.rows.ScanRows(lower, upper, func(key, _ []byte) bool {
		if id, ok := keys.DecodeACL(key); ok {
			ids = append(ids, id)
		}
		return true
	})
	for _, id := range ids {
		if err != nil {
			return err
		}
		var b []byte
		if b, err = t.rows.GetRow(keys.AppendACLCount(nil, id)); err == nil && b == nil {
			err = t.remove(id)
		}
	}
	return err
}

// ACLReader reads the rows of one moment.
type ACLReader interface {
	// Row returns a row, nil if there is none.
	Row(key []byte) ([]byte, error)
}

// ReadACL returns a list. It fails if there is none of that number.
func ReadACL(r ACLReader, id core.ZnodeACL) (core.ACL, error) {
	acl, ok, err := readACL(r, id)
	if err == nil && !ok {
		err = core.Errorf(core.Internal, "there is no ACL %d", id)
	}
	return acl, err
}

func readACL(r ACLReader, id core.ZnodeACL) (acl core.ACL, ok bool, err error) {
	if id == core.ACLOpen {
		return openACL, true, nil
	}
	if id == core.ACLReadOnly {
		return readOnlyACL, true, nil
	}
	b, err := r.Row(keys.AppendACL(nil, id))
	return core.ACL(b), b != nil, err
}

// AllowsIn is ACLs.Allows as of one moment.
func AllowsIn(r ACLReader, id core.ZnodeACL, ids core.Identities, need core.Perms) (bool, error) {
	switch {
	case need == 0 || id == core.ACLOpen && need&core.PermAll != 0 || ids.Super():
		return true, nil
	case id == core.ACLReadOnly:
		return need&core.PermRead != 0, nil
	}
	acl, ok, err := readACL(r, id)
	if err != nil || !ok {
		return false, err
	}
	if ok, err = Allows(acl, ids, need); err != nil {
		return false, fmt.Errorf("ACL %d: %w", id, err)
	}
	return ok, nil
}
