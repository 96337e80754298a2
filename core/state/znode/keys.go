package znode

import (
	"cmp"
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// Put implements kv.Znodes: it does to the znodes what putting next over prev
// will do to the key.
func (t *Tree) Put(next, prev *core.KV, p *core.Put) error {
	path, ok := t.mount.path(next.Key)
	if !ok {
		return t.putOpaque(next, prev)
	}
	next.Time = t.now
	if prev != nil {
		return t.overwrite(path, next, prev, p)
	}
	n, ok, err := t.get(path)
	switch {
	case err != nil:
		return err
	case !ok:
		return t.appear(path, next)
	case t.sessions.IsSession(next.Lease) && n.children > 0:
		return core.EphemeralProtected
	}
	next.ACL = n.acl
	return t.write(path, &n, next, nil, false)
}

// overwrite is a put on a key that exists.
func (t *Tree) overwrite(path string, next, prev *core.KV, p *core.Put) error {
	n, err := t.must(path)
	if err != nil {
		return err
	}
	if t.sessions.IsSession(prev.Lease) && !p.IgnoreLease {
		return core.EphemeralProtected
	}
	if n.children > 0 && t.sessions.IsSession(next.Lease) {
		return core.EphemeralProtected
	}
	next.ACL = n.acl
	return t.write(path, &n, next, prev, n.null && p.IgnoreValue)
}

// write notes that the key of a znode, prev, or nil if it is implicit, gets
// another version, next, and whether its value stands for no data at all.
func (t *Tree) write(path string, n *node, next, prev *core.KV, null bool) error {
	old, before := 0, *n
	if prev != nil {
		old = len(prev.Value)
	}
	t.changeData(n, old, len(next.Value), next.Lease)
	n.become(prev)
	n.null = null
	overwriteUsage(n, next.Value)
	if before.implicit {
		if err := t.countUsage(path, n); err != nil {
			return err
		}
	}
	if *n != before { // most often the key tells all
		t.set(path, n)
		t.reindex(path, &before, n)
	}
	if err := t.superseded(n, prev); err != nil {
		return err
	}
	if err := t.changed(path, n); err != nil {
		return err
	}
	return t.charge(path, 0, len(next.Value)-old)
}

// changed notes that the data of a znode is another.
func (t *Tree) changed(path string, n *node) error {
	parent, err := t.parentACL(path)
	t.step(core.ZnodeDataChanged, path, n.acl, parent)
	return err
}

// appear makes the znode of a key that is new, and implicit ones of what it lacks
// in ancestors.
func (t *Tree) appear(path string, next *core.KV) error {
	var missing []string // from the deepest up
	at := parentOf(path)
	ancestor, ok, err := t.get(at)
	for ; !ok && err == nil; ancestor, ok, err = t.get(at) {
		missing = append(missing, at)
		at = parentOf(at)
	}
	if err != nil {
		return err
	}
	if protected, err := t.isSessions(at, &ancestor); err != nil || protected {
		return orProtected(err)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		n := t.newNode(&ancestor)
		n.implicit, n.czxid, n.mzxid, n.mtime = true, t.rev, t.rev, t.now
		if err := t.create(missing[i], &n, &ancestor, at, 0); err != nil {
			return err
		}
		at, ancestor = missing[i], n
	}
	n := t.newNode(&ancestor)
	t.changeData(&n, 0, len(next.Value), next.Lease)
	next.ACL = n.acl
	return t.create(path, &n, &ancestor, at, len(next.Value))
}

func orProtected(err error) error {
	if err != nil {
		return err
	}
	return core.EphemeralProtected
}

// newNode is the row of a znode that comes to life now, below a parent.
func (t *Tree) newNode(parent *node) node {
	return node{acl: parent.acl, ctime: t.now, pzxid: t.rev}
}

// isSessions reports whether a znode is a session's ephemeral.
func (t *Tree) isSessions(path string, n *node) (bool, error) {
	if n.kind != core.ZnodeEphemeral {
		return false, nil
	}
	kv, err := t.store.Get(t.keyOf(path), 0)
	return kv != nil && t.sessions.IsSession(kv.Lease), err
}

// Deleted implements kv.Znodes: the keys whose last versions were victims are
// gone. It goes from the deepest to the highest, so that nothing is made implicit
// for the sake of a descendant that goes, too (X8).
func (t *Tree) Deleted(victims []*core.KV) error {
	if len(victims) == 1 {
		if path, ok := t.mount.path(victims[0].Key); ok {
			return t.disappear(path, victims[0])
		}
		return t.deleteOpaque(victims[0])
	}
	type victim struct {
		depth uint32
		path  string
		kv    *core.KV
	}
	var znodes []victim
	for _, kv := range victims {
		if path, ok := t.mount.path(kv.Key); ok {
			znodes = append(znodes, victim{keys.Depth(path), path, kv})
		} else if err := t.deleteOpaque(kv); err != nil {
			return err
		}
	}
	slices.SortStableFunc(znodes, func(a, b victim) int { return cmp.Compare(b.depth, a.depth) })
	for i := range znodes {
		if err := t.disappear(znodes[i].path, znodes[i].kv); err != nil {
			return err
		}
	}
	return nil
}

// disappear notes that the key of a znode is gone.
func (t *Tree) disappear(path string, prev *core.KV) error {
	n, err := t.must(path)
	if err != nil {
		return err
	}
	if err := t.superseded(&n, prev); err != nil {
		return err
	}
	before := n
	t.changeData(&n, len(prev.Value), 0, 0)
	fixed := isFixed(path)
	if !fixed && n.children == 0 {
		return t.remove(path, before, len(prev.Value), false)
	}
	n.demote(prev, t.rev, fixed)
	n.mtime = t.now
	t.set(path, &n)
	t.reindex(path, &before, &n)
	if err := t.changed(path, &n); err != nil {
		return err
	}
	return t.charge(path, 0, -len(prev.Value))
}
