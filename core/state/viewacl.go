package state

import (
	"context"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/auth"
	"github.com/triglot/triglot/core/state/kv"
)

// Accounts are the users and roles.
func (v *View) Accounts() *auth.State { return v.rights.accounts }

// ACLPolicy is what becomes of etcd's and HTTP's requests that touch what ACLs forbid.
func (v *View) ACLPolicy() core.ZnodeACLPolicy { return v.rights.policy }

// Forbids reports whether an ACL forbids something to somebody, or does so in history
// that is kept.
func (v *View) Forbids() bool { return v.rights.lists > 0 }

// Readable implements core.View.
func (v *View) Readable(core.Interval) error { return nil }

// ACL implements core.ZnodeView.
func (v *View) ACL(id core.ZnodeACL) ([]core.ACLEntry, error) {
	acl, err := auth.ReadACL(v.reader, id)
	if err != nil {
		return nil, wrapRead(err)
	}
	return acl.Entries()
}

// Allows implements core.ZnodeView, for a stranger: nothing is forbidden now, but an
// event may be older than the compaction that gave up its list.
func (v *View) Allows(id core.ZnodeACL, need core.Perms) bool {
	ok, err := auth.AllowsIn(v.reader, id, "", need)
	return err == nil && ok // what cannot be read allows nothing
}

// Visible implements core.ZnodeView, as Allows does.
func (v *View) Visible(changes []core.Change) []core.Change {
	if v.rights.lists > 0 || v.rights.policy == core.ZnodeACLOff {
		return changes
	}
	return visible(changes, func(kv *core.KV) bool { return v.Allows(kv.ACL, core.PermRead) })
}

// whole is a view as the member itself sees it, events of any age included.
type whole struct{ *View }

func (w whole) Znodes() core.ZnodeView { return w }

func (whole) Allows(core.ZnodeACL, core.Perms) bool { return true }

func (whole) Visible(changes []core.Change) []core.Change { return changes }

// As is the view as one principal may see it: v itself if nothing is forbidden to
// anybody. It takes over the hold on v.
func (v *View) As(who core.Principal) core.View {
	switch {
	case who.Member:
		return whole{v}
	case v.open(who):
		return v
	}
	return v.as(who)
}

// open reports whether nothing is forbidden to anybody, or to who.
func (v *View) open(who core.Principal) bool {
	return who.Member || !v.rights.accounts.Enabled() && v.rights.lists == 0
}

func (v *View) as(who core.Principal) *restricted {
	return &restricted{View: v, who: who, ids: v.rights.accounts.Identities(who)}
}

// VisibleKeys returns those of keys that a principal may be told of. It fails with
// PermissionDenied if those that it may not are not to be left out.
func (v *View) VisibleKeys(who core.Principal, keys [][]byte) ([][]byte, error) {
	if v.open(who) {
		return keys, nil
	}
	g := v.as(who).guard()
	if g == nil {
		return keys, nil
	}
	var visible [][]byte
	for _, key := range keys {
		switch ok, err := g.seesKey(key); {
		case err != nil:
			return nil, wrapRead(err)
		case ok:
			visible = append(visible, key)
		case !g.hide:
			return nil, core.PermissionDenied
		}
	}
	return visible, nil
}

// MaySeeAll fails with PermissionDenied unless no ACL forbids anything to a principal
// that is super: it is for what tells of the whole state.
func (v *View) MaySeeAll(who core.Principal) error {
	if !v.open(who) && v.as(who).guard() != nil {
		return core.PermissionDenied
	}
	return nil
}

// restricted is a view as one principal may see it.
type restricted struct {
	*View
	who core.Principal
	// ids is who it is to ACLs.
	ids core.Identities
}

// guard judges the principal as one who comes through etcd's or HTTP's face; nil if
// nothing is forbidden to it by an ACL.
func (r *restricted) guard() *guard {
	if r.mount == nil {
		return nil
	}
	return newGuard(&r.rights, viewed{r.reader, rowScanner{r.snap}}, r.mount, r.bounds, r.ids)
}

// Readable implements core.View: by the users and roles. The events of a watch are
// looked at one by one.
func (r *restricted) Readable(in core.Interval) error { return r.rights.accounts.MayRead(r.who, in) }

// readable is Readable for a read that is done now: see auth.State.Current.
func (r *restricted) readable(in core.Interval) error {
	if err := r.Readable(in); err != nil {
		return err
	}
	return r.rights.accounts.Current(r.who)
}

// Range implements core.View.
func (r *restricted) Range(ctx context.Context, q *core.Range) (core.RangeResult, error) {
	if err := r.readable(q.Interval); err != nil {
		return core.RangeResult{}, err
	}
	g := r.guard()
	if g == nil {
		return r.View.Range(ctx, q)
	}
	if err := g.mayRead(q.Interval, q.Rev); err != nil {
		return core.RangeResult{}, wrapRead(err)
	}
	if !g.hide {
		return r.View.Range(ctx, q)
	}
	r.shared.reads.ranges.Add(1)
	res, err := kv.Range(ctx, hidden{g}, g.uncounted(), q)
	return res, wrapRead(err)
}

