package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/auth"
	"github.com/triglot/triglot/core/state/lease"
	"github.com/triglot/triglot/core/state/znode"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
	"github.com/triglot/triglot/storage/mvcc"
)

// Importer fills a state that Bootstrap has made with what another store held. It
// keeps nothing of the keys in memory: it looks up in the engine what it has
// written. First come the leases, then the versions in the order of their revisions,
// then the rest. It is for one goroutine.
type Importer struct {
	db *storage.DB
	m  *Machine
	// rebuild says that the rows of znodes are to be made from the keys, made counts
	// the versions that it was done for.
	rebuild bool
	made    int64

	// rev is the revision under way; changes are its changes by key, next is the place
	// of the next one. victims are the keys that it deleted last.
	rev     core.Rev
	changes map[string]imported
	next    uint32
	victims []*core.KV
}

// imported is a change of the revision under way.
type imported struct {
	sub uint32
	// before is the version before the revision, present the one since, nil if there
	// is none.
	before, present *core.KV
}

const (
	// importBatch is about how much is written at a time.
	importBatch = 4 << 20
	// keptChanges is how large a map of changes may be to serve for the next revision.
	keptChanges = 1 << 10
)

// Import begins to fill db. With rebuild, the rows of znodes are made from the keys,
// as they would be if an etcd client had written them; otherwise they come by Row.
func Import(db *storage.DB, caches mvcc.Caches, rebuild bool) (*Importer, error) {
	m, err := Open(db, caches)
	if err != nil {
		return nil, err
	}
	return &Importer{db: db, m: m, rebuild: rebuild && m.znodes != nil, changes: map[string]imported{}}, nil
}

// Lease adds a lease, or a session, or replaces one. Sessions are best made of leases
// once all versions are there: what the keys below the mount are is then not for
// their rules to refuse any more.
func (i *Importer) Lease(id core.LeaseID, l lease.Lease) error {
	l.Granted = FirstIndex
	i.m.leases.Remove(id)
	return i.m.leases.Grant(id, l)
}

// Row adds a row of the n table, or the number of znodes. It fails if it is none.
func (i *Importer) Row(key, value []byte) error {
	if !znode.CheckRow(key, value) {
		return fmt.Errorf("%q is not a row of a znode", key)
	}
	i.m.w.SetRow(key, value)
	znode.IndexRows(key, value, i.m.w.SetRow)
	return i.flushLarge()
}

// Recall adds what a row of the n table said as of an earlier revision, where the rows
// are made from the keys. It is for when all versions are there.
func (i *Importer) Recall(key, value []byte, asOf core.Rev) error {
	if !znode.CheckRow(key, value) {
		return fmt.Errorf("%q is not a row of a znode", key)
	}
	if !i.rebuild || !keys.IsZnode(key) {
		return nil
	}
	if err := i.endRevision(); err != nil {
		return err
	}
	if err := i.m.znodes.Recall(key, value, asOf); err != nil {
		return err
	}
	return i.flushLarge()
}

// Change adds a version, or a tombstone: a KV without a Version. A revision may
// change a key more than once; what counts is the last. It takes kv over.
func (i *Importer) Change(kv *core.KV) error {
	if kv.ModRev != i.rev {
		if err := i.begin(kv.ModRev); err != nil {
			return err
		}
	}
	c, again := i.changes[string(kv.Key)]
	if !again {
		present, err := i.present(kv)
		if err != nil {
			return err
		}
		c = imported{sub: i.next, before: present, present: present}
		i.next++
	}
	acl := kv.ACL // whose rules would set that of the znode as it is now
	if err := i.tellZnodes(kv, c.present); err != nil {
		return err
	}
	if err := i.relist(kv, c.present, acl); err != nil {
		return err
	}
	i.m.w.Put(kv, c.sub, c.before)
	i.count(kv, c.present)
	i.attach(kv, c.present)
	if c.present = kv; kv.Deleted() {
		c.present = nil
	}
	i.changes[string(kv.Key)] = c
	return nil
}

// relist gives a version the list that it was written under.
func (i *Importer) relist(kv, present *core.KV, acl core.ZnodeACL) error {
	if i.m.znodes == nil || acl == core.ACLOpen && (present == nil || present.ACL == core.ACLOpen) {
		return nil
	}
	i.m.znodes.Begin(kv.ModRev, kv.Time)
	return i.m.znodes.Relist(kv, present, acl, i.rebuild)
}

// ACLRow adds a row of the A table: carried says that all of them are as they were, and
// not only the lists. It fails if it is none.
func (i *Importer) ACLRow(key, value []byte, carried bool) error {
	id, isList := keys.DecodeACL(key)
	switch {
	case isList:
		if err := i.m.acls.Restore(id, core.ACL(value)); err != nil {
			return err
		}
	case carried && auth.CheckACLRow(key, value):
		i.m.w.SetRow(key, value)
	case carried:
		return fmt.Errorf("%q is not a row of an ACL", key)
	}
	return i.flushLarge()
}

// ACLPolicy sets the policy of ACLs from its row.
func (i *Importer) ACLPolicy(value []byte) error {
	if _, err := decodePolicy(value); err != nil {
		return err
	}
	i.m.w.SetRow(row(keys.MetaACLPolicy), value)
	return nil
}

