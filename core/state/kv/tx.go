package kv

import (
	"slices"

	"github.com/triglot/triglot/core"
)

// Tx is one command's write context: everything done through it shares one
// revision. It is for one goroutine and one command.
type Tx struct {
	w      Writer
	leases Leases
	// znodes is nil if no key is one.
	znodes Znodes
	bounds Bounds
	// sees is what compares and ranges are made on: w, or what of it may be seen.
	sees Reader
	// reads says whether the results of ranges are wanted: only the proposing
	// member builds them.
	reads   bool
	changes []core.Change
	// places is the place in changes of the keys of the first len(places) of them.
	// It is nil until there are many and one is looked for.
	places map[string]int
	// deleted says that a key was deleted, and so may come back.
	deleted bool
	// readBytes is what ranges have read.
	readBytes int
	// hollow says that the earlier versions of some changes lack their values.
	hollow bool
}

// Begin starts a command on the state described by b. z is nil if no key is a
// znode. The changes are kept in room's memory while they fit; room is empty, and the
// caller must not use it otherwise.
func Begin(w Writer, l Leases, z Znodes, b Bounds, room []core.Change, reads bool) Tx {
	return Tx{w: w, sees: w, leases: l, znodes: z, bounds: b, changes: room, reads: reads}
}

// See has compares and ranges see no more than r shows, which reads what the command
// writes.
func (tx *Tx) See(r Reader) { tx.sees = r }

// Expect makes room for so many changes.
func (tx *Tx) Expect(changes int) { tx.changes = slices.Grow(tx.changes, changes) }

// Rev is the store's revision as of what the command has done so far.
func (tx *Tx) Rev() core.Rev {
	if len(tx.changes) == 0 {
		return tx.bounds.Rev
	}
	return tx.bounds.Rev + 1
}

// Changes is what the command has changed, in order. The caller owns it once the
// command is done.
func (tx *Tx) Changes() []core.Change { return tx.changes }

// PrevValues reports whether the changes have the values of the earlier versions: a
// delete of very much does not keep them.
func (tx *Tx) PrevValues() bool { return !tx.hollow }

// Put runs a put. It fails with LeaseNotFound, KeyNotFound or EphemeralProtected
// and has then done nothing.
func (tx *Tx) Put(p *core.Put) (core.Outcome, error) {
	prev, err := checkPut(tx.w, tx.leases, p)
	if err != nil {
		return nil, err
	}
	if prev == nil {
		if prev, err = tx.w.Get(p.Key, 0); err != nil {
			return nil, err
		}
	}
	next := tx.next(p, prev)
	if tx.znodes != nil {
		if err := tx.znodes.Put(next, prev, p); err != nil {
			return nil, err
		}
	}
	tx.write(next, prev)
	if !p.PrevKV {
		prev = nil
	}
	return core.PutOutcome{Prev: prev}, nil
}

// Write writes a version of a key, and returns it, without telling Znodes; it
// checks nothing. prev is the present version, or nil; now is the version's Time, acl
// its ACL.
func (tx *Tx) Write(p *core.Put, prev *core.KV, now int64, acl core.ZnodeACL) *core.KV {
	next := tx.next(p, prev)
	next.Time, next.ACL = now, acl
	tx.write(next, prev)
	return next
}

// next is the version that a put makes of prev, which may be nil.
func (tx *Tx) next(p *core.Put, prev *core.KV) *core.KV {
	rev := tx.bounds.Rev + 1
	value := p.Value
	if prev != nil && p.IgnoreValue {
		value = prev.Value
	}
	// A copy: what a command holds aliases a whole raft entry, which a cached row must not pin.
	kv := core.NewKV(p.Key, value)
	kv.CreateRev, kv.ModRev, kv.Version, kv.Lease = rev, rev, 1, p.Lease
	if prev != nil {
		kv.CreateRev, kv.Version = prev.CreateRev, prev.Version+1
		if p.IgnoreLease {
			kv.Lease = prev.Lease
		}
	}
	return kv
}

func (tx *Tx) write(kv, prev *core.KV) {
	var oldLease core.LeaseID
	if prev != nil {
		oldLease = prev.Lease
	}
	sub, before := tx.place(kv.Key, prev)
	tx.w.Put(kv, sub, before)
	tx.record(sub, kv, before)
	if oldLease != kv.Lease {
		if oldLease != 0 {
			tx.leases.Detach(oldLease, kv.Key)
		}
		if kv.Lease != 0 {
			tx.leases.Attach(kv.Lease, kv.Key)
		}
	}
}

