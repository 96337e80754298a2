package state

import (
	"context"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/znode"
)

// Znode implements core.View. It fails with Unsupported in a store without znodes.
func (v *View) Znode(path string) (core.Znode, error) {
	if v.mount == nil {
		return core.Znode{}, core.Unsupported
	}
	z, err := znode.Read(v.reader, *v.mount, path)
	return z, wrapRead(err)
}

// Children implements core.View. It fails as Znode does.
func (v *View) Children(ctx context.Context, path string) ([]string, core.Znode, error) {
	if v.mount == nil {
		return nil, core.Znode{}, core.Unsupported
	}
	names, z, err := znode.Children(ctx, v.reader, rowScanner{v.snap}, *v.mount, path)
	return names, z, wrapRead(err)
}

// ZnodeCounts are the numbers of znodes and sessions. A store without znodes counts
// none.
func (v *View) ZnodeCounts() core.ZnodeCounts { return v.numbers }