// begin ends the revision under way and begins another.
func (i *Importer) begin(rev core.Rev) error {
	if err := i.endRevision(); err != nil {
		return err
	}
	if rev < i.rev {
		return fmt.Errorf("revision %d follows revision %d", rev, i.rev)
	}
	if err := i.flushLarge(); err != nil {
		return err
	}
	if len(i.changes) > keptChanges {
		i.changes = map[string]imported{}
	}
	clear(i.changes)
	i.rev, i.next = rev, 0
	return nil
}

// present is the version of kv's key before kv; nil if it did not exist. A first
// version needs no look.
func (i *Importer) present(kv *core.KV) (*core.KV, error) {
	if kv.Version == 1 && !i.isZnode(kv.Key) {
		return nil, nil
	}
	return i.m.w.Get(kv.Key, 0)
}

// Exists reports whether there is a key, as of the last Change.
func (i *Importer) Exists(key []byte) (bool, error) {
	kv, err := i.m.w.Get(key, 0)
	return kv != nil, err
}

func (i *Importer) isZnode(key []byte) bool {
	return i.rebuild && i.m.znodes.Mount().Covers(key)
}

// tellZnodes makes the rows of znodes follow. Deletions are told together, so that
// the deepest come first, as they do for a delete of a range.
func (i *Importer) tellZnodes(kv, present *core.KV) error {
	switch {
	case !i.isZnode(kv.Key):
		return nil
	case !kv.Deleted():
		if err := i.endDeletions(); err != nil {
			return err
		}
		i.made++
		i.m.znodes.Begin(kv.ModRev, kv.Time)
		// Whatever lease the key had, it is to be as it was.
		return i.m.znodes.Put(kv, present, &core.Put{IgnoreLease: true})
	case present != nil:
		i.victims = append(i.victims, present)
	}
	return nil
}

func (i *Importer) endDeletions() error {
	if len(i.victims) == 0 {
		return nil
	}
	i.m.znodes.Begin(i.rev, 0)
	err := i.m.znodes.Deleted(i.victims)
	i.victims = i.victims[:0]
	return err
}

// endRevision completes the revision under way.
func (i *Importer) endRevision() error { return i.endDeletions() }

// count keeps the number of keys, and the clock, which times must not be ahead of.
func (i *Importer) count(kv, present *core.KV) {
	switch {
	case present == nil && !kv.Deleted():
		i.m.pos.keys++
	case present != nil && kv.Deleted():
		i.m.pos.keys--
	}
	i.m.pos.clock = max(i.m.pos.clock, kv.Time)
}

// attach notes which lease the key belongs to. A lease that is gone has left the key
// behind, which stays (etcd mvcc.restore).
func (i *Importer) attach(kv, present *core.KV) {
	var old core.LeaseID
	if present != nil {
		old = present.Lease
	}
	if old == kv.Lease {
		return
	}
	if i.m.leases.Exists(old) {
		i.m.leases.Detach(old, kv.Key)
	}
	if i.m.leases.Exists(kv.Lease) {
		i.m.leases.Attach(kv.Lease, kv.Key)
	}
}

func (i *Importer) flushLarge() error {
	if i.m.w.Size() < importBatch {
		return nil
	}
	return i.flush()
}

func (i *Importer) flush() error {
	view, _, err := i.m.Commit()
	if err != nil {
		return err
	}
	view.Close()
	return nil
}

// Imported is the rest of what a state holds.
type Imported struct {
	// Rev is the revision, Compacted the one compacted to; zero if none was.
	Rev, Compacted core.Rev
	Alarms         []core.Alarm
	// DowngradeTo is the version of etcd that a downgrade goes to, if one does.
	DowngradeTo string

	AuthEnabled bool
	AuthRev     uint64
	Users       []auth.User
	Roles       []core.Role
}

// Finish adds the rest, removes the history that the compaction gave up, and makes
// all durable. Nothing may be called after it but Close.
func (i *Importer) Finish(ctx context.Context, rest *Imported) error {
	if err := i.endRevision(); err != nil {
		return err
	}
	m := i.m
	m.pos.rev = max(rest.Rev, i.rev, firstRev)
	if err := m.acls.Sweep(); err != nil {
		return err
	}
	if rest.Compacted > 0 {
		m.compacted = rest.Compacted
		m.w.SetRow(row(keys.MetaCompacted), appendRev(nil, rest.Compacted))
		if err := m.acls.Compact(rest.Compacted); err != nil {
			return err
		}
	}
	if len(rest.Alarms) > 0 {
		m.w.SetRow(row(keys.MetaAlarms), appendAlarms(nil, rest.Alarms))
	}
	if CheckDowngrade("", rest.DowngradeTo) == nil {
		m.w.SetRow(row(keys.MetaDowngrade), []byte(rest.DowngradeTo))
	}
	auth.Restore(m.w, rest.AuthEnabled, rest.AuthRev, rest.Users, rest.Roles)
	if err := i.flush(); err != nil {
		return err
	}
	if rest.Compacted > 0 {
		c, err := mvcc.NewCollector(i.db, mvcc.CollectorOptions{Share: 1})
		if err == nil {
			err = c.Collect(ctx, rest.Compacted)
		}
		if err != nil {
			return fmt.Errorf("state: import: %w", err)
		}
	}
	return i.db.Flush()
}

// Znodes is the number of versions that rows of znodes were made of.
func (i *Importer) Znodes() int64 { return i.made }

// Close ends the import, finished or not.
func (i *Importer) Close() error {
	if i.m.OpenViews() > 0 {
		return errors.New("state: import: a view is open")
	}
	return i.m.Close()
}
