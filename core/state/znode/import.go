package znode

import (
	"bytes"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// CheckRow reports whether a row that comes from elsewhere, such as a backup, is one
// of this package: that of a znode, or the numbers of them.
func CheckRow(key, value []byte) bool {
	if bytes.Equal(key, keys.AppendMeta(nil, keys.MetaZnodes)) {
		_, err := decodeCounts(value)
		return err == nil
	}
	path, ok := keys.DecodeZnode(key)
	if !ok || !Legal(string(path)) {
		return false
	}
	_, err := decodeNode(value)
	return err == nil
}

// Covers reports whether a key is that of a znode.
func (m Mount) Covers(key []byte) bool {
	_, ok := m.path(key)
	return ok
}

// Recall gives a znode that was made from its key what its row said as of an earlier
// revision, as far as that still holds: a counter never goes back, and what is not in
// the key is as it was unless the key was made anew since. Parents come first. The
// row is one that CheckRow has seen.
func (t *Tree) Recall(key, value []byte, asOf core.Rev) error {
	encoded, _ := keys.DecodeZnode(key)
	path := string(encoded)
	old, err := decodeNode(value)
	if err != nil {
		return err
	}
	n, there, err := t.get(path)
	switch {
	case err != nil:
		return err
	case !there:
		return t.recallPinned(path, &old, asOf)
	}
	kv, err := t.keyValue(path, &n)
	if err != nil {
		return err
	}
	before := n
	n.creates, n.pzxid = max(n.creates, old.creates), max(n.pzxid, old.pzxid)
	switch {
	case n.implicit && old.implicit:
		n.ctime, n.czxid, n.base, n.pinned = old.ctime, old.czxid, old.base, old.pinned
		n.aversion = old.aversion
		if n.mzxid <= asOf {
			n.mzxid, n.mtime = old.mzxid, old.mtime
		}
	case !n.implicit && !old.implicit && kv.CreateRev <= asOf:
		n.ctime, n.aversion = old.ctime, old.aversion
		n.own, n.czxid, n.base = old.own, old.czxid, old.base
		n.null = old.null && kv.ModRev <= asOf
		if old.kind != core.ZnodeEphemeral && n.kind == core.ZnodePersistent {
			n.kind, n.ttl = old.kind, old.ttl
		}
	default: // it was made anew
		return t.recalled(path, &before, &n)
	}
	if err := t.changeACL(path, &n, kv, old.acl); err != nil {
		return err
	}
	return t.recalled(path, &before, &n)
}

func (t *Tree) recalled(path string, before, n *node) error {
	t.set(path, n)
	t.reindex(path, before, n)
	return nil
}

// recallPinned makes a znode again that has no key and stays without children.
func (t *Tree) recallPinned(path string, old *node, asOf core.Rev) error {
	if !old.implicit || !old.pinned {
		return nil // its key is gone
	}
	parentPath := parentOf(path)
	parent, there, err := t.get(parentPath)
	if err != nil || !there || parent.kind == core.ZnodeEphemeral {
		return err
	}
	t.Begin(asOf, old.mtime)
	n, pzxid := *old, parent.pzxid
	n.children = 0
	if err := t.create(path, &n, &parent, parentPath, 0); err != nil {
		return err
	}
	parent.pzxid = pzxid
	t.set(parentPath, &parent)
	return nil
}
