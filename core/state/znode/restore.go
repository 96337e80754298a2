package znode

import (
	"strings"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/kv"
	"github.com/triglot/triglot/storage/keys"
)

// What one piece of Clear deletes at most: the versions that it deletes are in memory
// until the change feed has passed them on. It may be one znode more.
const (
	maxClearZnodes = 10_000
	maxClearBytes  = 8 << 20
)

// Clear deletes znodes with their keys, the deepest first, as many as one command may,
// and reports whether there are more. The znodes that every store has lose their keys,
// last of all.
func (t *Tree) Clear(tx *kv.Tx) (more bool, err error) {
	znodes, bytes := 0, 0
	level, err := t.deepest()
	if err != nil {
		return false, err
	}
	for ; level > 0; level-- {
		paths, err := t.level(level, maxClearZnodes-znodes+1)
		if err != nil {
			return false, err
		}
		for _, path := range paths {
			if znodes == maxClearZnodes || bytes > maxClearBytes {
				return true, nil
			}
			size, err := t.clear(tx, path)
			if err != nil {
				return false, err
			}
			znodes, bytes = znodes+1, bytes+size
		}
	}
	for _, path := range [...]string{quotaPath, systemPath, rootPath} {
		if err := tx.DeleteKeys([][]byte{t.mount.Key(path)}); err != nil {
			return false, err
		}
	}
	return false, nil
}

// deepest is how many levels of znodes there are below the root.
func (t *Tree) deepest() (uint32, error) {
	for level := uint32(1); level <= maxPathDepth; level++ {
		some := false
		lower, upper, _ := keys.LevelBounds(rootPath, level)
		err := t.store.ScanRows(lower, upper, func(_, _ []byte) bool {
			some = true
			return false
		})
		if err != nil || !some {
			return level - 1, err
		}
	}
	return maxPathDepth, nil
}

// level finds up to limit znodes so many levels below the root, but not those that every
// store has.
func (t *Tree) level(level uint32, limit int) (paths []string, err error) {
	lower, upper, _ := keys.LevelBounds(rootPath, level)
	err = t.store.ScanRows(lower, upper, func(key, _ []byte) bool {
		if path, ok := keys.DecodeZnode(key); ok && !isFixed(string(path)) {
			paths = append(paths, string(path))
		}
		return len(paths) < limit
	})
	return paths, err
}

// clear deletes a znode, which has no children any more, and returns the size of its
// data.
func (t *Tree) clear(tx *kv.Tx, path string) (size int, err error) {
	n, ok, err := t.get(path)
	if err != nil || !ok { // it went with its last child
		return 0, err
	}
	prev, err := t.keyValue(path, &n)
	if err != nil {
		return 0, err
	}
	if prev != nil {
		size = len(prev.Value)
	}
	return size, t.delete(tx, path, n, prev, false)
}

// Restorable reports whether a znode of a snapshot can be one here.
func Restorable(z *core.RestoredZnode) bool {
	if !Legal(z.Path) || z.Kind > core.ZnodeTTL || (z.Kind == core.ZnodeEphemeral) != (z.Owner != 0) {
		return false
	}
	if z.TTL < 0 || z.TTL > maxTTL || z.Kind != core.ZnodeTTL && z.TTL != 0 {
		return false
	}
	if z.Kind >= core.ZnodeContainer && isFixed(z.Path) {
		return false
	}
	entries, err := z.ACL.Entries()
	return err == nil && len(z.ACL) <= core.MaxACL && (z.ACL == "" || len(entries) > 0)
}

