package znode

import (
	"errors"
	"strconv"
	"strings"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/kv"
)

// Write runs a ZnodeWrite. If it fails, or the outcome tells of an operation that
// did, the caller undoes what it has done so far.
func (t *Tree) Write(tx *kv.Tx, w *core.ZnodeWrite) (*core.ZnodeOutcome, error) {
	if err := t.sessions.CheckSession(w.Session); err != nil {
		return nil, err
	}
	out := newOutcome(len(w.Ops))
	for i := range w.Ops {
		err := t.run(tx, w.Session.ID, &w.Ops[i], &out.Ops[i])
		if err == nil {
			continue
		}
		var kind core.Kind
		if !w.Multi || !errors.As(err, &kind) {
			return nil, err
		}
		return &core.ZnodeOutcome{Err: kind, Failed: i}, nil
	}
	return out, nil
}

// newOutcome makes an outcome of so many operations. Most have one, which is made
// along with it.
func newOutcome(ops int) *core.ZnodeOutcome {
	if ops == 1 {
		one := &struct {
			core.ZnodeOutcome
			op [1]core.ZnodeOpOutcome
		}{}
		one.Ops = one.op[:]
		return &one.ZnodeOutcome
	}
	return &core.ZnodeOutcome{Ops: make([]core.ZnodeOpOutcome, ops)}
}

func (t *Tree) run(tx *kv.Tx, session core.LeaseID, op *core.ZnodeOp, out *core.ZnodeOpOutcome) error {
	switch op.Type {
	case core.ZnodeCreate:
		return t.runCreate(tx, session, op, out)
	case core.ZnodeDelete:
		return t.runDelete(tx, op)
	case core.ZnodeSetData:
		return t.runSetData(tx, op, out)
	case core.ZnodeCheck:
		_, _, err := t.find(op)
		return err
	}
	return core.InvalidArgument
}

// runCreate makes a znode. The order of its checks is that of ZooKeeper's
// PrepRequestProcessor.
func (t *Tree) runCreate(tx *kv.Tx, session core.LeaseID, op *core.ZnodeOp, out *core.ZnodeOpOutcome) error {
	slash := strings.LastIndexByte(op.Path, '/')
	switch {
	case op.Kind > core.ZnodeContainer:
		return core.InvalidArgument
	case slash < 0 || strings.IndexByte(op.Path, 0) >= 0:
		return core.BadPath
	case !op.OpenACL:
		return core.InvalidACL
	}
	parentPath := parentOf(op.Path)
	parent, ok, err := t.get(parentPath)
	switch {
	case err != nil:
		return err
	case !ok:
		return core.NoNode
	case parent.acl != core.ACLOpen:
		return core.NoAuth
	}
	path, err := t.newPath(op, &parent)
	if err != nil {
		return err
	}
	if parent.kind == core.ZnodeEphemeral {
		return core.NoChildrenForEphemerals
	}
	parent.pinned = parent.implicit

	put := core.Put{Key: t.keyOf(path), Value: op.Data}
	if op.Kind == core.ZnodeEphemeral {
		put.Lease = session
	}
	n := t.newNode(&parent)
	n.null = op.Null
	t.changeData(&n, 0, len(op.Data), put.Lease)
	if put.Lease == 0 {
		n.kind = op.Kind
	}
	made := tx.Write(&put, nil, t.now, n.acl)
	t.create(path, &n, &parent, parentPath)
	out.Path, out.Stat = path, n.stat(made)
	return nil
}

// newPath is the path of the znode that a create makes; it moves the parent's
// counter on to the number that it takes, if it takes one. It fails with BadPath
// and NodeExists.
func (t *Tree) newPath(op *core.ZnodeOp, parent *node) (string, error) {
	path := op.Path
	if op.Sequential {
		path = numbered(op.Path, parent.creates)
	}
	if !Legal(path) {
		return "", core.BadPath
	}
	for {
		_, exists, err := t.get(path)
		switch {
		case err != nil:
			return "", err
		case !exists:
			return path, nil
		case !op.Sequential:
			return "", core.NodeExists
		}
		// The name is taken by one that was not numbered. The counter goes on with it,
		// so that later numbers are higher ones.
		parent.creates++
		path = numbered(op.Path, parent.creates)
	}
}

// numbered appends a number as Java's %010d shows it (S2).
func numbered(path string, number int32) string {
	var digits [11]byte
	d := strconv.AppendInt(digits[:0], int64(number), 10)
	var b strings.Builder
	b.Grow(len(path) + len(digits))
	b.WriteString(path)
	width := 10
	if number < 0 {
		b.WriteByte('-')
		d, width = d[1:], 9
	}
	for i := len(d); i < width; i++ {
		b.WriteByte('0')
	}
	b.Write(d)
	return b.String()
}

// runDelete deletes a znode. It pins the parent: a client that deletes a tree from
// the bottom up, as ZooKeeper's own ZKUtil does, in one multi or one by one, must
// not find that its next victim has gone by itself.
func (t *Tree) runDelete(tx *kv.Tx, op *core.ZnodeOp) error {
	if strings.IndexByte(op.Path, '/') < 0 || strings.IndexByte(op.Path, 0) >= 0 || isFixed(op.Path) {
		return core.BadPath
	}
	parent, ok, err := t.get(parentOf(op.Path))
	switch {
	case err != nil:
		return err
	case !ok:
		return core.NoNode
	case parent.acl != core.ACLOpen:
		return core.NoAuth
	}
	n, prev, err := t.present(op)
	switch {
	case err != nil:
		return err
	case n.children > 0:
		return core.NotEmpty
	}
	if prev != nil {
		tx.Remove(prev, n.acl)
		t.changeData(&n, len(prev.Value), 0, 0)
	}
	return t.remove(op.Path, true)
}

// runSetData replaces a znode's data.
func (t *Tree) runSetData(tx *kv.Tx, op *core.ZnodeOp, out *core.ZnodeOpOutcome) error {
	n, prev, err := t.find(op)
	if err != nil {
		return err
	}
	put := core.Put{Key: t.keyOf(op.Path), Value: op.Data, IgnoreLease: true}
	made := tx.Write(&put, prev, t.now, n.acl)
	t.write(op.Path, &n, made, prev, op.Null)
	out.Stat = n.stat(made)
	return nil
}

// find finds the znode of a setData or a check, which must have the version that
// op asks for. Its key is nil if it is implicit.
func (t *Tree) find(op *core.ZnodeOp) (node, *core.KV, error) {
	if !Legal(op.Path) {
		return node{}, nil, core.BadPath
	}
	return t.present(op)
}

// present is find for any path.
func (t *Tree) present(op *core.ZnodeOp) (node, *core.KV, error) {
	n, ok, err := t.get(op.Path)
	switch {
	case err != nil:
		return n, nil, err
	case !ok:
		return n, nil, core.NoNode
	case n.acl != core.ACLOpen && op.Type == core.ZnodeSetData:
		return n, nil, core.NoAuth
	}
	prev, err := t.keyValue(op.Path, &n)
	if err == nil && op.Version != core.AnyVersion && op.Version != n.version(prev) {
		err = core.BadVersion
	}
	return n, prev, err
}

// keyValue reads the key of a znode; nil if it is implicit.
func (t *Tree) keyValue(path string, n *node) (*core.KV, error) {
	if n.implicit {
		return nil, nil
	}
	kv, err := t.store.Get(t.keyOf(path), 0)
	if err == nil && kv == nil {
		err = missingKey(path)
	}
	return kv, err
}
