package keys

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// znodeHead is the length of an n key in front of the path: the tag and the depth.
const znodeHead = 1 + 4

// AppendZnode appends the n key of the znode at a path: its depth, four bytes,
// big-endian, and the path, so that the children of a znode lie together and in
// order. The depth is the number of names in the path, zero for the root.
func AppendZnode(dst []byte, path string) []byte {
	dst = append(dst, tagZnode)
	dst = binary.BigEndian.AppendUint32(dst, Depth(path))
	dst = append(dst, path...)
	return append(dst, sentinel)
}

// Depth is the number of names in a path.
func Depth(path string) uint32 {
	if len(path) <= 1 {
		return 0
	}
	return uint32(strings.Count(path, "/"))
}

// DecodeZnode splits an n key. path aliases b.
func DecodeZnode(b []byte) (path []byte, ok bool) {
	if len(b) <= znodeHead+1 || b[0] != tagZnode || b[len(b)-1] != sentinel {
		return nil, false
	}
	path = b[znodeHead : len(b)-1]
	depth := 0
	if len(path) > 1 {
		depth = bytes.Count(path, []byte{'/'})
	}
	return path, binary.BigEndian.Uint32(b[1:]) == uint32(depth)
}

// ChildBounds are the bounds of the n keys of a znode's children. What ChildName
// takes of them is told, too.
func ChildBounds(path string) (lower, upper []byte, nameAt int) { return LevelBounds(path, 1) }

// LevelBounds are the bounds of the n keys of a znode's descendants that are so many
// levels below it, as ChildBounds tells them.
func LevelBounds(path string, levels uint32) (lower, upper []byte, nameAt int) {
	depth := Depth(path) + levels
	if path == "/" {
		path = ""
	}
	bound := func(last byte) []byte {
		b := make([]byte, 0, znodeHead+len(path)+2)
		b = append(b, tagZnode)
		b = binary.BigEndian.AppendUint32(b, depth)
		b = append(b, path...)
		return append(b, last, sentinel)
	}
	return bound('/'), bound('/' + 1), znodeHead + len(path) + 1
}

// ChildName is the name in the n key of a child, within the bounds of ChildBounds.
// It aliases b.
func ChildName(b []byte, nameAt int) (name []byte, ok bool) {
	if len(b) <= nameAt+1 || b[len(b)-1] != sentinel {
		return nil, false
	}
	return b[nameAt : len(b)-1], true
}

// ZnodeBounds are the bounds of the n table: its order is that of the depth.
func ZnodeBounds() (lower, upper []byte) { return table(tagZnode) }

// ZnodeIndex is a kind of znode that the x table lists, by a letter that is stored.
type ZnodeIndex byte

// The kinds.
const (
	IndexContainer  ZnodeIndex = 'c' // containers
	IndexTTL        ZnodeIndex = 't' // znodes with a time to live
	IndexCounting   ZnodeIndex = 'u' // znodes that show what a quota uses, which is still being counted
	IndexRestricted ZnodeIndex = 'a' // znodes whose ACL is not open, but for ZooKeeper's configuration
)

// AppendZnodeIndex appends the x key of the znode at a path. The keys of a kind are in
// the order of the paths, which is that of the znodes' own keys.
func AppendZnodeIndex(dst []byte, kind ZnodeIndex, path string) []byte {
	dst = append(dst, tagZnodeIndex, byte(kind))
	dst = append(dst, path...)
	return append(dst, sentinel)
}

// DecodeZnodeIndex splits an x key. path aliases b.
func DecodeZnodeIndex(b []byte) (kind ZnodeIndex, path []byte, ok bool) {
	if len(b) < 4 || b[0] != tagZnodeIndex || b[len(b)-1] != sentinel {
		return 0, nil, false
	}
	return ZnodeIndex(b[1]), b[2 : len(b)-1], true
}

// ZnodeIndexBounds are the bounds of the x keys of a kind.
func ZnodeIndexBounds(kind ZnodeIndex) (lower, upper []byte) {
	return []byte{tagZnodeIndex, byte(kind), sentinel}, []byte{tagZnodeIndex, byte(kind) + 1, sentinel}
}
