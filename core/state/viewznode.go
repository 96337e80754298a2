package state

import (
	"context"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/znode"
)

// Znodes implements core.View.
func (v *View) Znodes() core.ZnodeView { return v }

// Znode implements core.ZnodeView. It fails with Unsupported in a store without znodes.
func (v *View) Znode(path string, _ core.Perms) (core.Znode, error) {
	if v.mount == nil {
		return core.Znode{}, core.Unsupported
	}
	z, err := znode.Read(v.reader, *v.mount, path)
	return z, wrapRead(err)
}

// Children implements core.ZnodeView. It fails as Znode does.
func (v *View) Children(ctx context.Context, path string) ([]string, core.Znode, error) {
	if v.mount == nil {
		return nil, core.Znode{}, core.Unsupported
	}
	names, z, err := znode.Children(ctx, v.reader, rowScanner{v.snap}, *v.mount, path)
	return names, z, wrapRead(err)
}

// Descendants implements core.ZnodeView.
func (v *View) Descendants(context.Context, string) (int64, error) { return 0, core.Unsupported }

// Ephemerals implements core.ZnodeView.
func (v *View) Ephemerals(context.Context, core.LeaseID, string) ([]string, error) {
	return nil, core.Unsupported
}

// ACL implements core.ZnodeView.
func (v *View) ACL(id core.ZnodeACL) ([]core.ACLEntry, error) {
	switch id {
	case core.ACLOpen:
		return []core.ACLEntry{{Perms: core.PermAll, Scheme: core.SchemeWorld, ID: core.WorldAnyone}}, nil
	case core.ACLReadOnly:
		return []core.ACLEntry{{Perms: core.PermRead, Scheme: core.SchemeWorld, ID: core.WorldAnyone}}, nil
	}
	return nil, core.Errorf(core.Internal, "there is no ACL %d", id)
}

// Allows implements core.ZnodeView.
func (v *View) Allows(core.ZnodeACL, core.Perms) bool { return true }

// Visible implements core.ZnodeView.
func (v *View) Visible(changes []core.Change) []core.Change { return changes }

// ZnodeCounts are the numbers of znodes and sessions. A store without znodes counts
// none.
func (v *View) ZnodeCounts() core.ZnodeCounts { return v.numbers }
