package wire

import "github.com/triglot/triglot/frontends/zk/jute"

// CreateRequest makes a znode; it is the body of create, create2 and
// createContainer. CreateResponse answers the first, Create2Response the others.
type CreateRequest struct {
	Path string
	// Data is nil for null.
	Data []byte
	// ACL may be OpenACLUnsafe itself and must not be changed.
	ACL   []ACL
	Flags CreateMode
}

// Decode reads the request.
func (m *CreateRequest) Decode(r *jute.Reader) {
	m.Path = r.NonNull()
	m.Data = r.Buffer()
	m.ACL = decodeACL(r)
	m.Flags = CreateMode(r.Int32())
}

// Append writes the request.
func (m *CreateRequest) Append(dst []byte) []byte {
	dst = jute.AppendUstring(dst, m.Path)
	dst = jute.AppendBuffer(dst, m.Data)
	dst = appendACL(dst, m.ACL)
	return jute.AppendInt32(dst, int32(m.Flags))
}

// CreateTTLRequest makes a znode with a time to live; Create2Response answers it.
type CreateTTLRequest struct {
	CreateRequest
	// TTL is in milliseconds.
	TTL int64
}

// Decode reads the request.
func (m *CreateTTLRequest) Decode(r *jute.Reader) {
	m.CreateRequest.Decode(r)
	m.TTL = r.Int64()
}

// Append writes the request.
func (m *CreateTTLRequest) Append(dst []byte) []byte {
	dst = m.CreateRequest.Append(dst)
	return jute.AppendInt64(dst, m.TTL)
}

// CreateResponse is the path of the znode that was made.
type CreateResponse struct{ Path string }

// Decode reads the response.
func (m *CreateResponse) Decode(r *jute.Reader) { m.Path = r.Ustring() }

// Append writes the response.
func (m *CreateResponse) Append(dst []byte) []byte { return jute.AppendUstring(dst, m.Path) }

// Create2Response is the path and the stat of the znode that was made.
type Create2Response struct {
	Path string
	Stat Stat
}

// Decode reads the response.
func (m *Create2Response) Decode(r *jute.Reader) {
	m.Path = r.Ustring()
	m.Stat.Decode(r)
}

// Append writes the response.
func (m *Create2Response) Append(dst []byte) []byte {
	dst = jute.AppendUstring(dst, m.Path)
	return m.Stat.Append(dst)
}

// DeleteRequest deletes a znode of the version, or of any if it is −1. The reply
// is a header alone.
type DeleteRequest struct {
	Path    string
	Version int32
}

// Decode reads the request.
func (m *DeleteRequest) Decode(r *jute.Reader) {
	m.Path = r.NonNull()
	m.Version = r.Int32()
}

// Append writes the request.
func (m *DeleteRequest) Append(dst []byte) []byte {
	dst = jute.AppendUstring(dst, m.Path)
	return jute.AppendInt32(dst, m.Version)
}

// SetDataRequest replaces a znode's data, if it has the version, or any if it is
// −1. SetDataResponse answers it.
type SetDataRequest struct {
	Path string
	// Data is nil for null.
	Data    []byte
	Version int32
}

// Decode reads the request.
func (m *SetDataRequest) Decode(r *jute.Reader) {
	m.Path = r.Ustring()
	m.Data = r.Buffer()
	m.Version = r.Int32()
}

// Append writes the request.
func (m *SetDataRequest) Append(dst []byte) []byte {
	dst = jute.AppendUstring(dst, m.Path)
	dst = jute.AppendBuffer(dst, m.Data)
	return jute.AppendInt32(dst, m.Version)
}

// CheckVersionRequest requires a znode to have the version, or any if it is −1.
// It is an operation of a multi only.
type CheckVersionRequest struct {
	Path    string
	Version int32
}

// Decode reads the request.
func (m *CheckVersionRequest) Decode(r *jute.Reader) {
	m.Path = r.Ustring()
	m.Version = r.Int32()
}

// Append writes the request.
func (m *CheckVersionRequest) Append(dst []byte) []byte {
	dst = jute.AppendUstring(dst, m.Path)
	return jute.AppendInt32(dst, m.Version)
}

// SyncRequest waits until the server is as new as its leader was; SyncResponse
// answers it with the same path, which nobody looks at.
type SyncRequest struct {
	// Path is NullText for null, which the answer repeats.
	Path string
}

// SyncResponse answers SyncRequest.
type SyncResponse = SyncRequest

// Decode reads the message.
func (m *SyncRequest) Decode(r *jute.Reader) { m.Path = r.UstringOr(NullText) }

// Append writes the message.
func (m *SyncRequest) Append(dst []byte) []byte { return appendNullable(dst, m.Path) }

// ReconfigRequest changes who is a member; GetDataResponse answers it, with the
// new configuration.
type ReconfigRequest struct {
	JoiningServers, LeavingServers string
	// NewMembers is NullText for null, which says that it is the other two that count.
	NewMembers  string
	CurConfigID int64
}

// Decode reads the request.
func (m *ReconfigRequest) Decode(r *jute.Reader) {
	m.JoiningServers = r.Ustring()
	m.LeavingServers = r.Ustring()
	m.NewMembers = r.UstringOr(NullText)
	m.CurConfigID = r.Int64()
}

// Append writes the request.
func (m *ReconfigRequest) Append(dst []byte) []byte {
	dst = jute.AppendUstring(dst, m.JoiningServers)
	dst = jute.AppendUstring(dst, m.LeavingServers)
	dst = appendNullable(dst, m.NewMembers)
	return jute.AppendInt64(dst, m.CurConfigID)
}
