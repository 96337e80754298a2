package keys

import (
	"encoding/binary"

	"github.com/triglot/triglot/core"
)

// The parts of the A table: the second byte of its keys.
const (
	aclCount   = 'c'
	aclHash    = 'h'
	aclList    = 'l'
	aclSummary = 's'
	aclUnused  = 'z'
)

// unusedLen is the length of the A key of a list that nothing refers to.
const unusedLen = 2 + 8 + 4 + 1

// AppendACL appends the A key of an interned list.
func AppendACL(dst []byte, id core.ZnodeACL) []byte { return appendACL(dst, aclList, id) }

// AppendACLCount appends the A key of how much refers to an interned list.
func AppendACLCount(dst []byte, id core.ZnodeACL) []byte { return appendACL(dst, aclCount, id) }

func appendACL(dst []byte, part byte, id core.ZnodeACL) []byte {
	dst = append(dst, tagACL, part)
	dst = binary.BigEndian.AppendUint32(dst, uint32(id))
	return append(dst, sentinel)
}

// AppendACLHash appends the A key by which an interned list is found by what it holds.
func AppendACLHash(dst []byte, hash [32]byte) []byte {
	dst = append(dst, tagACL, aclHash)
	dst = append(dst, hash[:]...)
	return append(dst, sentinel)
}

// AppendACLSummary appends the A key of what is known of the whole table.
func AppendACLSummary(dst []byte) []byte { return append(dst, tagACL, aclSummary, sentinel) }

// AppendACLUnused appends the A key of a list to which nothing refers since a
// revision.
func AppendACLUnused(dst []byte, since core.Rev, id core.ZnodeACL) []byte {
	dst = append(dst, tagACL, aclUnused)
	dst = binary.BigEndian.AppendUint64(dst, uint64(since))
	dst = binary.BigEndian.AppendUint32(dst, uint32(id))
	return append(dst, sentinel)
}

// DecodeACLUnused takes such a key apart.
func DecodeACLUnused(b []byte) (since core.Rev, id core.ZnodeACL, ok bool) {
	if len(b) != unusedLen || b[0] != tagACL || b[1] != aclUnused || b[unusedLen-1] != sentinel {
		return 0, 0, false
	}
	return core.Rev(binary.BigEndian.Uint64(b[2:])), core.ZnodeACL(binary.BigEndian.Uint32(b[10:])), true
}

// ACLUnusedBounds are the bounds of the A keys of lists to which nothing refers since
// a revision before the given one.
func ACLUnusedBounds(before core.Rev) (lower, upper []byte) {
	return AppendACLUnused(nil, 0, 0), AppendACLUnused(nil, before, 0)
}

// DecodeACL splits the A key of an interned list.
func DecodeACL(b []byte) (id core.ZnodeACL, ok bool) {
	if len(b) != 2+4+1 || b[0] != tagACL || b[1] != aclList || b[6] != sentinel {
		return 0, false
	}
	return core.ZnodeACL(binary.BigEndian.Uint32(b[2:])), true
}

// ACLBounds are the bounds of the A keys of interned lists, by id.
func ACLBounds() (lower, upper []byte) {
	return []byte{tagACL, aclList, sentinel}, []byte{tagACL, aclList + 1, sentinel}
}

// IsCached reports whether b is a key of a table that is read often enough, and row by
// row, to be worth a cache: n or A.
func IsCached(b []byte) bool { return len(b) > 0 && (b[0] == tagZnode || b[0] == tagACL) }
