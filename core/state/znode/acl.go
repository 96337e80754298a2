package znode

import (
	"github.com/triglot/triglot/core"
)

// ACLs is the table of lists. What it says follows from its rows, which its caller
// undoes along with those of znodes.
type ACLs interface {
	// Intern returns the number of a list, which it may give it.
	Intern(acl core.ACL) (core.ZnodeACL, error)
	// Hold and Release count what refers to a list: the row of each znode, and the
	// newest version of a key that was written under another list than its znode has
	// now. Versions that have been superseded are kept until history is.
	Hold(id core.ZnodeACL) error
	Release(id core.ZnodeACL, rev core.Rev) error
	// Allows reports whether a list allows one who is ids some of what is needed.
	Allows(id core.ZnodeACL, ids core.Identities, need core.Perms) (bool, error)
}

// allowed fails with NoAuth unless a list allows one who is ids some of what is needed
// (A1).
func (t *Tree) allowed(id core.ZnodeACL, ids core.Identities, need core.Perms) error {
	if id == core.ACLOpen {
		return nil
	}
	ok, err := t.acls.Allows(id, ids, need)
	if err == nil && !ok {
		err = core.NoAuth
	}
	return err
}

func (t *Tree) hold(id core.ZnodeACL) error {
	if id == core.ACLOpen {
		return nil
	}
	return t.acls.Hold(id)
}

func (t *Tree) release(id core.ZnodeACL) error {
	if id == core.ACLOpen {
		return nil
	}
	return t.acls.Release(id, t.rev)
}

// superseded notes that the version prev of a znode's key is not the newest any more;
// nil is none.
func (t *Tree) superseded(n *node, prev *core.KV) error {
	if prev == nil || prev.ACL == n.acl {
		return nil
	}
	return t.release(prev.ACL)
}

// changeACL gives the znode at path, whose key is kv or nil, another list.
func (t *Tree) changeACL(path string, n *node, kv *core.KV, to core.ZnodeACL) error {
	old := n.acl
	if old == to {
		return nil
	}
	n.acl = to
	if path == configPath {
		return t.changeConfigACL(old, to)
	}
	if kv != nil && kv.ACL == old { // it holds what the znode held
		return t.hold(to)
	}
	if kv == nil || kv.ACL != to { // else the znode holds what it held
		if err := t.hold(to); err != nil {
			return err
		}
	}
	return t.release(old)
}

// changeConfigACL gives ZooKeeper's configuration another list. It does not hold the one
// that it has from the beginning, which stays for good.
func (t *Tree) changeConfigACL(old, to core.ZnodeACL) error {
	if to != core.ACLReadOnly {
		if err := t.hold(to); err != nil {
			return err
		}
	}
	if old == core.ACLReadOnly {
		return nil
	}
	return t.release(old)
}

// parentACL is the list of the parent of a znode; the open one if it has none.
func (t *Tree) parentACL(path string) (core.ZnodeACL, error) {
	if t.counts.restricted == 0 || path == rootPath {
		return core.ACLOpen, nil
	}
	parent, err := t.must(parentOf(path))
	return parent.acl, err
}

// ACL implements kv.Znodes.
func (t *Tree) ACL(key []byte) (core.ZnodeACL, error) {
	if t.counts.restricted == 0 {
		return core.ACLOpen, nil
	}
	path, ok := t.mount.path(key)
	if !ok {
		return t.opaqueACL(key)
	}
	n, err := t.must(path)
	return n.acl, err
}

// wellFormed reports whether an operation has a list that a znode can have.
func wellFormed(op *core.ZnodeOp) bool {
	if op.OpenACL {
		return true
	}
	if op.ACL == "" || len(op.ACL) > core.MaxACL {
		return false
	}
	for _, err := range op.ACL.All() {
		if err != nil {
			return false
		}
	}
	return true
}

// intern returns the number of the list of an operation.
func (t *Tree) intern(op *core.ZnodeOp) (core.ZnodeACL, error) {
	if op.OpenACL {
		return core.ACLOpen, nil
	}
	return t.acls.Intern(op.ACL)
}

// runSetACL gives a znode another list (ZooKeeper 3.9 PrepRequestProcessor, setACL). It
// pins an implicit one: what somebody has set is not to go by itself.
func (t *Tree) runSetACL(c *caller, op *core.ZnodeOp, out *core.ZnodeOpOutcome) error {
	switch {
	case !Legal(op.Path):
		return core.BadPath
	case !wellFormed(op):
		return core.InvalidACL
	}
	n, err := t.present(op.Path, c, core.PermAdmin)
	switch {
	case err != nil:
		return err
	case op.Version != core.AnyVersion && op.Version != n.aversion:
		return core.BadVersion
	}
	kv, err := t.keyValue(op.Path, &n)
	if err != nil {
		return err
	}
	acl, err := t.intern(op)
	if err != nil {
		return err
	}
	before := n
	if err := t.changeACL(op.Path, &n, kv, acl); err != nil {
		return err
	}
	n.aversion, n.pinned = nextVersion(n.aversion), n.implicit
	t.set(op.Path, &n)
	t.reindex(op.Path, &before, &n)
	t.touched = true
	out.Stat = n.stat(kv)
	return nil
}
