package state

import (
	"bytes"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/auth"
	"github.com/triglot/triglot/core/state/kv"
	"github.com/triglot/triglot/core/state/znode"
	"github.com/triglot/triglot/storage/mvcc"
)

// rights is what says who may do what, in a machine as it is now, in a view as of its
// moment.
type rights struct {
	// accounts are the users and roles.
	accounts *auth.State
	policy   core.ZnodeACLPolicy
	// lists is how many ACLs forbid something, or did in history that is kept; restricted
	// is how many keys below the mount, and znodes, have such a one now.
	lists, restricted int64
}

// guard says what one principal of etcd's or HTTP's face may do to keys below the mount,
// by the ACLs of znodes (design 8). A request is judged whole, before anything of it is
// done, whichever branch will run; what is forbidden fails with PermissionDenied. It is
// for one request, and one goroutine.
//
// The rules, by what the key is:
//
//   - To read a key takes READ, by the list that it has now; of one that does not exist,
//     on the nearest existing ancestor, or a refusal would tell that there is one. To
//     read a version of the past takes READ by the list that it was written under, and
//     by the present one if there is one.
//   - To put takes WRITE, or CREATE on the nearest existing ancestor.
//   - To delete takes DELETE on the parent, or the nearest existing ancestor; of an opaque
//     key, on itself.
//   - A range of keys also lists: it takes READ on each znode among whose possible
//     children there are keys of the range, whether there are any or not.
type guard struct {
	source
	mount *znode.Mount
	ids   core.Identities
	// restricted says that there is a list now that forbids something.
	restricted bool
	hide       bool
	// bounds are the revisions that can be read.
	bounds   kv.Bounds
	verdicts map[verdict]bool
	// looks is how many znodes in front of intervals were to be looked at.
	looks int
}

// source is what a guard reads: one moment of the state.
type source interface {
	kv.Reader
	znode.RowReader
	ScanRows(lower, upper []byte, fn func(key, value []byte) bool) error
}

// written is the state as apply sees it.
type written struct{ *mvcc.Writer }

func (w written) Row(key []byte) ([]byte, error) { return w.GetRow(key) }

// viewed is the state as of a view.
type viewed struct {
	*mvcc.Reader
	rowScanner
}

// verdict is a question to a list.
type verdict struct {
	acl  core.ZnodeACL
	need core.Perms
}

// newGuard returns nil if nothing is forbidden to one who is ids.
func newGuard(r *rights, s source, mount *znode.Mount, bounds kv.Bounds, ids core.Identities) *guard {
	if r.lists == 0 || r.policy == core.ZnodeACLOff || ids.Super() {
		return nil
	}
	return &guard{
		source: s, mount: mount, ids: ids, bounds: bounds,
		restricted: r.restricted > 0, hide: r.policy == core.ZnodeACLHide,
	}
}

func (g *guard) allows(acl core.ZnodeACL, need core.Perms) (bool, error) {
	if acl == core.ACLOpen {
		return true, nil
	}
	v := verdict{acl, need}
	if ok, known := g.verdicts[v]; known {
		return ok, nil
	}
	ok, err := auth.AllowsIn(g.source, acl, g.ids, need)
	if err != nil {
		return false, err
	}
	if g.verdicts == nil {
		g.verdicts = map[verdict]bool{}
	}
	g.verdicts[v] = ok
	return ok, nil
}

// require fails with PermissionDenied.
func (g *guard) require(acl core.ZnodeACL, need core.Perms) error {
	ok, err := g.allows(acl, need)
	if err == nil && !ok {
		err = core.PermissionDenied
	}
	return err
}

// own is the list that a key below the mount has now; ok is false if there is neither
// such a key nor such a znode.
func (g *guard) own(key []byte) (acl core.ZnodeACL, ok bool, err error) {
	if path, legal := g.mount.PathOf(key); legal {
		r, ok, err := znode.ReadRights(g.source, path)
		return r.ACL, ok, err
	}
	kv, err := g.Get(key, 0)
	if err != nil || kv == nil {
		return 0, false, err
	}
	return kv.ACL, true, nil
}

// past reports whether a revision is one of the past that can be read.
func (g *guard) past(at core.Rev) bool {
	return at > 0 && at < g.bounds.Rev && at >= g.bounds.Compact
}

// judge fails if the principal may not have a command executed now.
func (g *guard) judge(cmd core.Command, attached func(core.LeaseID) ([][]byte, error)) error {
	switch c := cmd.(type) {
	case *core.Put:
		return g.mayPut(c)
	case *core.DeleteRange:
		return g.mayDelete(c)
	case *core.Txn:
		return g.mayTxn(c)
	case *core.LeaseRevoke:
		return g.mayRevoke(c.ID, attached)
	}
	return nil
}

