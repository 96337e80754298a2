package core

import (
	"encoding/binary"
	"iter"
)

// Identities is who a caller is to the ACLs of znodes: pairs of a scheme and an id, in
// the order in which they were proven (ZooKeeper's authInfo). The zero value is nobody
// but the world. They are packed in a string, so that a Principal can be compared, and
// go with a command as they are.
type Identities string

// The schemes that core gives a meaning to.
const (
	// SchemeWorld has the one id WorldAnyone, which everybody is.
	SchemeWorld = "world"
	WorldAnyone = "anyone"
	// SchemeIP has addresses for identities; in an ACL they may end in a slash and the
	// number of bits that matter.
	SchemeIP = "ip"
	// SchemeSASL has the names of SASL's users, of whom SASLSuper is whom any entry of
	// the scheme names.
	SchemeSASL = "sasl"
	SASLSuper  = "super"
	// SchemeSuper, with any id, may do everything.
	SchemeSuper = "super"
	// SchemeEtcd has the names of etcd's users, while etcd's authentication is on. It is
	// not of ZooKeeper.
	SchemeEtcd = "etcd"
)

// With is s and one more identity, or s if it has that.
func (s Identities) With(scheme, id string) Identities {
	if s.Has(scheme, id) {
		return s
	}
	b := make([]byte, 0, len(s)+2*binary.MaxVarintLen32+len(scheme)+len(id))
	b = append(b, s...)
	b = appendPacked(b, scheme)
	return Identities(appendPacked(b, id))
}

// All goes through the identities, in order. It stops at what With did not make.
func (s Identities) All() iter.Seq2[string, string] {
	return func(yield func(scheme, id string) bool) {
		for rest := string(s); rest != ""; {
			scheme, behind, ok := cutPacked(rest)
			if !ok {
				return
			}
			id, behind, ok := cutPacked(behind)
			if !ok || !yield(scheme, id) {
				return
			}
			rest = behind
		}
	}
}

// Has reports whether the identity is among them.
func (s Identities) Has(scheme, id string) bool {
	for otherScheme, other := range s.All() {
		if otherScheme == scheme && other == id {
			return true
		}
	}
	return false
}

// Super reports whether ACLs do not bind the caller.
func (s Identities) Super() bool {
	for scheme := range s.All() {
		if scheme == SchemeSuper {
			return true
		}
	}
	return false
}

func appendPacked(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// cutPacked splits the string off that appendPacked put in front.
func cutPacked(s string) (front, rest string, ok bool) {
	size, n := uvarint(s)
	if n <= 0 || size > uint64(len(s)-n) {
		return "", "", false
	}
	end := n + int(size)
	return s[n:end], s[end:], true
}

// uvarint is binary.Uvarint of a string.
func uvarint(s string) (value uint64, n int) {
	if s != "" && s[0] < 0x80 { // most are
		return uint64(s[0]), 1
	}
	var head [binary.MaxVarintLen64]byte
	return binary.Uvarint(head[:copy(head[:], s)])
}
