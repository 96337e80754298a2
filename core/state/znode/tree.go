package znode

import (
	"fmt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/kv"
	"github.com/triglot/triglot/storage/keys"
)

// Rows is the part of the store that holds znodes.
type Rows interface {
	// GetRow returns a row, nil if there is none. The slice must not be written to.
	GetRow(key []byte) ([]byte, error)
	SetRow(key, value []byte)
	DeleteRow(key []byte)
	// ScanRows calls fn for the rows in [lower, upper), in order, until it returns
	// false. The slices are valid during the call only.
	ScanRows(lower, upper []byte, fn func(key, value []byte) bool) error
}

// Store is the rows, and the keys beside them.
type Store interface {
	Rows
	kv.Reader
}

// Sessions is what the rules need to know of sessions.
type Sessions interface {
	// CheckSession fails with SessionExpired or SessionMoved.
	CheckSession(core.SessionRef) error
	// IsSession reports whether there is such a lease and it is a session.
	IsSession(core.LeaseID) bool
}

// Tree is the znodes of a store. It belongs to the goroutine that applies
// commands.
type Tree struct {
	mount    Mount
	store    Store
	sessions Sessions
	acls     ACLs
	// counts are the counters as of now, saved what the store has of them.
	counts, saved counters

	// count is what is kept in mind of quotas that are not counted yet.
	count counting

	// What follows is of the command under way: its revision and time, what was before
	// it, and whether it has done anything at all.
	rev     core.Rev
	now     int64
	before  beginning
	touched bool
	// steps is memory for those of many commands. It is not written again.
	steps []core.ZnodeStep

	key, row, value []byte // buffers
}

// beginning is what was before a command: the counters, where its steps begin, and what
// quotas used that it has changed since.
type beginning struct {
	counters
	first int
	used  map[string]usage
}

// Bootstrap writes the mount and the znodes that every store has.
func Bootstrap(set func(key, value []byte), prefix string) error {
	mount, err := ParseMount(prefix)
	if err != nil {
		return err
	}
	set(keys.AppendMeta(nil, keys.MetaMount), []byte(mount))
	var counts counters
	for path, n := range map[string]node{
		rootPath:   {children: 1},
		systemPath: {children: 2},
		configPath: {acl: core.ACLReadOnly, aversion: -1}, // ZooKeeper 3.9 DataTree.addConfigNode
		quotaPath:  {},
	} {
		n.implicit, n.pinned = true, true
		set(keys.AppendZnode(nil, path), n.append(nil))
		counts.Znodes++
		counts.Bytes += int64(len(path))
		counts.rowBytes += rowSize(path)
	}
	counts.Znodes++ // ZooKeeper counts the root twice, as "" and as "/"
	set(keys.AppendMeta(nil, keys.MetaZnodes), appendCounts(nil, counts))
	return nil
}

// Open reads the tree from its rows. It returns nil if the store has no mount.
func Open(store Store, sessions Sessions, acls ACLs) (*Tree, error) {
	prefix, err := store.GetRow(keys.AppendMeta(nil, keys.MetaMount))
	if err != nil || prefix == nil {
		return nil, err
	}
	t := &Tree{store: store, sessions: sessions, acls: acls, count: counting{countRoom, true}}
	if t.mount, err = ParseMount(string(prefix)); err != nil {
		return nil, err
	}
	row, err := store.GetRow(keys.AppendMeta(nil, keys.MetaZnodes))
	if err != nil {
		return nil, err
	}
	if t.saved, err = decodeCounts(row); err != nil {
		return nil, err
	}
	t.counts = t.saved
	return t, t.complete()
}

// Mount is the prefix of the keys that are znodes. It never changes.
func (t *Tree) Mount() *Mount { return &t.mount }

// Begin starts a command that will take revision rev, at a time in milliseconds
// since 1970.
func (t *Tree) Begin(rev core.Rev, now int64) {
	t.rev, t.now, t.before, t.touched = rev, now, beginning{counters: t.counts, first: len(t.steps)}, false
}

// Undo forgets what the command under way has done; the caller undoes the rows.
func (t *Tree) Undo() {
	t.counts, t.touched, t.steps = t.before.counters, false, t.steps[:t.before.first]
}

// Changed reports whether the command has changed a znode, be it without a step.
func (t *Tree) Changed() bool { return t.touched }

