package keys

import (
	"encoding/binary"

	"github.com/triglot/triglot/core"
)

// ACLPart tells the rows of the A table apart: it is the second byte of their keys.
type ACLPart byte

// The parts.
const (
	ACLCount   ACLPart = 'c' // how much refers to a list
	ACLHash    ACLPart = 'h' // the list of a hash
	ACLList    ACLPart = 'l' // a list
	ACLSummary ACLPart = 's' // what is known of all
	ACLUnused  ACLPart = 'z' // a list to which nothing refers
)

// unusedLen is the length of the A key of a list that nothing refers to.
const unusedLen = 2 + 8 + 4 + 1

// AppendACL appends the A key of an interned list.
func AppendACL(dst []byte, id core.ZnodeACL) []byte { return appendACL(dst, ACLList, id) }

// AppendACLCount appends the A key of how much refers to an interned list.
func AppendACLCount(dst []byte, id core.ZnodeACL) []byte { return appendACL(dst, ACLCount, id) }

func appendACL(dst []byte, part ACLPart, id core.ZnodeACL) []byte {
	dst = append(dst, tagACL, byte(part))
	dst = binary.BigEndian.AppendUint32(dst, uint32(id))
	return append(dst, sentinel)
}

// AppendACLHash appends the A key by which an interned list is found by what it holds.
func AppendACLHash(dst []byte, hash [32]byte) []byte {
	dst = append(dst, tagACL, byte(ACLHash))
	dst = append(dst, hash[:]...)
	return append(dst, sentinel)
}

// AppendACLSummary appends the A key of what is known of the whole table.
func AppendACLSummary(dst []byte) []byte { return append(dst, tagACL, byte(ACLSummary), sentinel) }

// AppendACLUnused appends the A key of a list to which nothing refers since a
// revision.
func AppendACLUnused(dst []byte, since core.Rev, id core.ZnodeACL) []byte {
	dst = append(dst, tagACL, byte(ACLUnused))
	dst = binary.BigEndian.AppendUint64(dst, uint64(since))
	dst = binary.BigEndian.AppendUint32(dst, uint32(id))
	return append(dst, sentinel)
}

// DecodeACLUnused takes such a key apart.
func DecodeACLUnused(b []byte) (since core.Rev, id core.ZnodeACL, ok bool) {
	if len(b) != unusedLen || b[0] != tagACL || ACLPart(b[1]) != ACLUnused || b[unusedLen-1] != sentinel {
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
	if len(b) != 2+4+1 || b[0] != tagACL || ACLPart(b[1]) != ACLList || b[6] != sentinel {
		return 0, false
	}
	return core.ZnodeACL(binary.BigEndian.Uint32(b[2:])), true
}

// DecodeACLPart says of which part an A key is, and of which list if it is of one that
// has a number; zero if it is none.
func DecodeACLPart(b []byte) (part ACLPart, id core.ZnodeACL) {
	if !IsACL(b) || b[len(b)-1] != sentinel {
		return 0, 0
	}
	part = ACLPart(b[1])
	lengths := map[ACLPart]int{ACLCount: 7, ACLHash: 35, ACLList: 7, ACLSummary: 3, ACLUnused: unusedLen}
	if len(b) != lengths[part] {
		return 0, 0
	}
	switch part {
	case ACLCount, ACLList:
		id = core.ZnodeACL(binary.BigEndian.Uint32(b[2:]))
	case ACLUnused:
		_, id, _ = DecodeACLUnused(b)
	case ACLHash, ACLSummary:
	}
	return part, id
}

// ACLBounds are the bounds of the A table.
func ACLBounds() (lower, upper []byte) { return table(tagACL) }

// IsACL reports whether b is a key of the A table.
func IsACL(b []byte) bool { return len(b) > 1 && b[0] == tagACL }

// IsCached reports whether b is a key of a table that is read often enough, and row by
// row, to be worth a cache: n or A.
func IsCached(b []byte) bool { return len(b) > 0 && (b[0] == tagZnode || b[0] == tagACL) }