// uncounted are the bounds for reads whose counts are not those of others.
func (g *guard) uncounted() kv.Bounds { return kv.Bounds{Rev: g.bounds.Rev, Compact: g.bounds.Compact} }

// Txn implements core.View.
func (r *restricted) Txn(ctx context.Context, t *core.Txn) (core.TxnOutcome, error) {
	if r.rights.accounts.Enabled() {
		j := judge{accounts: r.rights.accounts, who: r.who, attached: r.LeaseKeys}
		if err := j.txn(t); err != nil {
			return core.TxnOutcome{}, err
		}
		if err := r.rights.accounts.Current(r.who); err != nil {
			return core.TxnOutcome{}, err
		}
	}
	g := r.guard()
	if g == nil {
		return r.View.Txn(ctx, t)
	}
	if err := g.mayTxn(t); err != nil {
		return core.TxnOutcome{}, wrapRead(err)
	}
	if !g.hide {
		return r.View.Txn(ctx, t)
	}
	return r.readTxn(ctx, hidden{g}, g.uncounted(), t)
}

// Znodes implements core.View.
func (r *restricted) Znodes() core.ZnodeView { return r }

// Znode implements core.ZnodeView: the znode's key must be readable, too.
func (r *restricted) Znode(path string, need core.Perms) (core.Znode, error) {
	if r.mount == nil {
		return core.Znode{}, core.Unsupported
	}
	if err := r.readable(core.Interval{Key: r.mount.Key(path)}); err != nil {
		return core.Znode{}, err
	}
	z, err := r.View.Znode(path, need)
	if err != nil || need == 0 || z.ACL == core.ACLOpen {
		return z, err
	}
	return z, r.allowed(z.ACL, need)
}

// allowed fails with NoAuth.
func (r *restricted) allowed(acl core.ZnodeACL, need core.Perms) error {
	ok, err := auth.AllowsIn(r.reader, acl, r.ids, need)
	if err == nil && !ok {
		err = core.NoAuth
	}
	return wrapRead(err)
}

// Children implements core.ZnodeView: the keys of the children must be readable, too, for
// they are named.
func (r *restricted) Children(ctx context.Context, path string) (core.Names, core.Znode, error) {
	if err := r.listable(path); err != nil {
		return core.Names{}, core.Znode{}, err
	}
	return r.View.Children(ctx, path)
}

// Descendants implements core.ZnodeView, as Children.
func (r *restricted) Descendants(ctx context.Context, path string) (int64, error) {
	if err := r.listable(path); err != nil {
		return 0, err
	}
	return r.View.Descendants(ctx, path)
}

// listable fails unless the principal may read a znode and list what is below it.
func (r *restricted) listable(path string) error {
	if _, err := r.Znode(path, core.PermRead); err != nil {
		return err
	}
	return r.readable(r.mount.Below(path))
}

// Ephemerals implements core.ZnodeView. ZooKeeper asks nobody for a right to them
// (ZOOKEEPER-3500); the keys must be readable.
func (r *restricted) Ephemerals(ctx context.Context, session core.LeaseID, prefix string) ([]string, error) {
	paths, err := r.View.Ephemerals(ctx, session, prefix)
	for _, path := range paths {
		if err == nil {
			err = r.readable(core.Interval{Key: r.mount.Key(path)})
		}
	}
	if err != nil {
		return nil, err
	}
	return paths, nil
}

// Allows implements core.ZnodeView.
func (r *restricted) Allows(id core.ZnodeACL, need core.Perms) bool {
	ok, err := auth.AllowsIn(r.reader, id, r.ids, need)
	return err == nil && ok // what cannot be read allows nothing
}

// Visible implements core.ZnodeView.
func (r *restricted) Visible(changes []core.Change) []core.Change {
	g := r.guard()
	switch {
	case g != nil:
		return visible(changes, func(kv *core.KV) bool {
			ok, err := g.sees(kv)
			return err == nil && ok // what cannot be read shows nothing
		})
	case r.ids.Super():
		return changes
	}
	return r.View.Visible(changes)
}

// visible returns changes, without the versions that are not seen.
func visible(changes []core.Change, sees func(*core.KV) bool) []core.Change {
	var visible []core.Change
	for i := range changes {
		c := changes[i]
		if sees(c.KV) && (c.Prev == nil || sees(c.Prev)) {
			if visible != nil {
				visible = append(visible, c)
			}
			continue
		}
		if visible == nil { // the first to differ
			visible = append(make([]core.Change, 0, len(changes)), changes[:i]...)
		}
		if sees(c.KV) {
			visible = append(visible, core.Change{KV: c.KV})
		}
	}
	if visible == nil {
		return changes
	}
	return visible
}