// Steps is what the command has done to znodes, in order; nil if that is nothing.
// The caller owns it once the command is done.
func (t *Tree) Steps() []core.ZnodeStep {
	if len(t.steps) == t.before.first {
		return nil
	}
	return t.steps[t.before.first:len(t.steps):len(t.steps)]
}

// get reads the row of a znode; ok is false if there is none.
func (t *Tree) get(path string) (n node, ok bool, err error) {
	t.row = keys.AppendZnode(t.row[:0], path)
	b, err := t.store.GetRow(t.row)
	if err != nil || b == nil {
		return node{}, false, err
	}
	n, err = decodeNode(b)
	return n, err == nil, err
}

// must reads the row of a znode that has to be there.
func (t *Tree) must(path string) (node, error) {
	n, ok, err := t.get(path)
	if err == nil && !ok {
		err = fmt.Errorf("there is no row of znode %q", path)
	}
	return n, err
}

func (t *Tree) set(path string, n *node) {
	t.row = keys.AppendZnode(t.row[:0], path)
	t.value = n.append(t.value[:0])
	t.store.SetRow(t.row, t.value)
}

// step notes what happens to a znode that has, or had, an ACL, below one that has
// another.
func (t *Tree) step(e core.ZnodeEvent, path string, acl, parent core.ZnodeACL) {
	if len(t.steps) == cap(t.steps) {
		own := t.steps[t.before.first:]
		t.steps = append(make([]core.ZnodeStep, 0, max(minSteps, 2*len(own))), own...)
		t.before.first = 0
	}
	t.steps = append(t.steps, core.ZnodeStep{Event: e, Path: path, ACL: acl, Parent: parent})
	t.touched = true
}

// minSteps is how many steps are made room for at a time. Whoever keeps one of them
// keeps all, as the change feed does anyway.
const minSteps = 64

// keyOf returns the key of the znode at a legal path, valid until the next call.
func (t *Tree) keyOf(path string) []byte {
	t.key = t.mount.appendKey(t.key[:0], path)
	return t.key
}

// create makes a znode that was not there, with data of a size, and counts it in at its
// parent.
func (t *Tree) create(path string, n, parent *node, parentPath string, size int) error {
	t.counts.Znodes++
	t.counts.Bytes += int64(len(path))
	t.counts.rowBytes += rowSize(path)
	if err := t.hold(n.acl); err != nil {
		return err
	}
	if err := t.countUsage(path, n); err != nil {
		return err
	}
	t.set(path, n)
	t.reindex(path, nil, n)
	t.step(core.ZnodeCreated, path, n.acl, parent.acl)
	parent.creates++
	parent.children++
	parent.pzxid = t.rev
	t.set(parentPath, parent)
	if err := t.limited(path); err != nil {
		return err
	}
	return t.charge(path, 1, size)
}

// remove takes a znode without children away, that had data of a size, and with it the
// implicit ancestors that were there for its sake, unless the parent is to be pinned.
func (t *Tree) remove(path string, n node, size int, pin bool) error {
	for {
		t.counts.Znodes--
		t.counts.Bytes -= int64(len(path))
		t.counts.rowBytes -= rowSize(path)
		if isLimits(path) {
			t.counts.quotas--
		}
		t.row = keys.AppendZnode(t.row[:0], path)
		t.store.DeleteRow(t.row)
		t.reindex(path, &n, nil)
		if err := t.release(n.acl); err != nil {
			return err
		}
		if err := t.charge(path, -1, -size); err != nil {
			return err
		}
		parentPath := parentOf(path)
		parent, err := t.must(parentPath)
		if err != nil {
			return err
		}
		t.step(core.ZnodeDeleted, path, n.acl, parent.acl)
		parent.children--
		parent.pzxid = t.rev
		parent.pinned = parent.pinned || pin && parent.implicit
		if parent.children > 0 || !parent.implicit || parent.pinned {
			t.set(parentPath, &parent)
			return nil
		}
		path, n, size = parentPath, parent, 0
	}
}

// changeData notes that a znode's data changes, in size from old to new, and the
// lease of its key.
func (t *Tree) changeData(n *node, old, new int, lease core.LeaseID) {
	t.counts.Bytes += int64(new - old)
	switch attached := n.kind == core.ZnodeEphemeral; {
	case lease != 0 && !attached:
		n.kind, n.ttl = core.ZnodeEphemeral, 0
		t.counts.Ephemerals++
	case lease == 0 && attached:
		n.kind = core.ZnodePersistent
		t.counts.Ephemerals--
	}
}
