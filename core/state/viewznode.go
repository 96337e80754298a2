package state

import (
	"context"
	"strings"
	"time"

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
func (v *View) Children(ctx context.Context, path string) (core.Names, core.Znode, error) {
	if v.mount == nil {
		return core.Names{}, core.Znode{}, core.Unsupported
	}
	names, z, err := znode.Children(ctx, v.reader, rowScanner{v.snap}, &v.shared.children, *v.mount, path)
	return names, z, wrapRead(err)
}

// Descendants implements core.ZnodeView. It fails as Znode does.
func (v *View) Descendants(ctx context.Context, path string) (int64, error) {
	if _, err := v.Znode(path, core.PermRead); err != nil {
		return 0, err
	}
	n, err := znode.Descendants(ctx, rowScanner{v.snap}, path, v.numbers.Znodes)
	return n, wrapRead(err)
}

// Ephemerals implements core.ZnodeView (ZooKeeper 3.9 FinalRequestProcessor).
func (v *View) Ephemerals(_ context.Context, session core.LeaseID, prefix string) ([]string, error) {
	if v.mount == nil {
		return nil, core.Unsupported
	}
	attached, err := v.LeaseKeys(session)
	if err != nil {
		return nil, err
	}
	// Java's trim, which knows no other spaces, and takes all that is not to be seen.
	if name := strings.TrimFunc(prefix, func(r rune) bool { return r <= ' ' }); name == "" || name == "/" {
		prefix = ""
	}
	var paths []string
	for _, key := range attached {
		if path, ok := v.mount.PathOf(key); ok && strings.HasPrefix(path, prefix) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// Reapable looks for up to limit znodes that may be reaped at a time in milliseconds
// since 1970, see znode.FindDue.
func (v *View) Reapable(ctx context.Context, after []byte, limit int, now int64, neverUsed time.Duration) (znode.Due, error) {
	if v.mount == nil {
		return znode.Due{}, nil
	}
	due, err := znode.FindDue(ctx, v.reader, rowScanner{v.snap}, *v.mount, after, limit, now, neverUsed)
	return due, wrapRead(err)
}

// ZnodeCounts are the numbers of znodes and sessions. A store without znodes counts
// none.
func (v *View) ZnodeCounts() core.ZnodeCounts { return v.numbers }

// Counting reports whether there is a quota whose numbers are not counted yet: each entry
// of the log goes on with that.
func (v *View) Counting() (bool, error) {
	if v.mount == nil {
		return false, nil
	}
	is, err := znode.Counting(rowScanner{v.snap})
	return is, wrapRead(err)
}
