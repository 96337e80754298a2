// Package keys lays out every key of the state engine, in one place.
//
// A key is a tag, a body and an end. The end is the engine's schema (that of
// CockroachDB, as Pebble exports it): a zero byte, and for a versioned key the
// revision as eight bytes and the length of that plus one. Keys sort by tag and
// body; versions of one key sort newest first, behind the key without a version.
//
//	d  user key              @ revision   one version of a key
//	r  revision, sub                      one change, in the order of the changes
//	L  lease                              a lease
//	k  lease, user key                    a key attached to a lease
//	n  depth, path                        a znode
//	x  kind, path                         a znode that needs looking after
//	a  kind, name                         a user or a role, or whether they count
//	A  part, what                         an interned ACL: the list, its holds, by hash, unused since
//	m  name                               a fact about the whole store
//
// A revision leaves at most one version of a key, so the sub-revision, which
// orders the changes of one revision, is in r alone.
//
// All functions append to dst and return the result, as append does. Decoding
// never panics, and reports a key that is not of the layout by ok = false.
package keys

import (
	"encoding/binary"

	"github.com/triglot/triglot/core"
)

// The tags of the tables.
const (
	tagVersion    = 'd'
	tagChange     = 'r'
	tagLease      = 'L'
	tagAttachment = 'k'
	tagMeta       = 'm'
	tagZnode      = 'n'
	tagAuth       = 'a'
	tagACL        = 'A'

	tagZnodeIndex = 'x'
)

const (
	sentinel = 0
	// versionLen is the length of the end of a versioned key behind its sentinel;
	// it is also that end's last byte.
	versionLen = 8 + 1
	leaseLen   = 1 + 8 + 1
)

// ChangeLen is the length of an r key.
const ChangeLen = 1 + 8 + 4 + 1

// VersionLen is the length of the d key of a user key of n bytes.
func VersionLen(n int) int { return 1 + n + 1 + versionLen }

// AppendVersion appends the d key of a user key's version of revision rev, which
// must be positive.
func AppendVersion(dst, key []byte, rev core.Rev) []byte {
	dst = AppendVersions(dst, key)
	dst = binary.BigEndian.AppendUint64(dst, uint64(rev))
	return append(dst, versionLen)
}

// AppendVersions appends the key that precedes all versions of a user key, and
// follows all versions of the keys before it.
func AppendVersions(dst, key []byte) []byte {
	dst = append(dst, tagVersion)
	dst = append(dst, key...)
	return append(dst, sentinel)
}

// DecodeVersion splits a d key. key aliases b.
func DecodeVersion(b []byte) (key []byte, rev core.Rev, ok bool) {
	n := len(b) - VersionLen(0)
	if n < 0 || b[0] != tagVersion || b[n+1] != sentinel || b[len(b)-1] != versionLen {
		return nil, 0, false
	}
	rev = core.Rev(binary.BigEndian.Uint64(b[n+2:]))
	return b[1 : n+1], rev, rev > 0
}

// IntervalBounds are the bounds [lower, upper) of the d keys of an interval, all
// versions.
func IntervalBounds(iv core.Interval) (lower, upper []byte) {
	buf := make([]byte, 0, 2+len(iv.Key)+3+max(len(iv.Key), len(iv.End)))
	buf = AppendVersions(buf, iv.Key)
	n := len(buf)
	switch {
	case iv.Single():
		// The next possible user key is the same one with a zero byte behind it.
		buf = append(buf, tagVersion)
		buf = append(buf, iv.Key...)
		buf = append(buf, 0, sentinel)
	case iv.Unbounded():
		buf = append(buf, tagVersion+1, sentinel)
	default:
		buf = AppendVersions(buf, iv.End)
	}
	return buf[:n:n], buf[n:]
}

// VersionBounds are the bounds of the whole d table.
func VersionBounds() (lower, upper []byte) { return table(tagVersion) }

// AppendChange appends the r key of a revision's change number sub. It has no
// version: rev and sub are its body, of fixed length.
func AppendChange(dst []byte, rev core.Rev, sub uint32) []byte {
	dst = append(dst, tagChange)
	dst = binary.BigEndian.AppendUint64(dst, uint64(rev))
	dst = binary.BigEndian.AppendUint32(dst, sub)
	return append(dst, sentinel)
}

// DecodeChange splits an r key.
func DecodeChange(b []byte) (rev core.Rev, sub uint32, ok bool) {
	if len(b) != ChangeLen || b[0] != tagChange || b[ChangeLen-1] != sentinel {
		return 0, 0, false
	}
	rev = core.Rev(binary.BigEndian.Uint64(b[1:]))
	return rev, binary.BigEndian.Uint32(b[9:]), rev > 0
}

// ChangeBounds are the bounds of the r keys of revisions [from, to). A to of
// zero or less is no bound.
func ChangeBounds(from, to core.Rev) (lower, upper []byte) {
	lower, upper = table(tagChange)
	if from > 0 {
		lower = AppendChange(nil, from, 0)
	}
	if to > 0 {
		upper = AppendChange(nil, to, 0)
	}
	return lower, upper
}

// AppendLease appends the L key of a lease.
func AppendLease(dst []byte, id core.LeaseID) []byte {
	dst = append(dst, tagLease)
	dst = binary.BigEndian.AppendUint64(dst, uint64(id))
	return append(dst, sentinel)
}

// DecodeLease splits an L key.
func DecodeLease(b []byte) (id core.LeaseID, ok bool) {
	if len(b) != leaseLen || b[0] != tagLease || b[leaseLen-1] != sentinel {
		return 0, false
	}
	return core.LeaseID(binary.BigEndian.Uint64(b[1:])), true
}

// LeaseBounds are the bounds of the L table. Its order is by id, negative ones
// last; nothing depends on it.
func LeaseBounds() (lower, upper []byte) { return table(tagLease) }

// AppendAttachment appends the k key that attaches a user key to a lease.
func AppendAttachment(dst []byte, id core.LeaseID, key []byte) []byte {
	dst = append(dst, tagAttachment)
	dst = binary.BigEndian.AppendUint64(dst, uint64(id))
	dst = append(dst, key...)
	return append(dst, sentinel)
}

// DecodeAttachment splits a k key. key aliases b.
func DecodeAttachment(b []byte) (id core.LeaseID, key []byte, ok bool) {
	if len(b) < leaseLen || b[0] != tagAttachment || b[len(b)-1] != sentinel {
		return 0, nil, false
	}
	return core.LeaseID(binary.BigEndian.Uint64(b[1:])), b[9 : len(b)-1], true
}

// AttachmentBounds are the bounds of the k keys of one lease, which are in the
// order of the user keys.
func AttachmentBounds(id core.LeaseID) (lower, upper []byte) {
	lower = AppendAttachment(nil, id, nil)
	if uint64(id) == ^uint64(0) {
		_, upper = table(tagAttachment)
		return lower, upper
	}
	return lower, AppendAttachment(nil, id+1, nil)
}

// IsZnode reports whether b is a key of the n table.
func IsZnode(b []byte) bool { return len(b) > 0 && b[0] == tagZnode }

// table is all keys of a tag.
func table(tag byte) (lower, upper []byte) {
	return []byte{tag, sentinel}, []byte{tag + 1, sentinel}
}