// Restore makes a znode as it was in a snapshot; a lease that it goes with exists. One
// whose parent is gone, or has become a session's ephemeral, or that has itself got
// children that such a one cannot have, is left out: somebody has written since the
// restore began. It fails with InvalidArgument, for a znode of the future too.
func (t *Tree) Restore(tx *kv.Tx, z *core.RestoredZnode) error {
	if !Restorable(z) || min(z.Czxid, z.Mzxid, z.Pzxid) < 0 || max(z.Czxid, z.Mzxid, z.Pzxid) >= t.rev {
		return core.InvalidArgument
	}
	if strings.HasPrefix(z.Path, configPath+"/") {
		return nil
	}
	n, ok, err := t.get(z.Path)
	switch {
	case err != nil:
		return err
	case ok:
		return t.replace(tx, z, n)
	}
	parentPath := parentOf(z.Path)
	parent, ok, err := t.get(parentPath)
	if err != nil || !ok {
		return err
	}
	if protected, err := t.isSessions(parentPath, &parent); err != nil || protected {
		return err
	}
	acl, err := t.internRestored(z)
	if err != nil {
		return err
	}
	n = node{acl: acl, null: z.Null}
	t.changeData(&n, 0, len(z.Data), z.Owner)
	n.restore(z)
	put := core.Put{Key: t.keyOf(z.Path), Value: z.Data, Lease: z.Owner}
	n.own, n.czxid, n.base = true, z.Czxid, z.Version
	tx.Write(&put, nil, max(z.Mtime, 0), acl)      // a version has no time before 1970
	creates, pzxid := parent.creates, parent.pzxid // which the snapshot knows
	if err := t.create(z.Path, &n, &parent, parentPath, len(z.Data)); err != nil {
		return err
	}
	parent.creates, parent.pzxid = creates, pzxid
	t.set(parentPath, &parent)
	return nil
}

// internRestored returns the number of a znode's list. The znode is to hold it: one that is
// left out must not leave its list behind.
func (t *Tree) internRestored(z *core.RestoredZnode) (core.ZnodeACL, error) {
	if z.ACL == "" {
		return core.ACLOpen, nil
	}
	return t.acls.Intern(z.ACL)
}

// replace makes a znode that there is as it was in a snapshot: one that every store has,
// or that somebody has made since the restore began.
func (t *Tree) replace(tx *kv.Tx, z *core.RestoredZnode, n node) error {
	if n.children > 0 && t.sessions.IsSession(z.Owner) {
		return nil
	}
	prev, err := t.keyValue(z.Path, &n)
	if err != nil {
		return err
	}
	acl, err := t.internRestored(z)
	if err != nil {
		return err
	}
	before := n
	if err := t.changeACL(z.Path, &n, prev, acl); err != nil {
		return err
	}
	t.touched = true
	if z.Path == configPath { // the rest of it is this store's own
		n.aversion = z.Aversion
		t.set(z.Path, &n)
		return nil
	}
	t.reindex(z.Path, &before, &n)
	if isFixed(z.Path) && n.implicit && z.Owner == 0 && len(z.Data) == 0 && !z.Null {
		n.restore(z)
		n.czxid, n.mzxid, n.mtime, n.base = z.Czxid, z.Mzxid, z.Mtime, z.Version
		t.set(z.Path, &n)
		return nil
	}
	put := core.Put{Key: t.keyOf(z.Path), Value: z.Data, Lease: z.Owner}
	made := tx.Write(&put, prev, max(z.Mtime, 0), acl)
	if err := t.write(z.Path, &n, made, prev, z.Null); err != nil {
		return err
	}
	before = n
	n.restore(z)
	n.own, n.czxid, n.base = true, min(z.Czxid, made.CreateRev), z.Version-int32(made.Version-1)
	t.set(z.Path, &n)
	t.reindex(z.Path, &before, &n)
	return nil
}

// restore gives a znode what its row tells in any case.
func (n *node) restore(z *core.RestoredZnode) {
	n.ctime, n.aversion, n.creates, n.pzxid = z.Ctime, z.Aversion, z.Creates, z.Pzxid
	if n.kind != core.ZnodeEphemeral {
		n.kind, n.ttl = z.Kind, int64(z.TTL/time.Millisecond)
	}
}