func (g *guard) mayTxn(t *core.Txn) error {
	for i := range t.Compares {
		if err := g.mayRead(t.Compares[i].Interval, 0); err != nil {
			return err
		}
	}
	for _, branch := range [2][]core.Op{t.Then, t.Else} {
		for i := range branch {
			if err := g.mayOp(&branch[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *guard) mayOp(op *core.Op) error {
	switch {
	case op.Range != nil:
		return g.mayRead(op.Range.Interval, op.Range.Rev)
	case op.Put != nil:
		return g.mayPut(op.Put)
	case op.Delete != nil:
		return g.mayDelete(op.Delete)
	case op.Txn != nil:
		return g.mayTxn(op.Txn)
	}
	return nil
}

// mayRead judges a read at a revision. Where what is forbidden is hidden, it finds
// nothing to object to: see hidden.
func (g *guard) mayRead(in core.Interval, at core.Rev) error {
	if g.hide {
		return nil
	}
	past := g.past(at)
	switch {
	case !g.restricted && !past:
		return nil
	case in.Single():
		return g.mayReadKey(in.Key, at)
	}
	walk := g.protected(in)
	for walk.next() {
		if err := g.require(walk.acl, core.PermRead); err != nil {
			return err
		}
	}
	if walk.err != nil || !past {
		return walk.err
	}
	return g.mayReadPast(in, at)
}

func (g *guard) mayReadKey(key []byte, at core.Rev) error {
	path, ok := g.mount.Inside(key)
	if !ok {
		return nil
	}
	there := false
	if g.past(at) {
		kv, err := g.Get(key, at)
		if err != nil {
			return err
		}
		if there = kv != nil; there {
			if err := g.require(kv.ACL, core.PermRead); err != nil {
				return err
			}
		}
	}
	if !g.restricted {
		return nil
	}
	acl, exists, err := g.own(key)
	if err == nil && !exists && !there {
		acl, err = g.nearest(path)
	}
	if err != nil {
		return err
	}
	return g.require(acl, core.PermRead)
}

// nearest is the list of the nearest existing ancestor of what is at a path.
func (g *guard) nearest(path string) (core.ZnodeACL, error) {
	r, err := znode.NearestRights(g.source, path)
	return r.ACL, err
}

// sees reports whether a version, or a tombstone, may be shown.
func (g *guard) sees(kv *core.KV) (bool, error) {
	if ok, err := g.allows(kv.ACL, core.PermRead); err != nil || !ok {
		return false, err
	}
	return g.seesKey(kv.Key)
}

// seesKey reports whether a key may be shown, by the list that it has now.
func (g *guard) seesKey(key []byte) (bool, error) {
	if _, ok := g.mount.Inside(key); !ok || !g.restricted {
		return true, nil
	}
	acl, _, err := g.own(key)
	if err != nil {
		return false, err
	}
	return g.allows(acl, core.PermRead)
}

// mayReadPast judges the versions of a range of the past. There is no index of those that
// are protected: it goes over all.
func (g *guard) mayReadPast(in core.Interval, at core.Rev) error {
	above, err := g.above(in)
	for _, path := range above {
		var kv *core.KV
		if kv, err = g.Get(g.mount.Key(path), at); err == nil && kv != nil {
			err = g.require(kv.ACL, core.PermRead)
		}
		if err != nil {
			break
		}
	}
	if err != nil {
		return err
	}
	var refused error
	err = g.Scan(in, at, true, func(kv *core.KV) bool {
		refused = g.require(kv.ACL, core.PermRead)
		return refused == nil
	})
	if err == nil {
		err = refused
	}
	return err
}

func (g *guard) mayPut(p *core.Put) error {
	path, ok := g.mount.Inside(p.Key)
	if !ok || !g.restricted {
		return nil
	}
	acl, exists, err := g.own(p.Key)
	if err != nil {
		return err
	}
	if !exists {
		if acl, err = g.nearest(path); err != nil {
			return err
		}
		return g.require(acl, core.PermCreate)
	}
	if err := g.require(acl, core.PermWrite); err != nil {
		return err
	}
	if p.PrevKV || p.IgnoreValue {
		return g.require(acl, core.PermRead)
	}
	return nil
}

func (g *guard) mayDelete(d *core.DeleteRange) error {
	if !g.restricted {
		return nil
	}
	if d.Single() {
		return g.mayDeleteKey(d.Key, d.PrevKV)
	}
	walk := g.protected(d.Interval)
	for walk.next() {
		if err := g.mayDeleteAt(d, walk); err != nil {
			return err
		}
	}
	return walk.err
}

// mayDeleteAt judges what a range delete does where a walk over what is protected has
// come: to the znode's children, or to the opaque key.
func (g *guard) mayDeleteAt(d *core.DeleteRange, walk *protectedWalk) error {
	key := g.mount.Key(walk.path)
	if d.PrevKV && d.Contains(key) {
		if err := g.require(walk.acl, core.PermRead); err != nil {
			return err
		}
	}
	if _, legal := g.mount.PathOf(key); !legal {
		return g.require(walk.acl, core.PermDelete)
	}
	if !reaches(d.Interval, g.mount.Below(walk.path).Key) {
		return nil
	}
	r, _, err := znode.ReadRights(g.source, walk.path)
	if err != nil || !r.Children {
		return err
	}
	if err := g.require(walk.acl, core.PermDelete); err != nil {
		return err
	}
	return g.require(walk.acl, core.PermRead) // how many there were is told
}

// mayDeleteKey judges the delete of one key, whether it exists or not.
func (g *guard) mayDeleteKey(key []byte, prev bool) error {
	path, ok := g.mount.Inside(key)
	if !ok {
		return nil
	}
	acl, exists, err := g.own(key)
	if err != nil {
		return err
	}
	holder := acl
	if _, legal := g.mount.PathOf(key); legal || !exists {
		if holder, err = g.nearest(path); err != nil { // of a znode, the parent
			return err
		}
	}
	if err := g.require(holder, core.PermDelete); err != nil || !prev {
		return err
	}
	return g.require(acl, core.PermRead)
}

// mayRevoke judges the end of a lease, with which all keys go that are attached to it.
func (g *guard) mayRevoke(id core.LeaseID, attached func(core.LeaseID) ([][]byte, error)) error {
	if !g.restricted {
		return nil
	}
	keys, err := attached(id)
	for _, key := range keys {
		if err == nil {
			err = g.mayDeleteKey(key, false)
		}
	}
	return err
}

// reaches reports whether an interval that begins before a key goes beyond it.
func reaches(in core.Interval, key []byte) bool {
	return in.Unbounded() || bytes.Compare(in.End, key) > 0
}