// checkPut finds what would make a put fail. It returns the present version if
// it had to look for it and found it.
func checkPut(r Reader, l Leases, p *core.Put) (*core.KV, error) {
	if p.Lease != 0 && !l.Exists(p.Lease) {
		return nil, core.LeaseNotFound
	}
	if !p.IgnoreValue && !p.IgnoreLease {
		return nil, nil
	}
	prev, err := r.Get(p.Key, 0)
	if err != nil {
		return nil, err
	}
	if prev == nil {
		return nil, core.KeyNotFound
	}
	return prev, nil
}

// DeleteRange runs a delete. It fails with RequestTooLarge, and has then done nothing,
// if it would take more than is left of MaxDeleteBytes.
func (tx *Tx) DeleteRange(d *core.DeleteRange) (core.Outcome, error) {
	v := tx.victims(d.PrevKV)
	if err := v.find(d.Interval); err != nil {
		return nil, err
	}
	if err := tx.deleteAll(v); err != nil {
		return nil, err
	}
	out := core.DeleteOutcome{Deleted: int64(len(v.kvs))}
	if d.PrevKV {
		out.Prev = v.kvs
	}
	return out, nil
}

// DeleteKeys deletes those of the given keys that exist. No key may occur twice. It
// has no limit: what a lease has to delete, it must.
func (tx *Tx) DeleteKeys(keys [][]byte) error {
	v := tx.victims(false)
	for _, key := range keys {
		kv, err := tx.w.Get(key, 0)
		if err != nil {
			return err
		}
		if kv != nil {
			v.add(kv)
		}
	}
	return tx.deleteAll(v)
}

func (tx *Tx) deleteAll(v *victims) error {
	if v.hollow {
		tx.hollow = true
	} else if tx.bounds.Keep != nil {
		*tx.bounds.Keep -= v.bytes
	}
	if tx.bounds.Room != nil {
		*tx.bounds.Room -= v.cost
	}
	for _, kv := range v.kvs {
		acl := core.ACLOpen
		if tx.znodes != nil {
			var err error
			if acl, err = tx.znodes.ACL(kv.Key); err != nil {
				return err
			}
		}
		tx.Remove(kv, acl)
	}
	if tx.znodes == nil || len(v.kvs) == 0 {
		return nil
	}
	return tx.znodes.Deleted(v.kvs)
}

// Remove deletes a key, whose present version is prev, and whose ACL is acl, without
// telling Znodes.
func (tx *Tx) Remove(prev *core.KV, acl core.ZnodeACL) {
	sub, before := tx.place(prev.Key, prev)
	tomb := tx.w.Delete(prev.Key, tx.bounds.Rev+1, sub, before, acl)
	if prev.Lease != 0 {
		tx.leases.Detach(prev.Lease, prev.Key)
	}
	tx.record(sub, tomb, before)
	tx.deleted = true
}

// place returns where in the revision a change of key belongs, and the key's
// version before the revision; present is its version now, or nil. A key has one
// place: etcd lets a transaction put a key that a delete "from key on" of the
// same transaction covers, and a revision shows only the last state of a key.
func (tx *Tx) place(key []byte, present *core.KV) (sub uint32, before *core.KV) {
	// Only a key written since the command began, or one that may have been deleted
	// since, can have a place already: a delete of many keys must not look for each.
	if (present == nil && tx.deleted) || (present != nil && present.ModRev > tx.bounds.Rev) {
		if i := tx.changeOf(key); i >= 0 {
			return uint32(i), tx.changes[i].Prev
		}
	}
	return uint32(len(tx.changes)), present
}

// fewChanges is how many changes are faster to look through than to index.
const fewChanges = 32

// changeOf is the place of the change of key; -1 if there is none. Its cost does
// not grow with the command: ZooKeeper's multi may change ten thousands of keys,
// each of them twice.
func (tx *Tx) changeOf(key []byte) int {
	if len(tx.changes) <= fewChanges {
		for i := range tx.changes {
			if string(tx.changes[i].KV.Key) == string(key) {
				return i
			}
		}
		return -1
	}
	if tx.places == nil {
		tx.places = make(map[string]int, 2*len(tx.changes))
	}
	for i := len(tx.places); i < len(tx.changes); i++ { // no key occurs twice
		tx.places[string(tx.changes[i].KV.Key)] = i
	}
	if i, ok := tx.places[string(key)]; ok {
		return i
	}
	return -1
}

// record notes a change in its place.
func (tx *Tx) record(sub uint32, kv, before *core.KV) {
	change := core.Change{KV: kv, Prev: before}
	if int(sub) < len(tx.changes) {
		tx.changes[sub] = change
		return
	}
	tx.changes = append(tx.changes, change)
}
