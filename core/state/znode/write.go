package znode

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/kv"
)

// caller is who makes a ZnodeWrite.
type caller struct {
	session core.LeaseID
	// ids is who it is to ACLs.
	ids core.Identities
	// enforce has hard quotas bind it.
	enforce bool
	// multi says that verdicts, once there are any, are what lists say: a list may be as long
	// as a request, and a multi may name a znode that has it some ten thousand times.
	multi    bool
	verdicts map[verdictKey]error
}

type verdictKey struct {
	acl  core.ZnodeACL
	need core.Perms
}

// Write runs a ZnodeWrite of one who is ids to ACLs. If it fails, or the outcome tells of an operation that
// did, the caller undoes what it has done so far.
func (t *Tree) Write(tx *kv.Tx, w *core.ZnodeWrite, ids core.Identities) (*core.ZnodeOutcome, error) {
	if err := t.sessions.CheckSession(w.Session); err != nil {
		return nil, err
	}
	c := caller{session: w.Session.ID, ids: ids, enforce: w.EnforceQuota, multi: w.Multi}
	if w.Multi {
		tx.Expect(len(w.Ops))
	}
	out := newOutcome(len(w.Ops))
	for i := range w.Ops {
		err := t.run(tx, &c, &w.Ops[i], &out.Ops[i])
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

func (t *Tree) run(tx *kv.Tx, c *caller, op *core.ZnodeOp, out *core.ZnodeOpOutcome) error {
	switch op.Type {
	case core.ZnodeCreate:
		return t.runCreate(tx, c, op, out)
	case core.ZnodeDelete:
		return t.runDelete(tx, c, op)
	case core.ZnodeSetData:
		return t.runSetData(tx, c, op, out)
	case core.ZnodeCheck:
		return t.runCheck(c, op)
	case core.ZnodeSetACL:
		return t.runSetACL(c, op, out)
	}
	return core.InvalidArgument
}

// maxTTL is the longest time to live, which ZooKeeper keeps in 40 bits (ZooKeeper 3.9
// EphemeralType).
const maxTTL = (1<<40 - 1) * time.Millisecond

// runCreate makes a znode. The order of its checks is that of ZooKeeper's
// PrepRequestProcessor.
func (t *Tree) runCreate(tx *kv.Tx, c *caller, op *core.ZnodeOp, out *core.ZnodeOpOutcome) error {
	parentPath, parent, path, err := t.placeFor(c, op)
	if err != nil {
		return err
	}
	if parent.kind == core.ZnodeEphemeral {
		return core.NoChildrenForEphemerals
	}
	if c.enforce {
		if err := t.checkQuota(path, 1, len(op.Data)); err != nil {
			return err
		}
	}
	parent.pinned = parent.implicit

	n := t.newNode(&parent)
	if n.acl, err = t.intern(op); err != nil {
		return err
	}
	put := core.Put{Key: t.keyOf(path), Value: op.Data}
	if op.Kind == core.ZnodeEphemeral {
		put.Lease = c.session
	}
	n.null = op.Null
	t.changeData(&n, 0, len(op.Data), put.Lease)
	if put.Lease == 0 {
		n.kind, n.ttl = op.Kind, op.TTL.Milliseconds()
	}
	made := tx.Write(&put, nil, t.now, n.acl)
	path = t.mount.inside(made.Key)
	if err := t.create(path, &n, &parent, parentPath, len(op.Data)); err != nil {
		return err
	}
	out.Path, out.Stat = path, n.stat(made)
	return nil
}

// placeFor finds the parent of the znode that a create makes, and its path.
func (t *Tree) placeFor(c *caller, op *core.ZnodeOp) (parentPath string, parent node, path string, err error) {
	slash := strings.LastIndexByte(op.Path, '/')
	switch {
	case op.Kind > core.ZnodeTTL,
		op.Kind == core.ZnodeTTL && (op.TTL < time.Millisecond || op.TTL > maxTTL),
		op.Kind != core.ZnodeTTL && op.TTL != 0:
		return "", parent, "", core.InvalidArgument
	case slash < 0 || strings.IndexByte(op.Path, 0) >= 0:
		return "", parent, "", core.BadPath
	case !wellFormed(op):
		return "", parent, "", core.InvalidACL
	}
	parentPath = parentOf(op.Path)
	if parent, err = t.present(parentPath, c, core.PermCreate); err != nil {
		return "", parent, "", err
	}
	if parentPath == configPath { // what is below it is no znode, whoever asks
		return "", parent, "", core.NoAuth
	}
	path, err = t.newPath(op, &parent)
	return parentPath, parent, path, err
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
func (t *Tree) runDelete(tx *kv.Tx, c *caller, op *core.ZnodeOp) error {
	if strings.IndexByte(op.Path, '/') < 0 || strings.IndexByte(op.Path, 0) >= 0 || isFixed(op.Path) {
		return core.BadPath
	}
	if _, err := t.present(parentOf(op.Path), c, core.PermDelete); err != nil {
		return err
	}
	n, err := t.present(op.Path, c, 0)
	if err != nil {
		return err
	}
	prev, err := t.keyAt(op, &n)
	switch {
	case err != nil:
		return err
	case n.children > 0:
		return core.NotEmpty
	}
	return t.delete(tx, strings.Clone(op.Path), n, prev, true)
}

// delete deletes a znode without children, whose key is prev or nil.
func (t *Tree) delete(tx *kv.Tx, path string, n node, prev *core.KV, pin bool) error {
	size, before := 0, n
	if prev != nil {
		tx.Remove(prev, n.acl)
		size = len(prev.Value)
		t.changeData(&n, size, 0, 0)
	}
	if err := t.superseded(&before, prev); err != nil {
		return err
	}
	return t.remove(path, before, size, pin)
}

// runSetData replaces a znode's data.
func (t *Tree) runSetData(tx *kv.Tx, c *caller, op *core.ZnodeOp, out *core.ZnodeOpOutcome) error {
	if !Legal(op.Path) {
		return core.BadPath
	}
	n, err := t.present(op.Path, c, core.PermWrite)
	if err != nil {
		return err
	}
	if op.Path == configPath { // it is no key, whoever asks
		return core.NoAuth
	}
	if c.enforce {
		if err := t.checkGrowth(op, &n); err != nil {
			return err
		}
	}
	prev, err := t.keyAt(op, &n)
	if err != nil {
		return err
	}
	put := core.Put{Key: t.keyOf(op.Path), Value: op.Data, IgnoreLease: true}
	made := tx.Write(&put, prev, t.now, n.acl)
	if err := t.write(t.mount.inside(made.Key), &n, made, prev, op.Null); err != nil {
		return err
	}
	out.Stat = n.stat(made)
	return nil
}

// checkGrowth is the check of quotas for a setData.
func (t *Tree) checkGrowth(op *core.ZnodeOp, n *node) error {
	prev, err := t.keyValue(op.Path, n)
	if err != nil {
		return err
	}
	size := 0
	if prev != nil {
		size = len(prev.Value)
	}
	return t.checkQuota(op.Path, 0, len(op.Data)-size)
}

// runCheck checks that a znode has a version.
func (t *Tree) runCheck(c *caller, op *core.ZnodeOp) error {
	if !Legal(op.Path) {
		return core.BadPath
	}
	n, err := t.present(op.Path, c, core.PermRead)
	if err != nil {
		return err
	}
	_, err = t.keyAt(op, &n)
	return err
}

// present reads the row of a znode on which the caller needs a right, if any.
func (t *Tree) present(path string, c *caller, need core.Perms) (node, error) {
	n, ok, err := t.get(path)
	switch {
	case err != nil:
		return n, err
	case !ok:
		return n, core.NoNode
	case need == 0:
		return n, nil
	}
	return n, t.judged(n.acl, c, need)
}

// judged is allowed, of one list once.
func (t *Tree) judged(acl core.ZnodeACL, c *caller, need core.Perms) error {
	if !c.multi || acl == core.ACLOpen {
		return t.allowed(acl, c.ids, need)
	}
	key := verdictKey{acl, need}
	verdict, known := c.verdicts[key]
	if !known {
		verdict = t.allowed(acl, c.ids, need)
		if c.verdicts == nil {
			c.verdicts = map[verdictKey]error{}
		}
		c.verdicts[key] = verdict
	}
	return verdict
}

// keyAt reads the key of a znode, nil if it is implicit, which must have the version
// that op asks for.
func (t *Tree) keyAt(op *core.ZnodeOp, n *node) (*core.KV, error) {
	prev, err := t.keyValue(op.Path, n)
	if err == nil && op.Version != core.AnyVersion && op.Version != n.version(prev) {
		err = core.BadVersion
	}
	return prev, err
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
