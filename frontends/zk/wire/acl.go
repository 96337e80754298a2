package wire

import (
	"bytes"

	"github.com/triglot/triglot/frontends/zk/jute"
)

// ACL lets whom ID names under Scheme do what Perms says.
type ACL struct {
	Perms int32
	// ID is NullText for null.
	Scheme, ID string
}

// NullText is text that is null, where that is told from the empty one. No other is
// the same, because what was decoded is valid UTF-8.
const NullText = "\xff"

func appendNullable(dst []byte, s string) []byte {
	if s == NullText {
		return jute.AppendNull(dst)
	}
	return jute.AppendUstring(dst, s)
}

// aclSize is the least number of bytes that an ACL takes.
const aclSize = 12

// OpenACLUnsafe lets the world do everything; nearly all znodes have it. It must
// not be changed. (ZooKeeper ZooDefs.Ids has the name.)
var OpenACLUnsafe = []ACL{{Perms: PermAll, Scheme: "world", ID: "anyone"}}

// openACL is OpenACLUnsafe as it is encoded.
var openACL = appendACL(nil, OpenACLUnsafe)

// decodeACL reads a vector of ACLs, nil for null. What is encoded as
// OpenACLUnsafe is that very slice, so that a usual create allocates none.
func decodeACL(r *jute.Reader) []ACL {
	if rest := r.Rest(); bytes.HasPrefix(rest, openACL) {
		r.Skip(len(openACL))
		return OpenACLUnsafe
	}
	return vector(r, aclSize, func(a *ACL) {
		a.Perms = r.Int32()
		a.Scheme = r.Ustring()
		a.ID = r.UstringOr(NullText)
	})
}

func appendACL(dst []byte, acl []ACL) []byte {
	if acl == nil {
		return jute.AppendNull(dst)
	}
	dst = jute.AppendCount(dst, len(acl))
	for i := range acl {
		dst = jute.AppendInt32(dst, acl[i].Perms)
		dst = jute.AppendUstring(dst, acl[i].Scheme)
		dst = appendNullable(dst, acl[i].ID)
	}
	return dst
}

// GetACLRequest asks for a znode's ACL.
type GetACLRequest struct{ Path string }

// Decode reads the request.
func (m *GetACLRequest) Decode(r *jute.Reader) { m.Path = r.NonNull() }

// Append writes the request.
func (m *GetACLRequest) Append(dst []byte) []byte { return jute.AppendUstring(dst, m.Path) }

// GetACLResponse answers GetACLRequest.
type GetACLResponse struct {
	ACL  []ACL
	Stat Stat
}

// Decode reads the response.
func (m *GetACLResponse) Decode(r *jute.Reader) {
	m.ACL = decodeACL(r)
	m.Stat.Decode(r)
}

// Append writes the response.
func (m *GetACLResponse) Append(dst []byte) []byte {
	dst = appendACL(dst, m.ACL)
	return m.Stat.Append(dst)
}

// SetACLRequest replaces a znode's ACL if Version is that of the present one, or
// −1. SetACLResponse answers it.
type SetACLRequest struct {
	Path    string
	ACL     []ACL
	Version int32
}

// Decode reads the request.
func (m *SetACLRequest) Decode(r *jute.Reader) {
	m.Path = r.Ustring()
	m.ACL = decodeACL(r)
	m.Version = r.Int32()
}

// Append writes the request.
func (m *SetACLRequest) Append(dst []byte) []byte {
	dst = jute.AppendUstring(dst, m.Path)
	dst = appendACL(dst, m.ACL)
	return jute.AppendInt32(dst, m.Version)
}
