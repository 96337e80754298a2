package znode

import (
	"encoding/binary"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// The index, the x table, lists the znodes that somebody looks after: containers and
// those with a time to live, for the reaper; those that show what a quota
// uses, while that is being counted; those whose ACL is not open, for the faces
// that read keys. It says nothing that the rows do not say: the value of a restricted
// one is its list's number, the others have none.

// restricted reports whether the znode counts as one whose ACL is not open. ZooKeeper's
// configuration does not: its ACL is not open in any store, and it is no key.
func (n *node) restricted(path string) bool { return n.acl != core.ACLOpen && path != configPath }

func (n *node) isIndexed(path string) bool {
	return n.kind >= core.ZnodeContainer || n.used.counting || n.restricted(path)
}

// reindex brings the index in step with a znode that was before and is after; nil is
// none.
func (t *Tree) reindex(path string, before, after *node) {
	if (before == nil || !before.isIndexed(path)) && (after == nil || !after.isIndexed(path)) {
		return
	}
	var none node
	if before == nil {
		before = &none
	}
	if after == nil {
		after = &none
	}
	t.list(keys.IndexContainer, path, before.kind == core.ZnodeContainer, after.kind == core.ZnodeContainer)
	t.list(keys.IndexTTL, path, before.kind == core.ZnodeTTL, after.kind == core.ZnodeTTL)
	t.list(keys.IndexCounting, path, before.used.counting, after.used.counting)
	t.count.pending = t.count.pending || after.used.counting
	was, is := before.restricted(path), after.restricted(path)
	if is && (!was || before.acl != after.acl) {
		t.row = keys.AppendZnodeIndex(t.row[:0], keys.IndexRestricted, path)
		t.value = binary.AppendUvarint(t.value[:0], uint64(after.acl))
		t.store.SetRow(t.row, t.value)
	} else if was && !is {
		t.row = keys.AppendZnodeIndex(t.row[:0], keys.IndexRestricted, path)
		t.store.DeleteRow(t.row)
	}
	switch {
	case is && !was:
		t.counts.restricted++
	case was && !is:
		t.counts.restricted--
	}
}

// list takes a znode into the index, or out of it.
func (t *Tree) list(kind keys.ZnodeIndex, path string, was, is bool) {
	if was == is {
		return
	}
	t.row = keys.AppendZnodeIndex(t.row[:0], kind, path)
	if is {
		t.store.SetRow(t.row, nil)
	} else {
		t.store.DeleteRow(t.row)
	}
}

// IndexRows calls set for the rows of the index that belong to a row that CheckRow has
// seen.
func IndexRows(key, value []byte, set func(key, value []byte)) {
	path, ok := keys.DecodeZnode(key)
	if !ok {
		return
	}
	n, err := decodeNode(value)
	if err != nil {
		return
	}
	switch n.kind {
	case core.ZnodeContainer:
		set(keys.AppendZnodeIndex(nil, keys.IndexContainer, string(path)), nil)
	case core.ZnodeTTL:
		set(keys.AppendZnodeIndex(nil, keys.IndexTTL, string(path)), nil)
	default: // the others are not listed by kind
	}
	if n.used.counting {
		set(keys.AppendZnodeIndex(nil, keys.IndexCounting, string(path)), nil)
	}
	if n.restricted(string(path)) {
		set(keys.AppendZnodeIndex(nil, keys.IndexRestricted, string(path)), binary.AppendUvarint(nil, uint64(n.acl)))
	}
}

// RestrictedACL is the number of the list in a row of the index of restricted znodes.
func RestrictedACL(value []byte) (id core.ZnodeACL, ok bool) {
	d := decoder{b: value}
	id = core.ZnodeACL(d.int32())
	return id, !d.bad && len(d.b) == 0
}
