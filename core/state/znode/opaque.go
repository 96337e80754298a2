package znode

import (
	"encoding/binary"
	"strings"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// A key below the mount that is no znode's has no ACL of its own that anybody could set.
// Whoever writes it gives it that of its nearest existing ancestor: else what is below a
// protected znode could be read where a path is not legal (/secret//x). It is in the
// index of restricted znodes by its path.

// putOpaque gives an opaque key, of which next will be the version, its list.
func (t *Tree) putOpaque(next, prev *core.KV) error {
	if !t.mount.covers(next.Key) {
		return nil
	}
	if t.counts.restricted > 0 {
		above, err := t.nearest(t.mount.rest(next.Key))
		if err != nil {
			return err
		}
		next.ACL = above.acl
	}
	old := core.ACLOpen
	if prev != nil {
		old = prev.ACL
	}
	return t.listOpaque(next.Key, old, next.ACL)
}

// deleteOpaque notes that an opaque key is gone.
func (t *Tree) deleteOpaque(prev *core.KV) error {
	if !t.mount.covers(prev.Key) {
		return nil
	}
	return t.listOpaque(prev.Key, prev.ACL, core.ACLOpen)
}

// listOpaque brings the index, and what holds lists, in step with a key that gets
// another.
func (t *Tree) listOpaque(key []byte, from, to core.ZnodeACL) error {
	if from == to {
		return nil
	}
	if err := t.hold(to); err != nil {
		return err
	}
	if err := t.release(from); err != nil {
		return err
	}
	t.indexOpaque(key, from, to)
	return nil
}

func (t *Tree) indexOpaque(key []byte, from, to core.ZnodeACL) {
	if from == to {
		return
	}
	if from != core.ACLOpen {
		t.counts.restricted--
	}
	t.row = keys.AppendZnodeIndex(t.row[:0], keys.IndexRestricted, t.mount.rest(key))
	if to == core.ACLOpen {
		t.store.DeleteRow(t.row)
		return
	}
	t.counts.restricted++
	t.value = binary.AppendUvarint(t.value[:0], uint64(to))
	t.store.SetRow(t.row, t.value)
}

// opaqueACL is the list of an opaque key, the open one if it does not exist.
func (t *Tree) opaqueACL(key []byte) (core.ZnodeACL, error) {
	if !t.mount.covers(key) {
		return core.ACLOpen, nil
	}
	kv, err := t.store.Get(key, 0)
	if err != nil || kv == nil {
		return core.ACLOpen, err
	}
	return kv.ACL, nil
}

// Relist notes that a version of a key, prev, or nil, was written under a list that is
// known from elsewhere, such as a backup, and which may not be the one that its znode has
// now: kv gets it. With rebuild it follows on Put of a znode's key; without, the rows are
// known from there as well.
func (t *Tree) Relist(kv, prev *core.KV, acl core.ZnodeACL, rebuild bool) error {
	_, legal := t.mount.path(kv.Key)
	switch {
	case !t.mount.covers(kv.Key):
		return nil
	case legal && rebuild && !kv.Deleted():
		n, err := t.must(t.mount.rest(kv.Key))
		if err == nil && acl != n.acl {
			err = t.hold(acl)
		}
		kv.ACL = acl
		return err
	case legal:
		kv.ACL = acl
		return nil
	}
	counts, from := t.counts, core.ACLOpen
	if prev != nil {
		from = prev.ACL
	}
	if kv.ACL = acl; kv.Deleted() {
		acl = core.ACLOpen
	}
	if rebuild {
		return t.listOpaque(kv.Key, from, acl)
	}
	t.indexOpaque(kv.Key, from, acl)
	t.counts = counts // which are known, too
	return nil
}

// nearest finds the nearest existing ancestor of what is at a path, which need not be
// legal.
func (t *Tree) nearest(path string) (node, error) {
	path = possible(path)
	for {
		path = parentOf(path)
		n, ok, err := t.get(path)
		if err != nil || ok {
			return n, err
		}
		if path == rootPath {
			return t.must(path)
		}
	}
}

// possible cuts off a path what no ancestor can contain, lest a key of nothing but
// slashes, or of thousands of names, be looked up as often as it is long: an ancestor has
// a legal path.
func possible(path string) string {
	path = path[:min(len(path), maxPathLen)]
	depth := 0
	for i := 1; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		if depth++; path[i-1] == '/' || depth > maxPathDepth || depth*i > maxPathLenDepth {
			return path[:i]
		}
	}
	return path
}

// rest is the path in a key that the mount covers, legal or not.
func (m Mount) rest(key []byte) string { return string(key[len(m):]) }

// Inside returns the path in a key that lies below the mount, be it a znode's or opaque.
func (m Mount) Inside(key []byte) (path string, ok bool) {
	if !m.covers(key) {
		return "", false
	}
	return m.rest(key), true
}

// Rights is what says what may be done to a znode.
type Rights struct {
	ACL core.ZnodeACL
	// Children says that it has some.
	Children bool
}

// RowReader reads rows.
type RowReader interface {
	// Row returns a row, nil if there is none.
	Row(key []byte) ([]byte, error)
}

// ReadRights reads the rights of the znode at a path; ok is false if there is none.
func ReadRights(r RowReader, path string) (rights Rights, ok bool, err error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = keys.AppendZnode((*buf)[:0], path)
	row, err := r.Row(*buf)
	if err != nil || row == nil {
		return Rights{}, false, err
	}
	n, err := decodeNode(row)
	return Rights{ACL: n.acl, Children: n.children > 0}, err == nil, err
}

// NearestRights reads the rights of the nearest existing ancestor of what is at a path,
// which need not be legal.
func NearestRights(r RowReader, path string) (Rights, error) {
	path = possible(path)
	for {
		path = parentOf(path)
		rights, ok, err := ReadRights(r, path)
		if err != nil || ok || path == rootPath {
			return rights, err
		}
	}
}

// Below is what the paths of all descendants of the znode at a path begin with.
func Below(path string) string { return strings.TrimSuffix(path, "/") + "/" }
